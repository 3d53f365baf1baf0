"""Checkpoints that a run can trust: the only file that knows orbax.

A checkpoint is a state, as host arrays, and a small JSON record of progress. The
SHA-256 sums of both are in the record and checked when it is read, because orbax
restores flipped bytes without an error. Saving happens in the background and
becomes visible by a rename, so that a run killed at any moment finds whole checkpoints
only. Of a folder the two latest are kept.

Of several processes the first saves, and all read: a state is the same on each. So
orbax, which would have them wait for each other, knows of one process only.
"""

import asyncio
import contextlib
import errno
import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint import checkpoint_managers

from cnnjax.digest import array_types, json_sha256, tree_sha256
from cnnjax.errors import UsageError
from cnnjax.training import devices, watch


class NotSaved(Exception):
    """A checkpoint could not be written; earlier ones are intact."""


Progress = dict[str, Any]
_ROOM = 2**16  # bytes for what orbax writes beside the arrays


def _patient(
    make: Callable[[], asyncio.AbstractEventLoop],
) -> Callable[[], asyncio.AbstractEventLoop]:
    """Makes event loops that wait for all their tasks when they are closed.

    orbax reads and writes every array as a task of its own loop, and closes it at the
    first that fails; each that is still under way, or has failed, too, would then
    complain on stderr, from its own thread.
    """

    @functools.wraps(make)
    def patient() -> asyncio.AbstractEventLoop:
        loop = make()
        close = loop.close

        def close_at_rest() -> None:
            while not loop.is_closed() and (tasks := asyncio.all_tasks(loop)):
                rest = asyncio.gather(*tasks, return_exceptions=True)
                loop.run_until_complete(rest)
            close()

        loop.close = close_at_rest
        loop.set_exception_handler(_report_unraised)
        return loop

    return patient


def _report_unraised(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler that ignores tasks which failed after the first failure."""
    if not isinstance(context.get("future"), asyncio.Task):
        loop.default_exception_handler(context)


asyncio.new_event_loop = _patient(asyncio.new_event_loop)


class Checkpoints:
    """The checkpoints of one run, in `folder`.

    Args:
        folder: made when missing.
        log_line: called with each message to the user.
    """

    def __init__(
        self, folder: pathlib.Path, *, log_line: Callable[[str], None]
    ) -> None:
        self._folder, self._log_line = folder.absolute(), log_line
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        self._folder.mkdir(parents=True, exist_ok=True)
        index = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(
            primary_host=index,
            active_processes={index},
            barrier_sync_key_prefix=f"{self._folder.name}_{index}",
        )
        saves: dict[str, Any] = {
            "preservation_policy": checkpoint_managers.LatestN(2),
            "create": False,
        }
        options = ocp.CheckpointManagerOptions(
            multiprocessing_options=alone,
            **saves if index == 0 else {"read_only": True},
        )
        return ocp.CheckpointManager(self._folder, options=options)

    def save(self, step: int, state: PyTree, progress: Progress) -> None:
        """Saves in the background, in the first process; waits for the save before it.

        A checkpoint of that step, which can only be the same, is left as it is.

        Args:
            step: names the checkpoint.
            state: host arrays that are not modified afterwards.
            progress: what else the run needs to go on.

        Raises:
            NotSaved: if this or the save before it failed.
        """
        if jax.process_index() != 0 or step in self._manager.all_steps():
            return
        record = {
            "progress": progress,
            "sha256": tree_sha256(state),
            "arrays": array_types(state),
        }
        record["record_sha256"] = json_sha256(record)
        with self._saving():
            self._check_room(state)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state), record=ocp.args.JsonSave(record)
                ),
                force=True,
            )

    def restore(self, *targets: PyTree) -> tuple[PyTree, Progress] | None:
        """The newest undamaged checkpoint, or None where there is none.

        A damaged one is named, moved to `damaged/` beside the checkpoints, and the one
        before it used.

        Args:
            *targets: host states of the shapes to expect, under the names that are
                written today and those that have been.

        Raises:
            UsageError: if it is of another model, or all of several are damaged.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return self._read(step, targets)
            except (UsageError, MemoryError, PermissionError):
                raise  # not a sign of damage
            # orbax and tensorstore raise nearly anything on damaged files.
            except Exception as error:
                self._set_aside(step, error)
        if steps:
            raise UsageError(
                f"Every checkpoint in {self._folder} is damaged and set aside; the same"
                " command now starts from the beginning."
            )
        return None

    def restore_step(self, step: int, *targets: PyTree) -> PyTree:
        """The state of one checkpoint, which no other can stand for.

        Args:
            step: of the checkpoint.
            *targets: as for `restore`.

        Raises:
            UsageError: if it is missing, damaged, or of another model.
            NotSaved: if it could not be saved.
        """
        self.wait()
        devices.first_process_says(True)  # it is on disk now, for the others, too
        try:
            return self._read(step, targets)[0]
        except (UsageError, MemoryError, PermissionError):
            raise  # not a sign of damage
        except Exception as error:
            raise UsageError(
                f"Checkpoint {step} in {self._folder} is missing or damaged"
                f" ({_reason(error)}), and no other has its state; --overwrite trains"
                " afresh."
            ) from error

    def _read(self, step: int, targets: tuple[PyTree, ...]) -> tuple[PyTree, Progress]:
        record = self._item(step, record=ocp.args.JsonRestore()).record
        seal = record.pop("record_sha256", None)  # earlier revisions had none
        if seal is not None and seal != json_sha256(record):
            raise ValueError("its record does not have the SHA-256 it was saved with")
        fitting = [x for x in targets if array_types(x) == record["arrays"]]
        if not fitting:
            expected = array_types(targets[0])
            changed = set(record["arrays"].items()) ^ set(expected.items())
            raise UsageError(
                f"Checkpoint {step} in {self._folder} is of another model: it and this"
                f" run differ in {min(changed)[0]}; --overwrite starts afresh."
            )
        saved = self._item(step, state=ocp.args.StandardRestore(fitting[0])).state
        state = jax.tree.map(np.asarray, saved)
        if tree_sha256(state) != record["sha256"]:
            raise ValueError("its arrays do not have the SHA-256 they were saved with")
        return state, record["progress"]

    def _item(self, step: int, **item: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**item))

    def _set_aside(self, step: int, error: Exception) -> None:
        self._manager.close()
        place = self._folder.parent / "damaged" / str(step)
        if jax.process_index() == 0:
            place.parent.mkdir(exist_ok=True)
            while place.exists():
                place = place.with_name(place.name + "+")
            (self._folder / str(step)).rename(place)
        devices.first_process_says(True)  # the others open the folder after that
        self._log_line(
            f"checkpoint {step} is damaged ({_reason(error)}); set aside in {place}"
        )
        self._manager = self._open()

    def wait(self) -> None:
        """Waits until everything saved is on disk.

        Raises:
            NotSaved: if a save failed.
        """
        with self._saving():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, as `wait` does, and closes the folder."""
        with self._saving():
            self._manager.close()

    def _check_room(self, state: PyTree) -> None:
        """Fails before a save that would fill the disk half-way."""
        self._folder.mkdir(parents=True, exist_ok=True)
        needed = 1.1 * sum(x.nbytes for x in jax.tree.leaves(state)) + _ROOM
        if shutil.disk_usage(self._folder).free < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def _saving(self) -> Iterator[None]:
        """Turns orbax's errors, such as those of a full disk, into `NotSaved`."""
        try:
            yield
        except Exception as error:
            if watch.others() and watch.is_of_others(error):
                raise  # which says nothing of the disk
            words = str(error).strip() or type(error).__name__
            reason = words.splitlines()[-1].rpartition(": ")[2]
            raise NotSaved(
                f"A checkpoint in {self._folder} could not be written ({reason}); when"
                " that is mended, the same command goes on from the one before."
            ) from error


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
