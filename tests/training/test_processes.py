"""Which processes are joined; `contracts/test_peers.py` has what happens then."""

import importlib.util

import jax
import pytest

from cnnjax.errors import UsageError
from cnnjax.training import processes, watch

HERE = {
    "JAX_COORDINATOR_ADDRESS": "localhost:9",
    "JAX_NUM_PROCESSES": "2",
    "JAX_PROCESS_ID": "1",
}
POD = {"KUBERNETES_SERVICE_HOST": "a", "JOB_COMPLETION_INDEX": "0"}


@pytest.fixture
def joined(monkeypatch):
    """Arguments of each `jax.distributed.initialize`."""
    calls = []

    def initialize(*arguments, **options):
        calls.append(arguments)

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    return calls


@pytest.fixture
def installed(monkeypatch):
    """Sets which packages of launchers are installed."""
    find = importlib.util.find_spec

    def only(*names):
        def found(name, *rest):
            known = name in ("kubernetes", "libtpu")
            return (name in names or None) if known else find(name, *rest)

        monkeypatch.setattr(importlib.util, "find_spec", found)

    return only


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:1", None, 0), "--coordinator needs --num_processes and --proc"),
        (("localhost:1", 2, None), "--coordinator needs --num_processes and --proc"),
        (("localhost:1", 2, 2), "--process_id must be below --num_processes=2, got 2."),
        (("localhost", 2, 0), "--coordinator must be host:port, got 'localhost'."),
        ((":80", 2, 0), "--coordinator must be host:port, got ':80'."),
        (("localhost:0", 2, 0), "--coordinator must be host:port, got 'localhost:0'."),
        (("localhost:65536", 2, 0), "host:port, got 'localhost:65536'."),
        ((None, 2, None), "--num_processes and --process_id need --coordinator=host"),
        ((None, None, 0), "--num_processes and --process_id need --coordinator=host"),
    ],
)
def test_refuses_half_of_a_meeting(arguments, message):
    with pytest.raises(UsageError) as caught:
        processes.join(*arguments)
    assert message in str(caught.value)


def test_a_meeting_that_fails_is_refused_in_one_line(monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("no answer\nTraceback")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(UsageError) as caught:
        processes.join("localhost:1", 2, 0)
    expected = (
        "--coordinator=localhost:1: the processes of this run do not meet (no answer);"
        " --distributed=off trains without others."
    )
    assert str(caught.value) == expected
    with pytest.raises(UsageError, match=r"^--distributed: the processes of this run"):
        processes.join(None, None, None, mode="on")


def test_joins_the_meeting_that_is_named(joined):
    processes.join("localhost:1", 2, 1)
    assert joined == [("localhost:1", 2, 1)]


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        ({}, None),
        (HERE, ("localhost:9", 2, 1)),
        ({"SLURM_STEP_NUM_TASKS": "2"}, ()),
        ({"SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_STEP_NUM_TASKS": "2", "JAX_COORDINATOR_ADDRESS": "a:1"}, ()),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, ()),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, ()),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, ()),
        ({"TPU_WORKER_HOSTNAMES": "a"}, None),
        ({"TPU_PROCESS_ADDRESSES": "a:1,b:1"}, ()),
        ({"MEGASCALE_NUM_SLICES": "2", "TPU_WORKER_HOSTNAMES": "a"}, ()),
        (POD, ()),
        ({"KUBERNETES_SERVICE_HOST": "a"}, None),
    ],
)
def test_joins_what_the_launcher_started(
    monkeypatch, joined, installed, environment, arguments
):
    installed("kubernetes")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    processes.join(None, None, None)
    assert joined == ([] if arguments is None else [arguments])
    processes.join(None, None, None, mode="off")
    assert joined == ([] if arguments is None else [arguments])


def test_flags_win_over_variables(monkeypatch, joined):
    for name, value in HERE.items():
        monkeypatch.setenv(name, value)
    processes.join("localhost:1", 3, 0)
    assert joined == [("localhost:1", 3, 0)]


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        (POD, (None, None, None), "found by the package kubernetes: install it, or"),
        (
            {**HERE, "JAX_PROCESS_ID": "x"},
            (None, None, None),
            "JAX_PROCESS_ID must be a whole number, got 'x'.",
        ),
        ({}, ("a:1", None, None), "--distributed=off has no --coordinator"),
    ],
)
def test_refuses_what_cannot_be_joined(
    monkeypatch, joined, installed, environment, arguments, message
):
    installed()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        processes.join(*arguments, mode="off" if arguments[0] else "auto")
    assert message in str(caught.value)
    assert joined == []


def test_the_host_of_a_tpu_joins_its_pod(monkeypatch, joined, installed):
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    installed("libtpu")
    processes.join(None, None, None)
    assert joined == [()]


def test_the_host_of_a_tpu_without_a_pod_is_alone(monkeypatch, installed):
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    installed("libtpu")

    def fail(*arguments, **options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    processes.join(None, None, None)
    watch.start()
    assert not watch.others()


def test_refuses_the_devices_of_processes_that_have_not_joined(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(
        UsageError, match="of 4 processes that have not joined each oth"
    ):
        watch.start()
