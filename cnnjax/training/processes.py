"""Meeting the other processes of a run, by flags or as a launcher started them."""

import contextlib
import importlib.util
import os
import re
import sys
import threading
from typing import Any

import jax

from cnnjax.errors import UsageError

MODES = ("auto", "on", "off")
MEETING = 60  # seconds within which all have to come


def join(
    coordinator: str | None,
    num_processes: int | None,
    process_id: int | None,
    *,
    mode: str = "auto",
) -> None:
    """Joins the other processes of this run, where there are any.

    They meet at `coordinator` (host:port) if it is given, here or by the variables
    `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`. Otherwise
    `jax.distributed` finds them: under Slurm or Open MPI, on a TPU pod or several
    slices, in Kubernetes.

    Args:
        coordinator: where the first process listens.
        num_processes: how many there are.
        process_id: which this one is, from 0.
        mode: "auto" joins where a launcher started several, "on" refuses to go on
            alone, "off" does.

    Raises:
        UsageError: if they do not meet.
    """
    if mode == "off":
        if (coordinator, num_processes, process_id) != (None, None, None):
            raise UsageError("--distributed=off has no --coordinator; leave it out.")
        return
    where = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    count = _number("num_processes", num_processes)
    index = _number("process_id", process_id)
    if where and (coordinator or (count, index) != (None, None)):
        _check_place(where, count, index)
        _meet(f"--coordinator={where}", where, count, index)
    elif num_processes is not None or process_id is not None:
        raise UsageError(
            "--num_processes and --process_id need --coordinator=host:port."
        )
    elif mode == "on" or where or _started_as_one_of_many():
        _meet("--distributed")  # the launcher knows what is not named
    elif _on_tpu_vm():
        with contextlib.suppress(UsageError):  # a single host may know of no others
            _meet("--distributed")


def _number(name: str, given: int | None) -> int | None:
    """The number of a flag, or of the variable that stands for it."""
    variable = f"JAX_{name.upper()}"
    text = os.environ.get(variable)
    if given is not None or text is None:
        return given
    if not text.isdecimal():
        raise UsageError(f"{variable} must be a whole number, got {text!r}.")
    return int(text)


def _check_place(where: str, count: int | None, index: int | None) -> None:
    if count is None or index is None:
        raise UsageError("--coordinator needs --num_processes and --process_id too.")
    if index >= count:
        raise UsageError(
            f"--process_id must be below --num_processes={count}, got {index}."
        )
    host, _, port = where.rpartition(":")
    if not host or not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 2**16:
        raise UsageError(f"--coordinator must be host:port, got {where!r}.")


def _meet(what: str, *arguments: Any) -> None:
    late = threading.Timer(MEETING, _end, (f"{what}: {MEETING} seconds have passed",))
    late.daemon = True
    late.start()  # JAX would end the process with a dump
    try:
        jax.distributed.initialize(*arguments, initialization_timeout=2 * MEETING)
    except Exception as error:  # JAX asks servers and packages of many launchers
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(
            f"{what}: the processes of this run do not meet ({reason});"
            " --distributed=off trains without others."
        ) from error
    finally:
        late.cancel()


def _started_as_one_of_many() -> bool:
    """Whether a launcher started this process together with others.

    Raises:
        UsageError: if it may have, and nothing here can tell.
    """
    environ = os.environ
    if "KUBERNETES_SERVICE_HOST" in environ and "JOB_COMPLETION_INDEX" in environ:
        if importlib.util.find_spec("kubernetes") is None:
            raise UsageError(
                "The other pods of this job are found by the package kubernetes:"
                " install it, or --distributed=off trains without them."
            )
        return True
    return (
        int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1
        or int(environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1
        or "," in environ.get("TPU_WORKER_HOSTNAMES", "")
        or "," in environ.get("TPU_PROCESS_ADDRESSES", "")
        or int(environ.get("MEGASCALE_NUM_SLICES", 1)) > 1
    )


def _on_tpu_vm() -> bool:
    """Whether this is a TPU VM, whose metadata server knows the others of its pod.

    Where JAX finds no TPU it tells libtpu to ask no such server.
    """
    has_library = importlib.util.find_spec("libtpu") is not None
    return has_library and "TPU_SKIP_MDS_QUERY" not in os.environ


def _end(what: str) -> None:
    sys.stderr.write(f"error: {what}, and not all processes of this run have come.\n")
    sys.stderr.flush()
    os._exit(2)
