"""The contracts of every training experiment: repeatable, exact resume, any devices.

Each experiment is here with flags that make it tiny and use all that draws numbers.
A run is watched from outside, stopped in some way, started again, and must end in the
bits of the run that was never stopped.
"""

import functools
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import pytest

from cnnjax.errors import UsageError
from cnnjax.models import weights
from cnnjax.training import record, text_files
from cnnjax.training.signals import Stopped
from cnnjax.training.train import NotFinite
from experiments import classification, detection, segmentation
from experiments.detection.sliding import mining
from tests import synthetic as made_up

MADE_UP = pathlib.Path(tempfile.gettempdir()) / f"cnnjax-made-up-{os.getpid()}"
MASKS, BOXES = MADE_UP / "masks", MADE_UP / "boxes"
# All of them with 22 steps an epoch.
TINY = {
    "classification": (
        classification,
        classification.Config(
            model="lenet",
            norm="batch",
            width=0.5,
            image_size=28,
            epochs=3,
            learning_rate=0.1,
            augment="crop:1,cutout:2,mixup",
            dropout=0.1,
            ema=0.9,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
    ),
    "segmentation": (
        segmentation,
        segmentation.Config(
            dataset=f"masks:{MASKS}",
            depth=1,
            width=1 / 16,
            epochs=3,
            batch_size=8,
            optimizer="sgd",
            learning_rate=0.1,
            border_weight=1.0,
            crop_size=12,
            augment="flip,rotate:10,elastic:2,noise:0.02",
            dropout=0.1,
            ema=0.9,
            eval_every=1,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
    ),
    # 44 objects, three windows of background for each; mined after steps 22 and 44.
    "detection": (
        detection,
        detection.Config(
            dataset=f"voc:{BOXES}",
            window=24,
            shapes=2,
            width=0.25,
            epochs=3,
            batch_size=8,
            image_batch=8,
            max_detections=10,
            mining_rounds=2,
            mining_images=12,
            optimizer="sgd",
            learning_rate=0.02,
            augment="flip,rot90,jitter:0.1,noise:0.02",
            dropout=0.1,
            ema=0.9,
            eval_every=1,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
    ),
}
SCORES = {"classification": "accuracy", "segmentation": "mean_iou", "detection": "ap50"}
STEPS = 3 * 22


@pytest.fixture(scope="module", autouse=True)
def data():
    made_up.write_masks(MASKS / "train", count=176, size=16)
    made_up.write_masks(MASKS / "test", count=44, size=16, start=1)
    made_up.write_boxes(BOXES, train=22, test=10, size=40)
    yield
    shutil.rmtree(MADE_UP)


@pytest.fixture(params=TINY)
def experiment(request):
    return request.param


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The result of each experiment's run that nothing disturbed, made once."""

    @functools.cache
    def result(experiment):
        return go_on(experiment, tmp_path_factory.mktemp(experiment))

    return result


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    """Five steps of each experiment on one device, made once; see `few_steps`."""

    @functools.cache
    def result(experiment):
        return few_steps(experiment, tmp_path_factory.mktemp(experiment) / "one")

    return result


def read(workdir):
    return json.loads((workdir / "result.json").read_text())


def rows(workdir):
    return text_files.read_rows(workdir)


def go_on(experiment, workdir):
    """Starts the run in `workdir` again, to its end."""
    module, config = TINY[experiment]
    module.run(config, workdir)
    return read(workdir)


def start(experiment, workdir, *flags, devices=1, prelude=""):
    """Starts the experiment as a process of its own, with as many CPU devices."""
    _, config = TINY[experiment]
    workdir.mkdir(parents=True, exist_ok=True)
    recipe = workdir.with_suffix(".flags")
    recipe.write_text(
        "".join(f"--{k}={v}\n" for k, v in vars(config).items() if v is not None)
    )
    code = (
        f"import runpy, sys\n{prelude}\n"
        f"runpy.run_module('experiments.{experiment}', run_name='__main__')"
    )
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']}"
        f" --xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(pathlib.Path(__file__).parents[3]),
    }
    return subprocess.Popen(
        (
            *(sys.executable, "-c", code),
            *(f"--flagfile={recipe}", f"--workdir={workdir}", *flags),
        ),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    """Waits for a process; returns its status and what it said."""
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


def wait_for_step(process, workdir, step):
    while max((row["step"] for row in rows(workdir)), default=0) < step:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def stop_at(monkeypatch, step):
    """Sends this process a SIGTERM when the row of that step is logged."""
    log = record.Record.log

    def logged(self, row):
        log(self, row)
        if row["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(record.Record, "log", logged)


@pytest.fixture
def stopped(experiment, tmp_path, monkeypatch):
    """The workdir of a run that a SIGTERM stopped between two epochs."""
    module, config = TINY[experiment]
    with monkeypatch.context() as patch:
        stop_at(patch, 39)
        with pytest.raises(Stopped) as caught:
            module.run(config, tmp_path)
    assert caught.value.status == 143
    return tmp_path


def checkpoints(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_same_flags_same_bits(experiment, straight, tmp_path):
    result = go_on(experiment, tmp_path)
    assert result["parameters_sha256"] == straight(experiment)["parameters_sha256"]


def test_another_seed_gives_other_bits(experiment, straight, tmp_path):
    module, config = TINY[experiment]
    module.run(config.__class__(**{**vars(config), "seed": 1}), tmp_path)
    other = read(tmp_path)["parameters_sha256"]
    assert other != straight(experiment)["parameters_sha256"]


def test_resumes_exactly_after_sigterm(experiment, straight, stopped):
    assert not (stopped / "result.json").exists()
    before = rows(stopped)
    result = go_on(experiment, stopped)
    assert result["parameters_sha256"] == straight(experiment)["parameters_sha256"]
    score = SCORES[experiment]
    assert result[score] == straight(experiment)[score]
    steps = [row["step"] for row in rows(stopped) if "train/loss" in row]
    assert steps == list(range(1, STEPS + 1))
    assert rows(stopped)[: len(before)] == before


def test_resumes_exactly_after_kill_in_an_epoch(experiment, straight, tmp_path):
    workdir = tmp_path / "run"
    process = start(experiment, workdir)
    wait_for_step(process, workdir, 29)
    process.kill()
    finish(process)
    assert 0 < max(checkpoints_finished(workdir)) < STEPS
    result = go_on(experiment, workdir)
    assert result["parameters_sha256"] == straight(experiment)["parameters_sha256"]


def checkpoints_finished(workdir):
    names = [path.name for path in (workdir / "checkpoints").iterdir()]
    return [int(name) for name in names if name.isdigit()]


# Dies as soon as the third checkpoint is begun: its folder has a temporary name.
KILLED_SAVING = """
import os, pathlib, signal, threading
folder = pathlib.Path(sys.argv[-1].partition("=")[2]) / "checkpoints"
def watch():
    while not list(folder.glob("33*tmp*")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
"""


def test_resumes_exactly_after_kill_in_a_save(experiment, straight, tmp_path):
    workdir = tmp_path / "run"
    process = start(experiment, workdir, prelude=KILLED_SAVING)
    status, said = finish(process)
    assert status == -signal.SIGKILL, said
    assert list((workdir / "checkpoints").glob("33*tmp*"))
    assert 22 in checkpoints_finished(workdir)
    result = go_on(experiment, workdir)
    assert result["parameters_sha256"] == straight(experiment)["parameters_sha256"]


# Dies when what the second search of a detector found is to be kept, or just was.
KILLED_MINING = """
import os, signal
replace = os.replace
def killed(source, target):
    mined = str(target).endswith("round_2.npz")
    if mined and {kept}:
        replace(source, target)
    if mined:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
"""


@pytest.mark.parametrize("kept", [False, True])
def test_resumes_exactly_after_kill_in_mining(straight, tmp_path, kept):
    workdir = tmp_path / "run"
    prelude = KILLED_MINING.format(kept=kept)
    status, said = finish(start("detection", workdir, prelude=prelude))
    assert status == -signal.SIGKILL, said
    assert (workdir / "mined/round_2.npz").exists() == kept
    result = go_on("detection", workdir)
    assert result["parameters_sha256"] == straight("detection")["parameters_sha256"]


def test_resumes_exactly_after_sigterm_in_mining(straight, tmp_path, monkeypatch):
    module, config = TINY["detection"]
    mine = mining.Rounds.renew

    def stopped(self, detected, number, variables, *, poll):
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return mine(self, detected, number, variables, poll=poll)

    with monkeypatch.context() as patch:
        patch.setattr(mining.Rounds, "renew", stopped)
        with pytest.raises(Stopped):
            module.run(config, tmp_path)
    assert max(checkpoints(tmp_path)) == 44
    assert not (tmp_path / "mined/round_2.npz").exists()
    content = bytearray((tmp_path / "mined/round_1.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "mined/round_2.npz").write_bytes(content)  # damaged: made again
    result = go_on("detection", tmp_path)
    assert result["parameters_sha256"] == straight("detection")["parameters_sha256"]


@pytest.mark.parametrize("step", [22, 60])
def test_resumes_exactly_between_rounds(straight, tmp_path, monkeypatch, step):
    module, config = TINY["detection"]
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(Stopped):
            module.run(config, tmp_path)
    result = go_on("detection", tmp_path)
    assert result["parameters_sha256"] == straight("detection")["parameters_sha256"]


def test_refuses_to_go_on_without_what_was_mined(tmp_path, monkeypatch):
    module, config = TINY["detection"]
    with monkeypatch.context() as patch:
        stop_at(patch, 50)
        with pytest.raises(Stopped):
            module.run(config, tmp_path)
    path = tmp_path / "mined/round_1.npz"
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(UsageError, match=r"round_1\.npz is missing: --overwrite"):
        module.run(config, tmp_path)
    for content in (b"", whole[:-99], whole.replace(b"label", b"babel")):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"round_1\.npz is damaged: --overwrite"):
            module.run(config, tmp_path)


def data_files(folder):
    return [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name == "d"
    ]


def flip_a_byte(folder):
    """In the largest file of each folder: one may hold copies that nobody reads."""
    for parent in {path.parent for path in data_files(folder)}:
        largest = max(parent.iterdir(), key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) // 2] ^= 1
        largest.write_bytes(content)


def truncate(folder):
    for path in data_files(folder):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_byte, truncate])
def test_damaged_checkpoint_is_named_and_the_one_before_used(
    experiment, straight, stopped, damage, capsys
):
    newest = max(checkpoints(stopped))
    damage(stopped / "checkpoints" / str(newest))
    result = go_on(experiment, stopped)
    said = capsys.readouterr().out
    assert f"checkpoint {newest} is damaged" in said
    assert f"goes on from step {newest}" not in said
    assert "goes on from step" in said
    assert (stopped / "damaged" / str(newest)).is_dir()
    assert result["parameters_sha256"] == straight(experiment)["parameters_sha256"]


# No file may grow beyond 20,000 bytes, as on a disk that is full.
SMALL_FILES_ONLY = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""


def test_resumes_exactly_after_a_full_disk(experiment, straight, tmp_path):
    workdir = tmp_path / "run"

    status, said = finish(start(experiment, workdir, prelude=SMALL_FILES_ONLY))
    assert status == 1, said
    (line,) = re.findall("^error: .*$", said, re.MULTILINE)
    assert "could not be written" in line
    assert "Traceback" not in said
    result = go_on(experiment, workdir)
    assert result["parameters_sha256"] == straight(experiment)["parameters_sha256"]


def test_other_flags_over_a_run_are_refused(experiment, stopped):
    module, config = TINY[experiment]
    changed = config.__class__(**{**vars(config), "seed": 3, "momentum": 0.8})
    kept = checkpoints(stopped)
    with pytest.raises(UsageError, match=r"--seed \(0 .*--momentum \(0.9 there, 0.8"):
        module.run(changed, stopped)
    assert checkpoints(stopped) == kept


def test_other_data_under_a_run_are_refused(experiment, stopped):
    module, config = TINY[experiment]
    values = json.loads((stopped / "config.json").read_text())
    text_files.write_json(stopped / "config.json", {**values, "data_fingerprint": "0"})
    with pytest.raises(UsageError, match="a run on other data"):
        module.run(config, stopped)


def test_loss_that_is_not_finite_stops_and_keeps_what_was_good(experiment, tmp_path):
    module, config = TINY[experiment]
    wild = config.__class__(**{**vars(config), "learning_rate": 1e30})
    with pytest.raises(NotFinite, match=r"not finite at step (\d+)") as caught:
        module.run(wild, tmp_path)
    step = int(str(caught.value).split("at step ")[1].split(";")[0])
    assert max(checkpoints(tmp_path), default=0) == step - 1
    logged = [row["step"] for row in rows(tmp_path) if "train/loss" in row]
    assert max(logged, default=0) == step - 1


FIVE_STEPS = (f"--epochs={5 / 22}", "--checkpoint_every=9")


def few_steps(experiment, workdir, *flags, devices=1):
    """The final variables of five steps, and the result."""
    process = start(experiment, workdir, *FIVE_STEPS, *flags, devices=devices)
    status, said = finish(process)
    assert status == 0, said
    return weights.load(workdir / "weights.safetensors"), read(workdir)


@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_eight_devices_agree_with_one(experiment, on_one_device, tmp_path, parallelism):
    one, first = on_one_device(experiment)
    many, second = few_steps(
        experiment, tmp_path / "eight", f"--parallelism={parallelism}", devices=8
    )
    assert second["provenance"]["devices"]["count"] == 8
    assert_close(one, many)
    assert first[SCORES[experiment]] == second[SCORES[experiment]]


@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
def test_two_processes_agree_with_one(experiment, on_one_device, tmp_path, parallelism):
    one, first = on_one_device(experiment)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    workdir = tmp_path / "two"
    flags = (
        *FIVE_STEPS,
        f"--parallelism={parallelism}",
        f"--coordinator=localhost:{port}",
        "--num_processes=2",
    )
    processes = [
        start(experiment, workdir, *flags, f"--process_id={i}", devices=2)
        for i in range(2)
    ]
    for status, said in map(finish, processes):
        assert status == 0, said
    two = weights.load(workdir / "weights.safetensors")
    assert read(workdir)["provenance"]["devices"]["count"] == 4
    assert_close(one, two)
    assert first[SCORES[experiment]] == read(workdir)[SCORES[experiment]]


def test_all_processes_refuse_what_the_first_refuses(experiment, stopped):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    flags = ("--seed=3", f"--coordinator=localhost:{port}", "--num_processes=2")
    processes = [
        start(experiment, stopped, *flags, f"--process_id={i}") for i in range(2)
    ]
    (first, why), (second, also) = map(finish, processes)
    assert (first, second) == (2, 2), why + also
    assert "holds a run with other flags" in why
    assert "The first process refused the run." in also


def assert_close(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_checkpoint_of_eight_devices_goes_on_with_two(experiment, straight, tmp_path):
    workdir = tmp_path / "run"
    process = start(experiment, workdir, devices=8)
    wait_for_step(process, workdir, 12)
    process.send_signal(signal.SIGTERM)
    status, said = finish(process)
    assert status == 143, said
    step = max(checkpoints(workdir))
    status, said = finish(start(experiment, workdir, devices=2))
    assert status == 0, said
    assert f"goes on from step {step}" in said
    result = read(workdir)
    assert result["steps"] == STEPS
    score = SCORES[experiment]
    assert abs(result[score] - straight(experiment)[score]) < 0.05


def test_verify_resume_prints_equal_sums(tmp_path):
    status, said = finish(start("detection", tmp_path / "run", "--verify_resume"))
    assert status == 0, said
    sums = re.findall("[0-9a-f]{64}", said)
    assert len(sums) == 2
    assert sums[0] == sums[1]
    assert "the same parameters, to the bit" in said
