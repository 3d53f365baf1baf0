"""What the READMEs say holds: links, flags, commands and blocks of Python.

Each command is parsed as it stands, and run by a tiny equivalent unless another test
does that: recipes by `test_recipes_start` of their experiment, `--verify_resume` by the
contracts, `--prepare` by the tests of its reader, `--suite=ahead` by its own.
"""

import contextlib
import copy
import dataclasses
import functools
import importlib.util
import json
import re

import flax.nnx
import jax
import numpy as np
import pytest
from absl import flags as absl_flags
from PIL import Image

from cnnjax.errors import UsageError
from cnnjax.training import flags, launch
from experiments import (
    ablation,
    benchmark,
    classification,
    detection,
    segmentation,
    summary,
    trainer,
)
from experiments.ablation import load
from experiments.ablation.options import Options
from experiments.ablation.study import plan
from experiments.benchmark import inputs, interpretation, loops, packs, steps
from experiments.benchmark.looks import Look
from experiments.benchmark.workloads import WORKS
from experiments.export import options as export_options
from experiments.interpretation import options as interpretation_options
from experiments.style_transfer import options as style_options
from experiments.summary import __main__ as summary_command
from experiments.summary import options as summary_options
from tests import once, readmes, synthetic
from tests.readmes import ALL, Readme

PACKAGES = {
    "classification": classification,
    "segmentation": segmentation,
    "detection": detection,
    "ablation": ablation,
    "benchmark": benchmark,
    "summary": summary,
}
# Commands that train nothing, by their options.
OPTIONS = {
    "ablation": Options,
    "export": export_options.Options,
    "interpretation": interpretation_options.Options,
    "style_transfer": style_options.Options,
    "summary": summary_options.Options,
}
ELSEWHERE = (
    "--flagfile=",
    "--verify_resume",
    "--prepare",
    "--suite=all",
    "--suite=ahead",
)
# Absl's, XLA's, and pip's --require-hashes.
OTHER_FLAGS = {"flagfile", "help", "require", "xla_gpu_autotune_level"}
COMMANDS = sorted({command for readme in ALL for command in readme.commands})
TO_RUN = [(n, a) for n, a in COMMANDS if not any(x.startswith(ELSEWHERE) for x in a)]
of_readmes = pytest.mark.parametrize("readme", ALL, ids=lambda readme: readme.path)


@functools.cache
def defined(name):
    """The flags of an experiment, with none given."""
    values = absl_flags.FlagValues()
    if name in OPTIONS:
        flags.define(OPTIONS[name], values)
        return values
    if name != "benchmark":
        flags.define(PACKAGES[name].EXPERIMENT.config, values)
        flags.define(PACKAGES[name].EXPERIMENT.options, values)
        return values
    command = importlib.import_module("experiments.benchmark.__main__")
    for flag in absl_flags.FLAGS.get_flags_for_module(command.__name__):
        values[flag.name] = flag
        delattr(absl_flags.FLAGS, flag.name)  # other tests define their own
    return values


def parsed(name, arguments):
    """The flags of a launch, with these arguments."""
    values = copy.deepcopy(defined(name))
    assert values(["program", *arguments]) == ["program"]
    return values


def launched(name, arguments):
    """Config and options of a launch."""
    values, experiment = parsed(name, arguments), PACKAGES[name].EXPERIMENT
    config = flags.parse(experiment.config, values)
    return config, flags.parse(experiment.options, values)


def test_front_page_has_150_lines_at_most():
    assert Readme("README.md").text.count("\n") <= 150


@of_readmes
def test_links_point_to_files(readme):
    folder = (readmes.ROOT / readme.path).parent
    prose = re.sub(r"`[^`]*`", "", readmes.BLOCK.sub("", readme.text))
    broken = [x for x in readmes.LINK.findall(prose) if not (folder / x).exists()]
    assert not broken


@of_readmes
def test_flags_exist(readme):
    names = [name for name in PACKAGES if f"/{name}/" in readme.path] or PACKAGES
    if "ablation" in names:  # whose base is flags of an experiment
        names = PACKAGES
    known = set()
    for name in (*names, *OPTIONS, "benchmark"):
        values = defined(name)
        known |= set(values)
        known |= {f"no{flag}" for flag in values if values[flag].boolean}
    if readme.path == "CONTRIBUTING.md":  # what another test adds
        known |= set(
            readmes.FLAG.findall((readmes.ROOT / "tests/test_extending.py").read_text())
        )
    text = readme.text
    for _, arguments, _ in readme.errors:
        text = text.replace(arguments, "")
    assert set(readmes.FLAG.findall(text)) - known <= OTHER_FLAGS


@of_readmes
def test_values_of_flags_are_allowed(readme):
    if readme.path == "CONTRIBUTING.md":
        pytest.skip("its values are what one would add")
    for flag, values in readmes.VALUE.findall(readme.text):
        for value in values.split("|"):
            names = [x for x in {**PACKAGES, **OPTIONS} if flag in defined(x)]
            assert not names or any(takes(name, flag, value) for name in names)


def takes(name, flag, value):
    with contextlib.suppress(absl_flags.Error, UsageError):
        parsed(name, [f"--{flag}={value}"])
        return True
    return False


def test_commands_are_found():
    assert {name for name, _ in COMMANDS} == set(PACKAGES)
    assert len(TO_RUN) > 10


def test_modules_of_other_commands_exist():
    for readme in ALL:
        for module in re.findall(r"-m (tests\.\w+)", readme.text):
            assert importlib.util.find_spec(module)


@pytest.mark.parametrize(("name", "arguments"), COMMANDS)
def test_flags_of_commands_are_accepted(name, arguments, monkeypatch):
    monkeypatch.chdir(readmes.ROOT)  # where flagfiles are
    if name in (*OPTIONS, "benchmark"):
        parsed(name, arguments)
        return
    config, _ = launched(name, arguments)
    assert config.model in PACKAGES[name].Config.MODELS
    for argument in arguments:
        if argument.startswith("--flagfile="):
            path = readmes.ROOT / argument.partition("=")[2]
            assert path in synthetic.recipes(PACKAGES[name].Config.MODELS)


@pytest.mark.parametrize("name", readmes.OTHERS)
def test_flags_of_other_commands_are_accepted(name):
    text = Readme(f"experiments/{name}/README.md").text
    commands = re.findall(rf"-m experiments\.{name}((?: --[^\s`|#]+)+)", text)
    assert len(commands) > 1
    for arguments in commands:
        parsed(name, arguments.split())


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Small data by the scheme that reads it; under "pictures" a folder of images."""
    root = tmp_path_factory.mktemp("data")
    synthetic.write_masks(root / "masks", count=10, size=24)
    synthetic.write_boxes(root / "voc", train=24, test=4, size=40)
    synthetic.write_coco(root / "voc", root / "coco")
    return {
        "masks": root / "masks",
        "voc": root / "voc",
        "coco": root / "coco",
        "pictures": root / "voc" / "images",
    }


def tiny(name, config, paths):
    """The config with which a test can afford what a command trains."""
    scheme = config.dataset.partition(":")[0]
    if scheme == "scenes":
        scheme = {"segmentation": "masks", "detection": "voc"}[name]
    if scheme in paths:
        config = dataclasses.replace(config, dataset=f"{scheme}:{paths[scheme]}")
    small = {
        "classification": {"epochs": 0.2},
        "segmentation": {"epochs": 1, "batch_size": 4, "depth": 1},
        "detection": {
            "epochs": 1,
            "batch_size": 16,
            "image_batch": 4,
            "window": 24,
            "shapes": 2,
            "mining_rounds": 0,
        },
    }
    common = {"width": 1 / 16, "optimizer": "sgd", "ema": 0.0, "tune_cpu": False}
    return dataclasses.replace(config, **common, **small[name])


def train(name, config, workdir):
    synthetic.train(PACKAGES[name].EXPERIMENT, config, workdir)


@pytest.fixture(scope="module")
def finished(paths, tmp_path_factory):
    """Experiment -> the workdir of its tiny run, with all flags at their defaults."""

    @functools.cache
    def run(name):
        config, _ = launched(name, ())
        make = functools.partial(train, name, tiny(name, config, paths))
        return once.copied(tmp_path_factory, f"runs/{name}", make)[0]

    return run


@pytest.mark.parametrize(("name", "arguments"), TO_RUN)
def test_commands_run(name, arguments, paths, finished, tmp_path, monkeypatch):
    if name == "ablation":  # whose runs are those of experiments
        monkeypatch.chdir(readmes.ROOT)
        assert plan(load.study(flags.parse(Options, parsed(name, arguments)))).runs
        return
    if name == "summary":
        monkeypatch.chdir(tmp_path)  # where its files go
        summary_command.show(flags.parse(OPTIONS[name], parsed(name, arguments)))
        return
    if name == "benchmark":
        time_one_row(parsed(name, arguments), tmp_path, monkeypatch)
        return
    config, options = launched(name, arguments)
    if options.predict:
        pictures, workdir = paths["pictures"], finished(name)
        of_predict = vars(options).keys() - vars(launch.LaunchOptions()).keys()
        asked = {key: getattr(options, key) for key in of_predict}
        trainer.predict(PACKAGES[name].EXPERIMENT, pictures, workdir, **asked)
        assert list(workdir.glob("predictions*"))
        return
    if arguments:
        train(name, tiny(name, config, paths), tmp_path)
    workdir = tmp_path if arguments else finished(name)
    assert json.loads((workdir / "result.json").read_text())["parameters"]


def time_one_row(values, workdir, monkeypatch):
    """Times the smallest row of a suite, on the smallest images."""
    row = {"ops": "nearest", "steps": "small", "loops": "vmap", "detection": "1000"}
    row |= {"input": "224", "packs": "1 of", "interpretation": "Grad-CAM"}
    work = dataclasses.replace(WORKS["cpu"][0], images=(2, 8, 8, 1))
    for suite in (steps, loops):
        monkeypatch.setattr(suite, "WORKS", {"cpu": (work,)})
    monkeypatch.setattr(inputs, "COUNT", 8)
    monkeypatch.setattr(packs, "ROWS", {"cpu": (packs.Row(1, 0.05),)})
    look = Look("grad_cam", "squeezenet1_1", (2, 64, 64, 3))
    monkeypatch.setattr(interpretation, "LOOKS", {"cpu": (look,)})
    command = importlib.import_module("experiments.benchmark.__main__")
    records = command.SUITES[values.suite](
        only=row[values.suite],
        rounds=1,
        workdir=workdir,
        precision=values.precision,
    )
    assert records
    assert list(workdir.glob("*.md"))


@of_readmes
def test_blocks_of_python_run(readme, finished, monkeypatch):
    monkeypatch.chdir(finished("classification").parents[1])
    names = {"__name__": "readme"}
    for number, code in enumerate(readme.python):
        exec(compile(code, f"{readme.path} {number}", "exec"), names)
    if readme.path == "README.md":
        assert names["pooled"](names["kernel"]).shape == (8, 8, 8, 16)
        assert names["slope"].shape == (3, 3, 3, 16)
        assert names["logits"].shape == (8, 10)
        assert np.isfinite(names["value"])
    if readme.path == "cnnjax/ops/README.md":
        x = names["x"]
        linen, _ = names["Layer"]().init_with_output(jax.random.key(0), x)
        nnx = names["NNXLayer"](flax.nnx.Rngs(0))(x)
        assert linen.shape == nnx.shape == (8, 16, 16, 32)
        assert names["y"].shape == (8, 32, 32, 32)


def test_shown_errors_are_those_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for place in ("cats/1", "cats/3", "dogs/1"):
        path = tmp_path / "pictures" / f"{place}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    damaged = tmp_path / "pictures/cats/3.jpg"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    shown = [error for readme in ALL for error in readme.errors]
    assert len(shown) == 2
    for name, arguments, message in shown:
        with pytest.raises((UsageError, absl_flags.Error)) as refused:
            PACKAGES[name].run(launched(name, arguments.split())[0], tmp_path / "run")
        assert re.sub(r"\d+", "N", str(refused.value)) == re.sub(r"\d+", "N", message)
