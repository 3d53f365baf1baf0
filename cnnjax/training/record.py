"""What a run leaves in its workdir, and where it came from.

Rows of metrics are appended as they come; every other file is written whole or not at
all. Only the first of several processes writes, and all do as it says.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable
from typing import IO, Any

import jax
import tensorboardX

from cnnjax.digest import json_sha256
from cnnjax.errors import UsageError
from cnnjax.training import devices, flags, workdirs

Row = dict[str, Any]
_DATA, _SUM = "data_fingerprint", "record_sha256"
# What result.json of every run has, that of a revision without a sum, too.
_ALWAYS = {"parameters_sha256", "parameters", "class_names", "image_shape", "seconds"}
_LARGE = 2**63


class Record:
    """The workdir of one run, held by this process until it is closed.

    Args:
        workdir: made when missing. A run of the same config in it goes on.
        config: a dataclass, made of `flags.option`; a run that goes on must have had
            the same.
        data: fingerprint of the data, which must be the same, too.
        overwrite: removes what an earlier run left there.

    Raises:
        UsageError: if the workdir cannot be written, another process is writing there,
            or it holds a run of another config, or of one that is not known.
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
            except UsageError as error:
                refusal = error
        if devices.first_process_says(refusal is not None):
            raise refusal or UsageError("The first process refused the run.")

    def _open(self, overwrite: bool) -> None:
        self._lock = workdirs.hold(self.workdir, overwrite=overwrite)
        try:
            _check_same(self.workdir, self._config, self._data)
        except UsageError:
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

    @property
    def _values(self) -> Row:
        return {**dataclasses.asdict(self._config), _DATA: self._data}

    def begin(self, step: int) -> None:
        """Notes the config, and forgets the rows after `step`, to be made again."""
        if not self._writes:
            return
        if not (self.workdir / "result.json").exists():  # which has a sum over them
            write_json(self.workdir / "config.json", self._values)
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
        """What result.json says, where the run has finished before.

        Raises:
            UsageError: if that is damaged.
        """
        there = (self.workdir / "result.json").exists()
        return finished(self.workdir)[1] if there else None

    def finish(self, result: Row) -> None:
        """Writes result.json, with a sum by which damage to it or the config shows."""
        if self._writes:
            sealed = {**result, _SUM: json_sha256([self._values, result])}
            write_json(self.workdir / "result.json", sealed)

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
        UsageError: if there is none, or one of them is damaged.
    """
    files = [workdir / name for name in ("config.json", "result.json")]
    for file in files:
        if not file.is_file() or workdirs.is_being_cleared(workdir):
            why = "is missing" if not file.is_file() else "was to be overwritten"
            raise UsageError(
                f"{workdir} holds no finished run: {file.name} {why}; train there"
                " first, or name another."
            )
    config = _read_object(files[0], {_DATA})
    result = _read_object(files[1])
    sum_ = result.pop(_SUM, None)
    if sum_ is None and _ALWAYS - result.keys():  # earlier revisions had no sum
        raise _damaged(files[1], f"{min(_ALWAYS - result.keys())} is missing")
    if sum_ not in (None, json_sha256([config, result])):
        raise _damaged(files[1], "or config.json: they do not have their SHA-256")
    del config[_DATA]
    return config, result


def check_given(workdir: pathlib.Path, given: Row) -> None:
    """Refuses flags that a finished run did not have, where it is only used.

    Args:
        workdir: of the run.
        given: flags by name.

    Raises:
        UsageError: if there are such, or no finished run.
    """
    config, _ = finished(workdir)
    changed = _changed(config, given)
    if changed:
        raise UsageError(
            f"{workdir} holds a run with other flags: {changed}; it predicts with its"
            " own, leave these out."
        )


def read_rows(workdir: pathlib.Path) -> list[Row]:
    """The rows of metrics.jsonl; what is none, as one that a kill cut short, is not."""
    path = workdir / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n") if path.exists() else ()
    return [row for row in map(_row, lines) if row is not None]


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    whole = row["step"] >= 0 and all(map(_is_number, row.values()))
    return row if whole else None


def _is_number(value: Any) -> bool:
    """Whether it is one, no larger than what others take, or None for none."""
    if isinstance(value, int):
        return abs(value) < _LARGE
    return value is None or isinstance(value, float)


def _read_object(path: pathlib.Path, needed: Iterable[str] = ()) -> Row:
    """A JSON object that has what is `needed`.

    Raises:
        UsageError: if the file holds anything else.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict):
        raise _damaged(path, "it holds no JSON object")
    for name in needed:
        if name not in value:
            raise _damaged(path, f"{name} is missing")
    return value


def _damaged(path: pathlib.Path, reason: str) -> UsageError:
    return UsageError(
        f"{path} is damaged ({reason}): copy it again, name another --workdir, or"
        " --overwrite trains afresh."
    )


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` for people to read, whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes `text`, whole or not at all; names that are no UTF-8 as their bytes."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", errors="surrogateescape")
    os.replace(partial, path)


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
    before = _read_object(path, {_DATA})
    changed = _changed(before, flags.identity(config))
    if changed:
        raise UsageError(
            f"{workdir} holds a run with other flags: {changed};"
            " name another --workdir, or --overwrite it."
        )
    if before[_DATA] != data:
        raise UsageError(
            f"{workdir} holds a run on other data than --dataset={config.dataset} has"
            " now; name another --workdir, or --overwrite it."
        )
