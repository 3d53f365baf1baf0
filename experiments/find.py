"""Experiments by name: those in `experiments`, and packages of one's own."""

import importlib
import importlib.util
import pathlib

from cnnjax.errors import UsageError
from cnnjax.training import finished, text_files
from experiments.trainer import MODULE, Experiment


def find_experiment(name: str) -> Experiment:
    """The experiment of a package in `experiments`, or of one elsewhere.

    Raises:
        UsageError: if there is none.
    """
    try:
        found = importlib.import_module(module(name))
    except ModuleNotFoundError as error:
        if error.name is None or not module(name).startswith(error.name):
            raise
        found = None
    experiment = getattr(found, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise UsageError(
            f"{module(name)} is no package with an EXPERIMENT: classification,"
            " segmentation and detection are, and packages of one's own may be."
        )
    return experiment


def module(experiment: str) -> str:
    """What `python -m` runs for an experiment's name."""
    inside = f"experiments.{experiment}"
    is_inside = "." not in experiment and importlib.util.find_spec(inside)
    return inside if is_inside else experiment


def experiment_of(workdir: pathlib.Path) -> Experiment:
    """The experiment of the finished run in `workdir`, by the module in its result.

    Raises:
        UsageError: if there is no finished run, or its experiment is not found.
    """
    result = finished.read(workdir).result
    if MODULE in result:
        return find_experiment(result[MODULE])
    # Earlier revisions wrote the name alone.
    row = text_files.read_object(workdir / "config.json", {finished.NAME})
    return find_experiment(row[finished.NAME])
