"""The examples run, and are as short as the README says."""

import pathlib

import pytest

from cnnjax import losses
from cnnjax.models import CLASSIFIERS
from experiments import examples, trainer
from experiments.ablation import Study
from experiments.ablation.study import plan
from experiments.examples import custom_model, train_by_hand
from experiments.find import experiment_of

FILES = sorted(pathlib.Path(examples.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_has_fifty_lines_at_most(path):
    assert path.read_text().count("\n") <= 50


def test_trains_by_hand():
    assert train_by_hand.main(steps=60) > 0.85


@pytest.fixture
def tables():
    """The tables that an example adds to, as they were again afterwards."""
    before = [(t, dict(t)) for t in (CLASSIFIERS, losses.CLASSIFICATION_LOSSES)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


@pytest.mark.usefixtures("tables")
def test_trains_a_model_and_a_loss_of_ones_own(tmp_path):
    options = {"width": 0.5, "epochs": 3.0, "eval_every": 9.0, "tune_cpu": False}
    assert custom_model.main(tmp_path, **options)["accuracy"] > 0.15


def test_an_experiment_of_ones_own_trains_and_is_ablated(tmp_path):
    study = Study(
        experiment="experiments.examples.label_noise",
        metric="accuracy",
        base=("--validation=0.2", "--epochs=2", "--width=0.5", "--notune_cpu"),
        factors={"noise": (0.0, 0.9)},
        seeds=1,
    )
    planned = plan(study)
    scores = [
        trainer.run(planned.experiment, run.config, tmp_path / run.name)["accuracy"]
        for run in planned.runs
    ]
    assert scores[0] > scores[1] + 0.1
    assert experiment_of(tmp_path / planned.runs[0].name) is planned.experiment
