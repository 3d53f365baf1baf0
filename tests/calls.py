"""One call or more of every public function, for what all of them must do.

An axis of `EXAMPLES` counts examples (images, boxes, labels), and no other axis has
that length; so has a list of what belongs to images.
"""

import dataclasses
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, get_origin

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax import detection, interpret, losses, metrics, ops, segmentation

EXAMPLES = 7
PACKAGES = (ops, detection, interpret, losses, metrics, segmentation)


@dataclasses.dataclass(frozen=True)
class Call:
    """Arguments of a public function, and what is particular to it.

    Attributes:
        args: by position.
        options: by name.
        refuses: what it says of no examples, if it cannot do without.
        host: whether it computes on the host, with NumPy, and is not to be traced.
        empty: arguments without examples, where these have no axis of them.
    """

    args: tuple
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    refuses: str | None = None
    host: bool = False
    empty: tuple | None = None

    @property
    def of_none(self) -> "Call":
        """The same call without examples."""
        args, options = without_examples((self.args, self.options))
        return dataclasses.replace(self, args=self.empty or args, options=options)


def public(package: ModuleType) -> dict[str, Callable]:
    """The functions of a package by name, as `detection.nms`."""
    return {
        f"{package.__name__.removeprefix('cnnjax.')}.{name}": value
        for name, value in vars(package).items()
        if not name.startswith("_")
        and callable(value)
        and not inspect.isclass(value)
        and get_origin(value) is None
    }


FUNCTIONS = {name: f for package in PACKAGES for name, f in public(package).items()}

_rng = np.random.default_rng(0)


def _normal(*shape: int) -> jax.Array:
    return jnp.asarray(_rng.standard_normal(shape, dtype="float32"))


def _boxes(count: int) -> jax.Array:
    corner, size = _rng.uniform(0, 5, (2, count, 2))
    return jnp.asarray(np.concatenate([corner, corner + size + 1], 1), jnp.float32)


def _labels(*shape: int) -> jax.Array:
    return jnp.asarray(_rng.integers(0, 3, shape, "int32"))


def _truth(count: int) -> metrics.Truth:
    boxes, labels = np.asarray(_boxes(count)), np.asarray(_labels(count))
    return metrics.Truth(boxes, labels, np.zeros(count, bool), np.ones(count))


def _found(count: int) -> metrics.Detections:
    boxes, labels = np.asarray(_boxes(count)), np.asarray(_labels(count))
    return metrics.Detections(boxes, labels, _rng.random(count))


N = EXAMPLES
X, ROWS = _normal(N, 6, 8, 4), _normal(N, 4)
LOGITS, PIXELS = _normal(N, 6, 8, 3), _normal(N, 6, 8)
TRUE, MASK = _labels(N, 6, 8), jnp.arange(N) < 5
FEATURES, BOXES, SCORES = _normal(6, 8, 4), _boxes(N), jnp.abs(_normal(N))
IMAGES = jnp.abs(_normal(N, 9, 12, 1))
COLORED, KEY = jnp.abs(_normal(N, 6, 8, 3)), jax.random.key(0)
STYLE = interpret.Weights({"maps": 1.0}, {"maps": 1.0})
NMS = {"iou_threshold": 0.5, "max_outputs": 3, "score_threshold": 0.1}
SOFT = {"sigma": 0.5, "max_outputs": 3, "score_threshold": 0.1}
MATCH = {"positive": 0.5, "negative": 0.4, "force": True}
WINDOWS = {"window": 4, "stride": 2}
TRUTHS, FOUND = [_truth(2) for _ in range(N)], [_found(3) for _ in range(N)]
NAMES = {"class_names": ("a", "b", "c")}
CELLS = np.asarray(_rng.integers(0, 3, (6, 8)))


def _means(images: jax.Array) -> jax.Array:
    return images.mean((1, 2))


def _dense(images: jax.Array) -> jax.Array:
    return ops.avg_pool(images, 4, stride=2)


def _refining(images: jax.Array) -> jax.Array:
    scores = _dense(images)
    return jnp.concatenate([scores, jnp.zeros((*scores.shape[:3], 4))], -1)


def _score(images: jax.Array) -> jax.Array:
    return jnp.square(images).mean((1, 2, 3))


def _maps(images: jax.Array) -> dict[str, jax.Array]:
    return {"maps": _dense(images)}


def _logits(maps: jax.Array) -> jax.Array:
    return jnp.square(maps).mean((1, 2)) @ jnp.ones((maps.shape[-1], 3))


def _attack(images: jax.Array, epsilon: jax.Array) -> jax.Array:
    return interpret.fgsm(_score, images, epsilon=epsilon)


def _class_sums(count: int) -> dict[str, np.ndarray]:
    sums = {"count": 3 * count, "correct": 3 * count, "loss": 1.0 * count}
    return {name: np.array(n) for name, n in sums.items()} | {
        "confusion": count * np.eye(3, dtype=int)
    }


def _pixel_sums(count: int) -> dict[str, np.ndarray]:
    parts = "predicted", "predicted_met", "true", "true_met"
    boundary = {f"boundary_{part}": np.full(3, count) for part in parts}
    return _class_sums(count) | boundary


def _rand_sums(count: int) -> dict[str, np.ndarray]:
    return {"rand_images": np.int64(count), "rand_f_score": np.array([0.5 * count])}


DETECT = {
    "factors": [(1.0, 1.0), (0.5, 0.75)],
    **WINDOWS,
    "iou_threshold": 0.3,
    "score_threshold": 0.1,
    "max_outputs": 2,
}
DEEP = _normal(2, N, 6, 8, 4)

CALLS: dict[str, list[Call]] = {
    "ops.conv2d": [
        Call((X, _normal(3, 3, 4, 6)), {"bias": _normal(6), "stride": 2}),
        Call((X, _normal(1, 1, 4, 6))),
        Call((X, _normal(2, 2, 4, 6)), {"stride": 2, "padding": "VALID"}),
        Call((X, _normal(3, 3, 2, 6)), {"groups": 2, "dilation": 2}),
        Call((X, _normal(1, 1, 2, 6)), {"groups": 2}),
        Call((DEEP, _normal(3, 3, 4, 6)), {"padding_mode": "reflect"}),
    ],
    "ops.depthwise_conv2d": [
        Call((X, _normal(3, 3, 1, 8)), {"stride": 2}),
        Call((DEEP, _normal(3, 3, 1, 4))),
    ],
    "ops.separable_conv2d": [
        Call((X, _normal(3, 3, 1, 4), _normal(1, 1, 4, 5)), {"bias": _normal(5)})
    ],
    "ops.conv2d_transpose": [
        Call((X, _normal(2, 2, 5, 4)), {"stride": 2, "bias": _normal(5)}),
        Call((X, _normal(3, 3, 5, 4)), {"stride": 2, "overlap": "mean"}),
        Call((DEEP, _normal(3, 3, 20, 4)), {"stride": 2}),
    ],
    "ops.pad": [Call((X, 2), {"mode": "wrap"}), Call((DEEP, (1, 2)))],
    "ops.max_pool": [
        Call((X, 2)),
        Call((X, 3), {"stride": 2, "padding": 1}),
        Call((DEEP, 9), {"stride": 1, "padding": 4}),
    ],
    "ops.avg_pool": [
        Call((X, 2)),
        Call((X, 3), {"stride": 2, "padding": 1}),
        Call((DEEP, 9), {"stride": 1, "padding": 4}),
    ],
    "ops.max_pool_with_argmax": [
        Call((X, 2)),
        Call((DEEP, 3), {"stride": 2, "padding": 1}),
    ],
    "ops.global_avg_pool": [Call((X,)), Call((DEEP,))],
    "ops.global_max_pool": [Call((X,)), Call((DEEP,))],
    "ops.max_unpool": [
        Call((X, _labels(N, 6, 8, 4), 12)),
        Call((DEEP, _labels(2, N, 6, 8, 4), (12, 16))),
    ],
    "ops.nearest_unpool": [Call((X, 2)), Call((DEEP, (1, 2)))],
    "ops.bed_of_nails_unpool": [Call((X, 2)), Call((DEEP, (1, 2)))],
    "ops.resize": [
        Call((X, (12, 16))),
        Call((DEEP, (12, 16)), {"method": "nearest"}),
        Call((DEEP, (9, 5)), {"method": "bicubic", "antialias": True}),
    ],
    "ops.batch_norm": [
        Call(
            (X, _normal(4), _normal(4)), refuses="with mean and variance given it may"
        ),
        Call(
            (X, None, None),
            {"mean": _normal(4), "variance": jnp.ones(4), "epsilon": 1e-3},
        ),
    ],
    "ops.group_norm": [
        Call((X, _normal(4), _normal(4)), {"groups": 2, "epsilon": 1e-3}),
        Call((DEEP, None, None), {"groups": 1}),
    ],
    "ops.layer_norm": [
        Call((X, _normal(4), _normal(4)), {"epsilon": 1e-3}),
        Call((ROWS, None, None)),
    ],
    "ops.local_response_norm": [
        Call((X,), {"alpha": 0.1, "beta": 0.5, "k": 2.0}),
        Call((ROWS,), {"size": 3}),
    ],
    "detection.anchors": [
        Call(((2, 3),), {"stride": 4, "scales": (8.0,), "aspect_ratios": (0.5, 2.0)})
    ],
    "detection.box_area": [Call((BOXES,))],
    "detection.box_convert": [Call((BOXES, "xywh", "cxcywh"))],
    "detection.box_iou": [
        Call((BOXES, BOXES)),
        Call((BOXES, _boxes(3))),
        Call((_boxes(3), BOXES)),
    ],
    "detection.generalized_box_iou": [Call((BOXES, _boxes(3)))],
    "detection.clip_boxes": [Call((BOXES, (6, 8)))],
    "detection.encode_boxes": [Call((BOXES, BOXES + 1))],
    "detection.decode_boxes": [Call((ROWS, BOXES), {"weights": (2.0, 2.0, 1.0, 1.0)})],
    "ops.crop_and_resize": [
        Call((FEATURES, BOXES, 3)),
        Call((FEATURES, BOXES, (2, 3)), {"valid_size": jnp.array([2, 3])}),
    ],
    "detection.crop_boxes": [Call((FEATURES, BOXES), {"size": 3})],
    "detection.detect": [
        Call((_means, IMAGES), DETECT),
        Call((_refining, IMAGES), DETECT | {"refined": True, "refine_steps": 2}),
    ],
    "detection.scale_boxes": [Call((BOXES, 2.0))],
    "detection.match": [
        Call((BOXES, MASK, _boxes(3)), MATCH),
        Call((_boxes(3), jnp.ones(3, bool), BOXES), MATCH),
    ],
    "detection.match_atss": [Call((BOXES, MASK, _boxes(3), (2, 1)), {"candidates": 2})],
    "detection.multiscale_roi_align": [
        Call(([FEATURES, FEATURES], BOXES), {"size": 2, "strides": (1, 2)})
    ],
    "detection.pick_detections": [
        Call(
            (jnp.abs(_normal(3, 2)), _boxes(3), _boxes(3), (6, 8)),
            {
                "before": 3,
                "iou_threshold": 0.5,
                "score_threshold": 0.0,
                "max_outputs": 4,
                "counts": (1, 2),
            },
        )
    ],
    "detection.proposals": [
        Call(
            (_boxes(3), jnp.arange(3.0), (1, 2)),
            {"valid_size": (6, 8), "before": 3, "after": 4, "iou_threshold": 0.5},
        )
    ],
    "detection.sample_matched": [
        Call((KEY, _labels(N) - 2), {"count": 3, "positive_share": 0.5})
    ],
    "detection.nms": [Call((BOXES, SCORES), NMS)],
    "detection.batched_nms": [Call((BOXES, SCORES, _labels(N)), NMS)],
    "detection.soft_nms": [Call((BOXES, SCORES), SOFT)],
    "detection.fitting_levels": [
        Call((IMAGES, [(1.0, 0.5), (2.0, 1.0)]), {"window": 4})
    ],
    "detection.image_pyramid": [Call((IMAGES,), {"scales": (1.0, 0.5)})],
    "detection.level_factors": [Call(((1.0, 2.0), (0.5,)))],
    "detection.pyramid_levels": [Call((IMAGES, [(1.0, 0.5), (2.0, 1.0)]))],
    "detection.roi_align": [
        Call((FEATURES, BOXES), {"size": 2, "scale": 1.0, "sampling": 2})
    ],
    "detection.roi_pool": [Call((FEATURES, BOXES), {"size": 2, "scale": 1.0})],
    "detection.dense_scores": [
        Call((_means, IMAGES), WINDOWS),
        Call((_dense, IMAGES), WINDOWS),
        Call((_dense, IMAGES), WINDOWS | {"stride": 1}),
    ],
    "detection.extract_windows": [Call((IMAGES,), WINDOWS)],
    "detection.window_positions": [Call(((9, 12),), WINDOWS)],
    "interpret.activation_maximization": [
        Call((KEY, _score, (2, 4, 4, 3)), {"steps": 2, "smoothness": 0.5}),
    ],
    "interpret.apgd": [Call((KEY, _score, IMAGES), {"epsilon": 0.1, "steps": 3})],
    "interpret.area_under": [Call((ROWS,))],
    "interpret.content_loss": [Call((X, X + 1))],
    "interpret.cut_patch": [
        Call((np.ones((6, 8, 3), "f4"), (1, 2), (-1, 2)), host=True)
    ],
    "interpret.deep_dream": [
        Call((KEY, _score, IMAGES), {"octaves": 2, "steps": 1, "smoothness": 0.5})
    ],
    "interpret.deletion": [Call((_score, IMAGES, IMAGES[..., 0]), {"steps": 3})],
    "interpret.dlr": [Call((_normal(N, 3), _labels(N)))],
    "interpret.fgsm": [Call((_score, IMAGES), {"epsilon": 0.1})],
    "interpret.filter_grid": [Call((np.ones((3, 3, 1, 2), "f4"),), host=True)],
    "interpret.fit_gabor": [Call((_rng.random((3, 3)),), host=True)],
    "interpret.grad_cam": [Call((_logits, X, _labels(N))), Call((_logits, X, 1))],
    "interpret.grad_cam_plus_plus": [Call((_logits, X, _labels(N)))],
    "interpret.gram_matrix": [Call((X,))],
    "interpret.guided": [Call((jax.nn.relu,), host=True)],
    "interpret.insertion": [
        Call((_score, IMAGES, IMAGES[..., 0]), {"without": 0 * IMAGES, "steps": 3})
    ],
    "interpret.integrated_gradients": [
        Call((_score, IMAGES), {"baseline": 0.5, "steps": 2})
    ],
    "interpret.keep_colors": [Call((COLORED, COLORED))],
    "interpret.layer_cam": [Call((_logits, X, _labels(N)))],
    "interpret.occlusion": [Call((_score, IMAGES), {"window": 4, "value": 0.5})],
    "interpret.pgd": [Call((KEY, _score, IMAGES), {"epsilon": 0.1, "steps": 2})],
    "interpret.random_signs": [Call((KEY, IMAGES), {"epsilon": 0.1})],
    "interpret.randomized": [Call((KEY, {"a": ROWS, "b": ROWS}, ["a"]))],
    "interpret.rank_correlation": [Call((X[..., 0], X[..., 1]))],
    "interpret.robust_accuracy": [
        Call(
            (_logits, _attack, IMAGES, _labels(N), jnp.array([0.0, 0.1])),
            refuses="one image or more, got none",
        )
    ],
    "interpret.saliency": [Call((_score, IMAGES))],
    "interpret.smooth_grad": [
        Call((KEY, _score, IMAGES), {"samples": 2, "noise": 0.1})
    ],
    "interpret.style_loss": [Call((X, _normal(N, 4, 4)))],
    "interpret.style_objective": [
        Call((_maps, IMAGES, IMAGES, STYLE), host=True),
    ],
    "interpret.style_transfer": [
        Call(
            (lambda x: {"total": _score(x)}, IMAGES),
            {"steps": 1, "optimizer": "adam"},
        )
    ],
    "interpret.top_patches": [
        Call(
            (_dense, [(np.arange(N), IMAGES)]),
            {"count": 2},
            host=True,
            empty=(_dense, []),
            refuses="one batch of images or more, got none",
        )
    ],
    "interpret.total_variation": [Call((IMAGES,))],
    "losses.cross_entropy": [
        Call((_normal(N, 3), _labels(N)), {"label_smoothing": 0.1}),
        Call((_normal(N, 3), jax.nn.softmax(_normal(N, 3)))),
    ],
    "losses.segmentation_cross_entropy": [
        Call((LOGITS, TRUE)),
        Call(
            (LOGITS, TRUE),
            {
                "class_weights": jnp.ones(3),
                "pixel_weights": jnp.abs(PIXELS),
                "label_smoothing": 0.1,
            },
        ),
    ],
    "losses.soft_dice": [Call((LOGITS, TRUE))],
    "losses.focal": [
        Call((LOGITS, TRUE), {"gamma": 1.5, "alpha": jnp.ones(3)}),
        Call((_normal(N, 3), _labels(N))),
    ],
    "losses.sigmoid_focal": [
        Call((ROWS, (ROWS > 0).astype(jnp.float32)), {"gamma": 1.5, "alpha": 0.3})
    ],
    "losses.smooth_l1": [Call((ROWS, ROWS + 1), {"beta": 0.5})],
    "losses.parse_terms": [Call(("cross_entropy+dice:0.5",), host=True)],
    "losses.weighted_sum": [
        Call(
            ((("cross_entropy", 1.0), ("dice", 0.5)), LOGITS, TRUE),
            {"losses": losses.SEGMENTATION_LOSSES, "options": {}},
        ),
    ],
    "losses.balanced_class_weights": [
        Call(
            (np.array([3, 1, 0]),),
            host=True,
            empty=(np.zeros(3, int),),
            refuses="something to count, got no examples",
        )
    ],
    "metrics.classification_sums": [Call((_normal(N, 3), _labels(N), MASK))],
    "metrics.classification_summary": [
        Call(
            (_class_sums(5),),
            host=True,
            empty=(_class_sums(0),),
            refuses="There must be examples to summarize",
        )
    ],
    "metrics.segmentation_sums": [
        Call((LOGITS, TRUE, MASK)),
        Call((LOGITS, TRUE, MASK), {"tolerance": 2}),
    ],
    "metrics.segmentation_summary": [
        Call(
            (_pixel_sums(5),),
            host=True,
            empty=(_pixel_sums(0),),
            refuses="There must be labelled pixels to summarize",
        )
    ],
    "metrics.rand_score_sums": [Call((_rng.random((6, 8)), CELLS), host=True)],
    "metrics.rand_summary": [Call((_rand_sums(5),), host=True, empty=(_rand_sums(0),))],
    "metrics.match_detections": [
        Call((_truth(N), _found(3)), host=True),
        Call((_truth(3), _found(N)), host=True),
    ],
    "metrics.precision_recall": [
        Call((TRUTHS, FOUND), NAMES, host=True),
        Call(([_truth(2)], [_found(N)]), NAMES, host=True),
        Call(([_truth(N)], [_found(2)]), NAMES, host=True),
    ],
    "metrics.voc_metrics": [
        Call((TRUTHS, FOUND), NAMES, host=True),
        Call(([_truth(2)], [_found(N)]), NAMES, host=True),
        Call(([_truth(N)], [_found(2)]), NAMES, host=True),
    ],
    "metrics.coco_metrics": [
        Call((TRUTHS, FOUND), NAMES, host=True),
        Call(([_truth(2)], [_found(N)]), NAMES, host=True),
        Call(([_truth(N)], [_found(2)]), NAMES, host=True),
    ],
    "segmentation.components": [Call((CELLS > 0,), host=True)],
    "segmentation.border_weights": [Call((CELLS,), host=True)],
    "segmentation.displacement": [
        Call((jax.random.key(0), (6, 8)), {"sigma": 2.0, "spacing": 3.0})
    ],
    "segmentation.predict_tiled": [
        Call((np.asarray, np.asarray(FEATURES)), {"tile": 4, "margin": 1}, host=True)
    ],
}


def without_examples(tree: Any) -> Any:
    """The arguments, or their shapes, with no examples in them."""

    def emptied(x: Any) -> Any:
        if isinstance(x, list):
            return [] if len(x) == EXAMPLES else [without_examples(y) for y in x]
        if isinstance(x, jax.ShapeDtypeStruct):
            shape = [0 if n == EXAMPLES else n for n in x.shape]
            return jax.ShapeDtypeStruct(shape, x.dtype)
        if isinstance(x, jax.Array | np.ndarray) and EXAMPLES in x.shape:
            index = tuple(slice(0 if n == EXAMPLES else n) for n in x.shape)
            return x[index]
        return x

    return jax.tree.map(emptied, tree, is_leaf=lambda x: isinstance(x, list))
