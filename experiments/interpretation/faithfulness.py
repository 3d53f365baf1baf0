"""`--method=faithfulness`: whether attributions have to do with the network."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import interpret, ops
from experiments.interpretation import pictures
from experiments.interpretation.asked import Asked, Found
from experiments.interpretation.attributions import explainer
from experiments.interpretation.figures import Labels, curves
from experiments.interpretation.focus import Focus, focus
from experiments.interpretation.subject import Subject
from experiments.summary import summarize

COMPARED = (
    *("saliency", "smooth_grad", "integrated_gradients"),
    *("guided_backprop", "grad_cam"),
)
_STEPS = 100  # parts of an image
_BLUR = 16  # how much smaller what pixels come back to is


def faithfulness(asked: Asked) -> Found:
    """Deletion and insertion of several methods, and the cascade of random weights.

    All are means over the images; an order of pixels that is drawn is beside them.
    """
    subject, options = asked.subject, asked.options
    shown = pictures.load(subject, options)
    found = [focus(subject, image, options) for image in shown.images]
    explain = {name: explainer(subject, name, options) for name in COMPARED}
    maps = {
        name: [make(subject.variables, one) for one in found]
        for name, make in explain.items()
    }
    rng = np.random.default_rng(options.seed)
    drawn = [rng.random(one.image.shape[1:3]) for one in found]
    curve = jax.jit(functools.partial(_curves, subject))
    removed = {
        name: np.mean([curve(*_of(a, b)) for a, b in zip(found, x, strict=True)], 0)
        for name, x in {**maps, "drawn": drawn}.items()
    }
    modules, alike = _cascade(subject, found, explain, maps, options.seed)
    areas = {
        name: {"deletion": float(low), "insertion": float(high)}
        for name, x in removed.items()
        for low, high in [interpret.area_under(jnp.asarray(x))]
    }
    _draw(asked, removed, modules, alike)
    lines = [["method", "deletion", "insertion", "like itself, all drawn anew"]]
    for name, area in areas.items():
        last = f"{alike[name][-1]:.2f}" if name in alike else ""
        lines.append(
            [name, f"{area['deletion']:.3f}", f"{area['insertion']:.3f}", last]
        )
    numbers = {
        "areas": areas,
        "curves": {name: x.tolist() for name, x in removed.items()},
        "cascade": {"modules": modules, "rank_correlation": alike},
        "images": shown.names,
    }
    note = "areas under the probability: deletion better if low, insertion if high"
    return Found(lines, numbers, shown.fingerprint, (note,))


def _of(one: Focus, heat: np.ndarray) -> tuple:
    return one.image, heat[None].astype(np.float32), one.label, one.places


def _curves(
    subject: Subject, image: Array, heat: Array, label: Array, places: Array | None
) -> Float[Array, "2 points"]:
    """Probabilities as pixels go, and as they come."""

    def score(images: Array) -> Float[Array, " n"]:
        logits = subject.logits(subject.variables, images, places)
        return jax.nn.softmax(logits)[:, label]

    height, width = image.shape[1:3]
    small = max(1, height // _BLUR), max(1, width // _BLUR)
    blurred = ops.resize(ops.resize(image, small, antialias=True), (height, width))
    # Gray would leave speckles, which by themselves have any class forgotten.
    make = {"steps": _STEPS}
    return jnp.concatenate(
        [
            interpret.deletion(score, image, heat, without=blurred, **make),
            interpret.insertion(score, image, heat, without=blurred, **make),
        ]
    )


def _cascade(
    subject: Subject,
    found: Sequence[Focus],
    explain: dict,
    maps: dict[str, list[np.ndarray]],
    seed: int,
) -> tuple[list[str], dict[str, list[float]]]:
    """Rank correlations with the maps as ever more modules are drawn anew.

    From the head to the first layer (Adebayo et al., 2018, section 4.1).
    """
    rows = summarize(subject.model, found[0].image.shape[1:])
    params = subject.variables["params"]
    order = dict.fromkeys(row.name.split("/")[0] for row in rows)
    modules = [name for name in reversed(order) if name in params]
    alike: dict[str, list[float]] = {name: [1.0] for name in explain}
    for count in range(1, len(modules) + 1):
        key = jax.random.key(seed)
        changed = interpret.randomized(key, params, modules[:count])
        variables = {**subject.variables, "params": changed}
        for name, make in explain.items():
            pairs = [
                interpret.rank_correlation(
                    jnp.asarray(before)[None], jnp.asarray(make(variables, one))[None]
                )
                for before, one in zip(maps[name], found, strict=True)
            ]
            alike[name].append(float(np.mean(pairs)))
    return modules, alike


def _draw(
    asked: Asked,
    removed: dict[str, np.ndarray],
    modules: list[str],
    alike: dict[str, list[float]],
) -> None:
    share = np.linspace(0, 1, _STEPS + 1).tolist()
    count = list(map(float, range(len(modules) + 1)))
    named = {name.replace("_", " "): name for name in removed}
    deletion, insertion = (
        {k: (share, removed[name][i].tolist()) for k, name in named.items()}
        for i in range(2)
    )
    cascade = {k: (count, alike[x]) for k, x in named.items() if x in alike}
    probability = "probability", True
    curves(
        [
            Labels("deletion (low is better)", "share of pixels gone", *probability),
            Labels("insertion (high is better)", "share of pixels back", *probability),
            Labels(
                "sanity (low is better)",
                f"modules drawn anew, from {modules[0]} on",
                "rank correlation with before",
            ),
        ],
        [deletion, insertion, cascade],
        f"faithfulness of attributions of {asked.subject.words}",
        asked.folder / "faithfulness.png",
    )
