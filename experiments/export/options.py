"""Options of the command `python -m experiments.export`."""

import dataclasses

from cnnjax.options import option

FORMATS = ("onnx", "stablehlo")


@dataclasses.dataclass(frozen=True)
class Options:
    """What to export, and how."""

    workdir: str | None = option(None, "The folder of a finished run.", written=False)
    format: str = option("onnx", "What to write.", choices=FORMATS)
    output: str | None = option(
        None,
        "The file to write (default: model.onnx or model.stablehlo in the workdir).",
        written=False,
    )
    input: str = option(
        "uint8",
        "Type of the images: uint8, or float32 in [0, 1].",
        choices=("uint8", "float32"),
    )
    check: bool = option(
        False,
        "Compares the file with the run's own network on 32 test images; exits with 1"
        " where they differ by more than 1e-4, or in a class.",
    )
