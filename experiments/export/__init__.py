r"""Writes the network of a finished run as one file for other programs.

python -m experiments.export --workdir=RUN --format=onnx --check
python -m experiments.export --workdir=RUN --format=stablehlo --output=FILE
"""

import importlib
import pathlib

from cnnjax.errors import UsageError
from experiments.export import stablehlo
from experiments.export.checked import check as check
from experiments.export.exported import Exported as Exported
from experiments.export.exported import check_output, network, written

_NEEDED = ("onnx", "onnxruntime")


def export(
    workdir: pathlib.Path | str,
    output: pathlib.Path | str,
    *,
    format: str = "onnx",
    kind: str = "uint8",
) -> Exported:
    """Writes the network of the finished run in `workdir`.

    Args:
        workdir: of the run.
        output: the file to write.
        format: "onnx" or "stablehlo".
        kind: type of the images, "uint8" or "float32".

    Raises:
        UsageError: if there is no finished run, a package is missing, the network has
            something that the format has not, or the file cannot be written.
    """
    if format == "onnx":
        check_installed()
        from experiments.export import onnx_network as writer
    else:
        writer = stablehlo
    output = pathlib.Path(output)
    found = network(pathlib.Path(workdir))
    check_output(output)
    made = writer.made(found, kind)
    written(output, made)
    return made


def check_installed() -> None:
    """Refuses to go on without the packages that ONNX needs.

    Raises:
        UsageError: if one is missing.
    """
    for package in _NEEDED:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            raise UsageError(
                f"--format=onnx needs the package {package}, which is not installed:"
                f" pip install {' '.join(_NEEDED)}."
            ) from None
