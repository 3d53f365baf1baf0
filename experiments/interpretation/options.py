"""Options of the command `python -m experiments.interpretation`."""

import dataclasses

from cnnjax.errors import UsageError
from cnnjax.interpret.ball import NORMS
from cnnjax.models import CLASSIFIERS
from cnnjax.options import option
from experiments.config import for_models
from experiments.interpretation.methods import METHODS
from experiments.model_options import ModelOptions

_AT_MOST = 100_000


@for_models(CLASSIFIERS, default=None)
@dataclasses.dataclass(frozen=True)
class Options(ModelOptions):
    """A network, what it is shown, and what is asked about it."""

    method: str = option("predict", "What to find out.", choices=METHODS)
    workdir: str | None = option(
        None, "The folder of a finished run, whose network it is.", written=False
    )
    weights: str | None = option(
        None, "A file with the weights of --model.", written=False
    )
    class_names: str | None = option(
        None,
        "A file with the names of the classes of --weights, one a line.",
        written=False,
    )
    image: str | None = option(
        None, "A picture, or a folder of pictures.", written=False
    )
    dataset: str | None = option(
        None,
        "Images of a test split instead, as scheme:location (neither given: the test"
        " split of the run).",
        written=False,
    )
    count: int | None = option(
        None,
        "How many images (none given: all of a folder; of a data set the first 4, all"
        " for patches and 100 for robustness).",
        at_least=1,
    )
    layer: str | None = option(
        None,
        "A feature (none given: the last one in front of the head with height and width"
        " above 1).",
    )
    list_layers: bool = option(False, "Shows the features and their shapes instead.")
    label: str | None = option(
        None, "The class in question, by name or number (none given: the top class)."
    )
    pixel: str | None = option(
        None,
        "Y,X of which a segmenter's logit is taken (none given: the mean over the"
        " pixels predicted as the class).",
    )
    units: str | None = option(
        None,
        "Channels of the layer, joined by commas (none given: the first 9; dream: all"
        " together).",
    )
    samples: int = option(
        50, "Noisy copies (smooth_grad).", at_least=1, at_most=_AT_MOST
    )
    steps: int | None = option(
        None, "Steps (none given: the method's own).", at_least=1, at_most=_AT_MOST
    )
    square: int | None = option(
        None,
        "Side of the square that covers pixels (occlusion; none given: an eighth of"
        " the image).",
        at_least=1,
        at_most=4096,
    )
    epsilon: str = option(
        "2/255", "How far an attack may go: a number or a fraction, of [0, 1]."
    )
    epsilons: str = option(
        "0,0.25/255,0.5/255,1/255,2/255,4/255",
        "How far attacks may go, one after another (robustness).",
    )
    distance: str = option(
        "linf",
        "How that is measured: linf, each pixel; l2, the Euclidean distance.",
        choices=NORMS,
    )
    top: int = option(9, "Patches a channel.", at_least=1, at_most=100)
    seed: int = option(0, "Seeds all that is drawn at random.", at_least=0)
    output: str = option(
        "runs/interpretation", "The folder for figures and result.json.", written=False
    )


def check_used(options: Options) -> None:
    """Refuses options of other methods.

    Raises:
        UsageError: if one is given that the method does not read.
    """
    own = {name for method in METHODS.values() for name in method.options}
    for field in dataclasses.fields(options):
        given = getattr(options, field.name) != field.default
        if given and field.name in own - {*METHODS[options.method].options}:
            having = [
                k for k, method in METHODS.items() if field.name in method.options
            ]
            raise UsageError(
                f"--{field.name} is not for --method={options.method}, but for"
                f" {', '.join(having)}; leave it out."
            )
