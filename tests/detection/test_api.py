"""What every public function of detection has."""

import doctest
import inspect
import re

import jax
import jax.numpy as jnp
import pytest

from cnnjax import detection

PUBLIC = {
    name: f
    for name, f in vars(detection).items()
    if inspect.isfunction(f) and not name.startswith("_")
}
PRIMITIVES = """box_area box_iou generalized_box_iou box_convert clip_boxes nms
batched_nms soft_nms anchors match match_atss sample_matched proposals
encode_boxes decode_boxes crop_boxes roi_align multiscale_roi_align roi_pool
window_positions extract_windows dense_scores image_pyramid level_factors"""
each = pytest.mark.parametrize("function", PUBLIC.values(), ids=PUBLIC)


@pytest.mark.parametrize("name", PRIMITIVES.split())
def test_says_what_it_does_and_shows_it(name):
    function = PUBLIC[name]
    doc = inspect.getdoc(function)
    assert doc, "no docstring"
    for part in ("Args:", "Returns:", "Raises:\n    ValueError:", ">>> "):
        assert part in doc, f"no {part}"


@each
def test_has_a_word_on_every_argument(function):
    doc = inspect.getdoc(function)
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^ +{argument}: ", doc, re.M), f"{argument}: no word"


@each
def test_arguments_are_typed_and_options_keyword_only(function):
    assert inspect.getdoc(function), "no docstring"
    signature = inspect.signature(function)
    assert signature.return_annotation is not signature.empty
    for p in signature.parameters.values():
        assert p.annotation is not p.empty, f"{p.name} has no type"
        if p.default is not p.empty:
            assert p.kind is p.KEYWORD_ONLY, f"make {p.name} keyword-only"


@each
def test_examples_run(function):
    names = {"jax": jax, "jnp": jnp, **vars(detection)}
    runner = doctest.DocTestRunner()
    for example in doctest.DocTestFinder(recurse=False).find(function, globs=names):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


BOXES, SCORES = jnp.ones((3, 4)), jnp.ones(3)
NMS = {"iou_threshold": 0.5, "max_outputs": 3}
SOFT = {"sigma": 0.5, "max_outputs": 3, "score_threshold": 0.0}
MATCH = {"positive": 0.5, "negative": 0.4}
ANCHORS = {"stride": 4, "scales": (8,), "aspect_ratios": (1,)}
ROI = {"size": 2, "scale": 0.5}
VALID, MAP = jnp.ones(3, bool), jnp.ones((4, 5, 2))
REFUSALS = [
    ("box_area", (jnp.ones((4, 3)),), {}, r"boxes must be boxes .* shape \(4, 3\)"),
    ("box_iou", (BOXES, BOXES[0]), {}, r"b must have the shape \(n, 4\), got \(4,\)"),
    ("generalized_box_iou", (BOXES[None], BOXES), {}, r"a must have the shape \(n, 4"),
    ("box_convert", (BOXES, "xyxy", "yxyx"), {}, "target must be one of .* 'yxyx'"),
    ("box_convert", (BOXES, "corners", "xyxy"), {}, "source must be one of xyxy, xyw"),
    ("clip_boxes", (BOXES, (0, 5)), {}, r"size must be a positive .* got \(0, 5\)"),
    ("clip_boxes", (BOXES, (5, 2.5)), {}, r"size must be .* got \(5, 2.5\)"),
    ("nms", (BOXES, SCORES[:2]), NMS, r"scores must have the shape \(3,\), one for"),
    ("nms", (BOXES, SCORES), NMS | {"iou_threshold": 2.0}, r"in \[0, 1\], got 2.0"),
    ("nms", (BOXES, SCORES), NMS | {"max_outputs": 0}, "max_outputs must be a positi"),
    ("nms", (BOXES, SCORES), NMS | {"max_outputs": True}, "positive integer, got True"),
    ("batched_nms", (BOXES, SCORES, VALID[:1]), NMS, r"labels must have the shape \("),
    ("soft_nms", (BOXES, SCORES), SOFT | {"sigma": 0}, "sigma must be positive, got 0"),
    (
        "soft_nms",
        (BOXES, SCORES),
        SOFT | {"score_threshold": -1},
        "score_threshold must not be negative, got -1",
    ),
    ("anchors", ((0, 1),), ANCHORS, "size must be a positive integer"),
    ("anchors", ((2, 1),), ANCHORS | {"stride": -4}, "stride must be .* got -4"),
    ("anchors", ((2, 1),), ANCHORS | {"scales": ()}, r"scales must be .* got \(\)"),
    (
        "anchors",
        ((2, 1),),
        ANCHORS | {"aspect_ratios": (1, 0)},
        r"aspect_ratios must be positive numbers, got \(1, 0\)",
    ),
    ("match", (BOXES, VALID[:2], BOXES), MATCH, r"valid must have the shape \(3,\)"),
    ("match", (BOXES, VALID, BOXES), MATCH | {"positive": 1.5}, r"positive .* got 1.5"),
    ("match", (BOXES, VALID, BOXES), MATCH | {"positive": 0}, "must be positive, got"),
    ("match", (BOXES, VALID, BOXES), MATCH | {"negative": 0.6}, "negative must be in"),
    ("encode_boxes", (BOXES, BOXES[:2]), {}, r"reference must have the shape of boxes"),
    ("decode_boxes", (BOXES, BOXES[:2]), {}, r"of deltas, \(3, 4\), got \(2, 4\)"),
    ("decode_boxes", (BOXES, BOXES), {"weights": (1, 1)}, "weights must be 4 positive"),
    ("crop_boxes", (MAP[0], BOXES), {"size": 2}, "image must be of one image"),
    ("crop_boxes", (MAP, BOXES), {"size": 0}, "size must be a positive integer"),
    ("roi_align", (MAP[0], BOXES), ROI | {"sampling": 2}, "features must be of one im"),
    ("roi_align", (MAP, BOXES), ROI | {"sampling": 0}, "sampling must be a positive"),
    ("roi_align", (MAP, BOXES[0]), ROI | {"sampling": 1}, "boxes must have the shape"),
    ("roi_pool", (MAP.astype(int), BOXES), ROI, "floating point dtype, .* int32"),
    ("roi_pool", (MAP, BOXES), ROI | {"scale": 0}, "scale must be positive, got 0"),
    ("roi_pool", (MAP, BOXES), ROI | {"size": (1, 2, 3)}, "size must be a positive"),
]


@pytest.mark.parametrize(
    ("name", "args", "options", "message"),
    REFUSALS,
    ids=[f"{r[0]}-{r[3]}" for r in REFUSALS],
)
def test_refuses(name, args, options, message):
    with pytest.raises(ValueError, match=message):
        PUBLIC[name](*args, **options)
