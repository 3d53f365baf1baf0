"""Studies: which cells and runs they make, and what they refuse."""

import dataclasses
import pathlib

import pytest

from cnnjax.errors import UsageError
from cnnjax.training import flags
from experiments.ablation import Study, load
from experiments.ablation.options import Options
from experiments.ablation.study import plan

STUDIES = pathlib.Path(__file__).parents[3] / "experiments" / "ablations"

GRID = Study(
    experiment="classification",
    metric="accuracy",
    base=("--validation=0.2", "--epochs=3"),
    factors={"norm": ("none", "batch"), "learning_rate": (0.05, 0.1, 0.2)},
    seeds=2,
)


def changed(**values):
    return dataclasses.replace(GRID, **values)


def test_a_grid_has_all_combinations_and_the_base_first():
    planned = plan(GRID)
    assert len(planned.cells) == 6
    assert planned.cells[0] == {"norm": "none", "learning_rate": 0.05}
    assert planned.label(5) == "norm=batch, learning_rate=0.2"
    assert [run.seed for run in planned.runs] == [0] * 6 + [1] * 6
    last = planned.runs[-1]
    assert last.name == "learning_rate=0.2,norm=batch/seed1"
    assert (last.config.norm, last.config.learning_rate) == ("batch", 0.2)
    assert (last.config.seed, last.config.epochs) == (1, 3.0)


def test_one_at_a_time_changes_one_factor_of_the_base():
    planned = plan(changed(design="one_at_a_time"))
    labels = [planned.label(cell) for cell in range(len(planned.cells))]
    assert labels == [
        "norm=none, learning_rate=0.05",
        "norm=batch",
        "learning_rate=0.1",
        "learning_rate=0.2",
    ]


def test_cells_may_be_listed():
    cells = [{"norm": "none"}, {"norm": "batch", "learning_rate": 0.1}]
    planned = plan(changed(factors={}, cells=cells, seeds=(3, 7)))
    assert [run.name for run in planned.runs] == [
        "base/seed3",
        "learning_rate=0.1,norm=batch/seed3",
        "base/seed7",
        "learning_rate=0.1,norm=batch/seed7",
    ]


def test_names_stay_when_a_factor_or_seeds_are_added():
    before = {run.name: run.config for run in plan(GRID).runs}
    wider = GRID.factors | {"label_smoothing": (0.1, 0.0)}
    after = {run.name: run.config for run in plan(changed(factors=wider, seeds=3)).runs}
    assert len(after) == 36
    assert before.items() <= after.items()


def test_every_cell_runs_on_every_task():
    tasks = {"digits": (), "small": ("--holdout=0.5",)}
    planned = plan(changed(tasks=tasks))
    assert len(planned.runs) == 24
    assert planned.runs[1].name == "base/small/seed0"
    assert planned.runs[1].config.holdout == 0.5
    assert planned.bases.keys() == tasks.keys()


def test_none_leaves_a_flag_out():
    whole = {"activation": (None, "gelu"), "augment": ("crop:1", "")}
    planned = plan(changed(factors=whole, seeds=1))
    assert planned.runs[0].config.activation is None
    labels = [planned.label(cell) for cell in range(4)]
    assert labels[0] == "activation=(default), augment=crop:1"
    assert labels[1] == "augment=(empty)"
    # A factor may be added whose first value is what the base had before.
    before = plan(changed(factors={"augment": ("crop:1", "")}, seeds=1))
    assert before.runs[0] == planned.runs[0]


def test_names_of_folders_have_no_slashes():
    cells = [{"norm": "none"}, {"init_from": "/a/b.npz"}, {"init_from": "_a_b.npz"}]
    names = [run.name for run in plan(changed(factors={}, cells=cells, seeds=1)).runs]
    assert len({*names}) == 3
    assert all(name.count("/") == 1 for name in names)


def test_names_of_folders_fit_in_any_file_system():
    cells = [{"norm": "none"}, {"init_from": "数" * 90}, {"init_from": "数" * 91}]
    names = [run.name for run in plan(changed(factors={}, cells=cells, seeds=1)).runs]
    assert len({*names}) == 3
    assert max(len(name.encode()) for name in names) < 150


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"factors": {"nrom": ("a", "b")}}, "nrom.*Did you mean: norm"),
        ({"factors": {"epochs": ("1", "many")}}, "epochs=many.*float"),
        ({"factors": {"norm": ("none", "bach")}}, "bach.*batch"),
        ({"factors": {"epochs": (1, -1)}}, "--epochs must be above 0, got -1"),
        ({"factors": {"norm": "none"}}, "several values, got 'none'"),
        ({"factors": {"norm": ("none",)}}, "a single one"),
        ({"factors": {"norm": ("none", "none")}}, "same run"),
        ({"factors": {"seed": (0, 1)}}, "no factor"),
        ({"factors": {"norm": ("none", ["batch"])}}, r"--norm cannot be \['batch'\]"),
        ({"factors": {}}, "either factors or cells"),
        ({"design": "latin"}, "grid, one_at_a_time, got 'latin'"),
        ({"metric": "dice"}, "no 'dice', but accuracy, loss"),
        ({"metric": "accuracy_per_class"}, "but accuracy, loss"),
        (
            {"experiment": "clasification"},
            "clasification is no package with an EXPERIMENT",
        ),
        ({"base": ()}, "--validation=0.2 among"),
        ({"base": ("--validation=0.2", "digits")}, "'digits': flags begin with --"),
        ({"base": ("--flagfile=missing.flags",)}, "missing.flags"),
        ({"seeds": ()}, "one or more different"),
        ({"seeds": (1, 1)}, "one or more different"),
        ({"seeds": 2.5}, r"seeds of a study must be how many .* got 2.5"),
        ({"seeds": None}, "seeds of a study"),
        ({"base": "--validation=0.2"}, r"base of a study must be flags, as in"),
        ({"factors": ["norm"]}, "factors of a study"),
        ({"factors": {"norm": {"none", "batch"}}}, "norm takes several values"),
        ({"factors": {"norm": 5}}, "norm takes several values, got 5"),
        ({"factors": {"norm": iter(("none", "batch"))}}, "norm takes several"),
        ({"cells": {"norm": "none"}}, "cells of a study"),
        ({"tasks": {}}, "tasks of a study"),
        ({"tasks": {"a": "--holdout=0.5"}}, "tasks of a study"),
        ({"tasks": {"..": ()}}, "tasks of a study must be names of folders"),
        ({"difference": "0.1"}, "difference of a study must be a number above 0"),
        ({"difference": 0}, "difference of a study"),
        ({"metric": None}, "metric of a study"),
        ({"experiment": ".."}, "experiment of a study"),
    ],
)
def test_what_cannot_run_is_refused(values, said):
    with pytest.raises(UsageError, match=said) as refusal:
        plan(changed(**values))
    assert "\n" not in str(refusal.value)


def test_a_loss_and_an_error_are_better_when_smaller():
    assert plan(changed(metric="loss")).smaller_is_better
    assert not plan(GRID).smaller_is_better


FILE = '''"""Whether norms matter."""
from experiments.ablation import Study
STUDY = Study(experiment="classification", metric="accuracy", factors={"norm": (1, 2)})
'''


def test_a_file_defines_a_study(tmp_path):
    path = tmp_path / "norms.py"
    path.write_text(FILE)
    study = load.from_file(str(path))
    assert study.question == "Whether norms matter."
    assert study.factors == {"norm": (1, 2)}


def test_flags_go_on_where_those_of_a_file_end(tmp_path):
    path = tmp_path / "norms.py"
    path.write_text(FILE.replace("metric", 'base=("--epochs=3",), metric'))
    study = load.study(Options(study=str(path), base=("--epochs=5", "a.flags")))
    assert list(study.base) == ["--epochs=3", "--epochs=5", "--flagfile=a.flags"]


@pytest.mark.parametrize("name", ["experiment", "vary", "design"])
def test_flags_that_a_file_replaces_are_refused(name):
    values = {"experiment": "quick", "vary": ("norm=1,2",), "design": "grid"}
    with pytest.raises(UsageError, match=f"--{name} is for a study without a file"):
        load.study(Options(study="norms.py", **{name: values[name]}))


@pytest.mark.parametrize("path", sorted(STUDIES.rglob("*.py")), ids=lambda p: p.stem)
def test_studies_that_come_with_it_can_run(path):
    study = load.from_file(str(path))
    planned = plan(study)
    assert study.question
    assert study.difference
    if path.parent.name == "recipes":  # their first cell is the recipe itself
        recipe = flags.from_arguments(planned.experiment.config, study.base)
        assert dataclasses.replace(recipe, seed=planned.seeds[0]) == planned.bases[""]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x = 1\n", "defines no STUDY"),
        ("x = 1\ny = 1 / 0\n", r"study.py:2: ZeroDivisionError"),
        ("x = (\n", r"study.py:1: SyntaxError"),
        (FILE.replace("metric", "metrics"), "metrics"),
        (FILE.replace("metric", 'base="--epochs=5", metric'), "study.py:3: base of a"),
        (None, "is no file"),
    ],
)
def test_a_file_that_does_not_load_is_refused(tmp_path, content, said):
    path = tmp_path / "study.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=said):
        load.from_file(str(path))


def test_factors_and_seeds_are_read_from_flags():
    factors = load.factors(["norm=batch,group", "augment=crop:2;crop:2,flip"])
    assert factors == {
        "norm": ("batch", "group"),
        "augment": ("crop:2", "crop:2,flip"),
    }
    assert load.seeds("5") == 5
    assert load.seeds("3,4") == (3, 4)


@pytest.mark.parametrize("arguments", [["norm"], ["=a"], ["a=1", "a=2"]])
def test_factors_of_another_form_are_refused(arguments):
    with pytest.raises(UsageError, match="--vary"):
        load.factors(arguments)


@pytest.mark.parametrize("text", ["none", "0", "-1", "1,-2", ""])
def test_seeds_of_another_form_are_refused(text):
    with pytest.raises(UsageError, match="--seeds"):
        load.seeds(text)
