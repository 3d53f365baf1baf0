r"""Looks into a trained network: what it predicts, why, and how it is fooled.

python -m experiments.interpretation --workdir=RUN --method=grad_cam
python -m experiments.interpretation --model=squeezenet1_1 --weights=FILE \
    --class_names=FILE --image=cat_dog.png --method=saliency --label=tiger_cat
"""

import dataclasses
import pathlib
from typing import Any

from cnnjax.errors import UsageError
from cnnjax.training import text_files
from cnnjax.training.progress import grid, log_line
from cnnjax.training.provenance import provenance
from experiments.interpretation import imported, runs
from experiments.interpretation.asked import Asked
from experiments.interpretation.methods import METHODS
from experiments.interpretation.options import Options as Options
from experiments.interpretation.options import check_used
from experiments.interpretation.subject import Subject as Subject
from experiments.model_options import ModelOptions


def interpret(options: Options) -> dict[str, Any]:
    """Does what the options ask, and returns what result.json says.

    Raises:
        UsageError: if the options name no network or no images, ask for what the
            network has not, or nothing can be written where they say.
    """
    check_used(options)
    subject = load(options)
    if options.list_layers:
        return _layers(subject)
    folder = pathlib.Path(options.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output={folder}: {error.strerror}.") from None
    found = METHODS[options.method].find(Asked(subject, options, folder))
    result = {
        "method": options.method,
        "network": subject.words,
        **found.numbers,
        "options": dataclasses.asdict(options),
        "provenance": provenance(found.data),
    }
    text_files.write_json(folder / "result.json", result)
    grid(f"{options.method} of {subject.words}", found.lines)
    for line in (*found.notes, f"left in {folder}"):
        log_line(line)
    return result


def load(options: Options) -> Subject:
    """The network that the options name.

    Raises:
        UsageError: if they name none, or two.
    """
    if options.workdir is None:
        if options.model is None or options.weights is None:
            raise UsageError(
                "--workdir of a run is missing, or --model and --weights of a file."
            )
        return imported.load(options)
    own = (*dataclasses.fields(ModelOptions), *_fields("weights", "class_names"))
    for field in own:
        if getattr(options, field.name) != field.default:
            raise UsageError(
                f"--{field.name} is not for --workdir, whose run has its own; leave it"
                " out."
            )
    return runs.load(pathlib.Path(options.workdir))


def _fields(*names: str) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(Options) if field.name in names]


def _layers(subject: Subject) -> dict[str, Any]:
    """Shows the features for an image of the subject's size."""
    shapes = subject.shapes(subject.image_shape)
    lines = [[name, "x".join(map(str, shape))] for name, shape in shapes.items()]
    size = "x".join(map(str, subject.image_shape))
    title = f"features of {subject.words} for an image of {size}"
    grid(title, [["layer", "shape"], *lines])
    return {"layers": {name: list(shape) for name, shape in shapes.items()}}
