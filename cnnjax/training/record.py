"""What a run leaves in its workdir, and where it came from.

Rows of metrics are appended as they come; every other file is written whole or not at
all. Only the first of several processes writes, and all do as it says.
"""

import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
from typing import IO, Any

import jax
import tensorboardX

from cnnjax.refusal import Refusal
from cnnjax.training import devices, flags

Row = dict[str, Any]
_DATA = "data_fingerprint"
_RESULTS = (
    "run.flags",
    "config.json",
    "metrics.jsonl",
    "weights.safetensors",
    "result.json",
)
_FOLDERS = ("figures", "tensorboard", "checkpoints", "best", "damaged", "mined")


class Record:
    """The workdir of one run, held by this process until it is closed.

    Args:
        workdir: made when missing. A run of the same config in it goes on.
        config: a dataclass, made of `flags.option`; a run that goes on must have had
            the same.
        data: fingerprint of the data, which must be the same, too.
        overwrite: removes what an earlier run left there.

    Raises:
        Refusal: if the workdir cannot be written, another process is writing there,
            or it holds a run of another config.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        config: Any,
        *,
        data: str,
        overwrite: bool = False,
    ) -> None:
        self.workdir, self._config, self._data = workdir, config, data
        self._writes = jax.process_index() == 0
        self._rows: IO[str] | None = None
        self._said: set[tuple] = set()
        self._board: tensorboardX.SummaryWriter | None = None
        refusal = None
        if self._writes:
            try:
                self._open(overwrite)
            except Refusal as error:
                refusal = error
        if devices.first_process_says(refusal is not None):
            raise refusal or Refusal("The first process refused the run.")

    def _open(self, overwrite: bool) -> None:
        self._lock = _locked(self.workdir)
        if overwrite:
            _clear(self.workdir)
        try:
            _check_same(self.workdir, self._config, self._data)
        except Refusal:
            self._lock.close()
            raise

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def figures(self) -> pathlib.Path:
        """The folder of figures."""
        return self.workdir / "figures"

    def begin(self, step: int) -> None:
        """Notes the config, and forgets the rows after `step`, to be made again."""
        if not self._writes:
            return
        values = {**dataclasses.asdict(self._config), _DATA: self._data}
        write_json(self.workdir / "config.json", values)
        write_text(self.workdir / "run.flags", flags.flagfile(self._config))
        path = self.workdir / "metrics.jsonl"
        kept = [row for row in read_rows(self.workdir) if row["step"] <= step]
        self._said = {(row["step"], *row) for row in kept}
        write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._rows = path.open("a", buffering=1)
        self._board = tensorboardX.SummaryWriter(
            str(self.workdir / "tensorboard"), purge_step=step + 1 if step else None
        )

    def log(self, row: Row) -> None:
        """Appends a row, which has a `step`, to metrics.jsonl and to TensorBoard.

        A row of the same step and names as one before it is that one made again.
        """
        said = (row["step"], *row)
        if self._rows is None or self._board is None or said in self._said:
            return
        self._said.add(said)
        self._rows.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                self._board.add_scalar(name, value, row["step"])

    def result(self) -> Row | None:
        """What result.json says, where the run has finished before."""
        path = self.workdir / "result.json"
        return json.loads(path.read_text()) if path.exists() else None

    def finish(self, result: Row) -> None:
        """Writes result.json."""
        if self._writes:
            write_json(self.workdir / "result.json", result)

    def close(self) -> None:
        """Lets go of the workdir."""
        if self._rows is not None:
            self._rows.close()
        if self._board is not None:
            self._board.close()
        if self._writes:
            self._lock.close()


def finished(workdir: pathlib.Path) -> tuple[Row, Row]:
    """config.json and result.json of a finished run.

    Raises:
        Refusal: if there is none.
    """
    files = [workdir / name for name in ("config.json", "result.json")]
    for file in files:
        if not file.exists():
            raise Refusal(
                f"{workdir} holds no finished run: {file.name} is missing; train there"
                " first, or name another --workdir."
            )
    config, result = (json.loads(file.read_text()) for file in files)
    del config[_DATA]
    return config, result


def check_given(workdir: pathlib.Path, given: Row) -> None:
    """Refuses flags that a finished run did not have, where it is only used.

    Args:
        workdir: of the run.
        given: flags by name.

    Raises:
        Refusal: if there are such, or no finished run.
    """
    config, _ = finished(workdir)
    changed = _changed(config, given)
    if changed:
        raise Refusal(
            f"{workdir} holds a run with other flags: {changed}; it predicts with its"
            " own, leave these out."
        )


def read_rows(workdir: pathlib.Path) -> list[Row]:
    """The rows of metrics.jsonl; one that was cut short by a kill is left out."""
    path = workdir / "metrics.jsonl"
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` for people to read, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes `text`, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    os.replace(partial, path)


def _locked(workdir: pathlib.Path) -> IO[str]:
    """An open file in `workdir` that no other process holds."""
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        lock = (workdir / ".lock").open("w")
    except OSError as error:
        raise Refusal(
            f"--workdir={workdir} cannot be written: {error.strerror}; name another."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Refusal(
            f"--workdir={workdir} is in use by another run; name another."
        ) from None
    return lock


def _clear(workdir: pathlib.Path) -> None:
    """Removes what a run leaves, and nothing else."""
    for name in _RESULTS:
        (workdir / name).unlink(missing_ok=True)
    for name in _FOLDERS:
        shutil.rmtree(workdir / name, ignore_errors=True)


def _changed(before: Row, now: Row) -> str:
    """Which flags differ, and how; empty if none does."""
    return ", ".join(
        f"--{name} ({before.get(name)!r} there, {value!r} here)"
        for name, value in now.items()
        if before.get(name) != value
    )


def _check_same(workdir: pathlib.Path, config: Any, data: str) -> None:
    path = workdir / "config.json"
    if not path.exists():
        return
    before = json.loads(path.read_text())
    changed = _changed(before, flags.identity(config))
    if changed:
        raise Refusal(
            f"{workdir} holds a run with other flags: {changed};"
            " name another --workdir, or --overwrite it."
        )
    if before[_DATA] != data:
        raise Refusal(
            f"{workdir} holds a run on other data than --dataset={config.dataset} has"
            " now; name another --workdir, or --overwrite it."
        )
