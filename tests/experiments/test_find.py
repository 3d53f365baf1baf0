"""Experiments are found by name, in `experiments` and elsewhere, and by their runs."""

import pytest

from cnnjax.errors import UsageError
from cnnjax.training import finished, text_files
from experiments.examples import label_noise
from experiments.find import experiment_of, find_experiment, module


def test_by_name_inside_and_elsewhere(tmp_path, monkeypatch):
    assert find_experiment("segmentation").name == "segmentation"
    assert find_experiment("experiments.examples.label_noise").name == "label_noise"
    (tmp_path / "mine_of_a_test.py").write_text(
        "from experiments.classification import EXPERIMENT\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert find_experiment("mine_of_a_test").name == "classification"
    assert module("mine_of_a_test") == "mine_of_a_test"
    assert module("detection") == "experiments.detection"


def test_refuses_what_is_none():
    with pytest.raises(UsageError, match="label_noise is no package with an EXP"):
        find_experiment("label_noise")


@pytest.mark.parametrize(
    ("result", "name"),
    [({"module": label_noise.__name__}, "label_noise"), ({}, "segmentation")],
    ids=["now", "of an earlier revision"],
)
def test_by_a_run(tmp_path, result, name):
    config = {finished.NAME: name, finished.DATA: ""}
    old = {
        "parameters_sha256": "",
        "parameters": 0,
        "class_names": [],
        "image_shape": [],
        "seconds": {},
    }
    text_files.write_json(tmp_path / "config.json", config)
    text_files.write_json(tmp_path / "result.json", old | result)
    assert experiment_of(tmp_path).name == name
