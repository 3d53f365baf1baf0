"""What all workers of the tests share: folders that the first who asks fills."""

import fcntl
import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest


def shared_folder(factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of this run of the tests, the same in all workers."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def copied(
    factory: pytest.TempPathFactory, name: str, make: Callable[[pathlib.Path], Any]
) -> tuple[pathlib.Path, Any]:
    """A copy of one's own of a folder that is made once, and what `make` returned."""
    folder = shared_folder(factory) / name
    returned = made(folder, make)
    return shutil.copytree(folder, factory.mktemp("own") / name), returned


def made(folder: pathlib.Path, make: Callable[[pathlib.Path], Any]) -> Any:
    """What `make` returned, as JSON has it, when it filled the folder.

    The first worker that asks makes it, and others wait; one that failed to leaves it
    to the next. Nobody may write into the folder afterwards.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    returned = folder.with_suffix(".json")
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not returned.exists():
            shutil.rmtree(folder, ignore_errors=True)
            returned.write_text(json.dumps(make(folder)))
    return json.loads(returned.read_text())
