"""Which features compare content and style, and by what weights."""

from cnnjax.errors import UsageError
from cnnjax.interpret import Weights
from experiments.interpretation.subject import Subject
from experiments.style_transfer.options import Options

# Of the paper (figure 2), as far as they reach; of SqueezeNet about the same strides.
_VGG = "conv4_2", ("conv1_1", "conv2_1", "conv3_1", "conv4_1")
_SQUEEZENET = "fire5", ("conv1", "fire2", "fire3", "fire4", "fire5", "fire6")
DEFAULTS = {
    **{f"vgg{n}": _VGG for n in (16, 19)},
    **{f"squeezenet{n}": _SQUEEZENET for n in ("1_0", "1_1")},
}
# By which either loss moves the picture.
STYLE_WEIGHT = 1e3
STYLE_WEIGHTS = {f"squeezenet{n}": 1e4 for n in ("1_0", "1_1")}


def chosen(
    options: Options, network: Subject, image_shape: tuple[int, int, int]
) -> Weights:
    """The features and their weights; those of one loss sum to its weight.

    Raises:
        UsageError: if a feature does not exist, or none is named for a model that has
            no default.
    """
    names = network.shapes(image_shape)
    content, style = options.content_layers, options.style_layers
    if content is None or style is None:
        if options.model not in DEFAULTS:
            raise UsageError(
                f"--content_layers and --style_layers are missing: --model="
                f"{options.model} has no features of its own for them, but"
                f" {', '.join(names)}."
            )
        one, many = DEFAULTS[str(options.model)]
        content, style = content or one, style or "+".join(many)
    style_weight = options.style_weight
    if style_weight is None:
        style_weight = STYLE_WEIGHTS.get(str(options.model), STYLE_WEIGHT)
    return Weights(
        _parsed("content_layers", content, options.content_weight, names),
        _parsed("style_layers", style, style_weight, names),
        options.smoothness,
    )


def _parsed(flag: str, text: str, weight: float, names) -> dict[str, float]:
    """NAME[:WEIGHT]+... as weights by name, which sum to `weight`."""
    found = {}
    for part in text.split("+"):
        name, colon, number = part.partition(":")
        try:
            share = float(number) if colon else 1.0
        except ValueError:
            share = -1.0
        if not 0 < share < float("inf"):
            raise UsageError(f"--{flag}: {part!r} must be NAME or NAME:WEIGHT.")
        if name not in names or len(names[name]) != 3:
            raise UsageError(
                f"--{flag}: there is no feature {name!r} with height and width, only"
                f" {', '.join(k for k, x in names.items() if len(x) == 3)}."
            )
        found[name] = share
    total = sum(found.values())
    return {name: weight * share / total for name, share in found.items()}
