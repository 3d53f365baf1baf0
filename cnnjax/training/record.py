"""The files of a run in its workdir.

Rows of metrics are appended as they come; every other file is written whole or not at
all. Only the first of several processes writes; the others follow its decisions.
"""

import dataclasses
import json
import pathlib
from typing import IO, Any

import jax
import tensorboardX

from cnnjax.digest import json_sha256
from cnnjax.errors import UsageError
from cnnjax.training import devices, earlier, finished, flags, text_files, workdirs

Row = dict[str, Any]


class Record:
    """The workdir of one run, held by this process until it is closed.

    Args:
        workdir: made when missing. A run of the same config in it goes on.
        config: a dataclass of options; a run that goes on must have had the same.
        experiment: name of the experiment, which must be the same, too.
        data: fingerprint of the data, as well.
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
        experiment: str,
        data: str,
        overwrite: bool = False,
    ) -> None:
        self.workdir, self._config = workdir, config
        self._experiment, self._data = experiment, data
        self._writes = jax.process_index() == 0
        self._rows: IO[str] | None = None
        self._logged: set[tuple] = set()
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
            self._check_same()
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
        return {
            finished.NAME: self._experiment,
            **dataclasses.asdict(self._config),
            finished.DATA: self._data,
        }

    def _check_same(self) -> None:
        """Refuses to go on with a run of other flags, data or another experiment."""
        path = self.workdir / "config.json"
        if not path.exists():
            return
        before = earlier.options(text_files.read_object(path, {finished.DATA}))
        finished.check_experiment(self.workdir, before, self._experiment)
        finished.check_known(self.workdir, before, type(self._config))
        changed = finished.changed(
            before, flags.identity(self._config), type(self._config)
        )
        if changed:
            raise UsageError(
                f"{self.workdir} holds a run with other flags: {changed};"
                " name another --workdir, or --overwrite it."
            )
        if before[finished.DATA] != self._data:
            raise UsageError(
                f"{self.workdir} holds a run on other data than"
                f" --dataset={self._config.dataset} has now; name another --workdir,"
                " or --overwrite it."
            )

    def begin(self, step: int) -> None:
        """Writes the config, and removes the rows after `step`, to be logged again."""
        if not self._writes:
            return
        if not (self.workdir / "result.json").exists():  # which has a sum over them
            text_files.write_json(self.workdir / "config.json", self._values)
            text_files.write_text(
                self.workdir / "run.flags", flags.flagfile(self._config)
            )
        path = self.workdir / "metrics.jsonl"
        kept = [
            row for row in text_files.read_rows(self.workdir) if row["step"] <= step
        ]
        self._logged = {(row["step"], *row) for row in kept}
        text_files.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
        self._rows = path.open("a", buffering=1)
        self._board = tensorboardX.SummaryWriter(
            str(self.workdir / "tensorboard"), purge_step=step + 1 if step else None
        )

    def log(self, row: Row) -> None:
        """Appends a row, which has a `step`, to metrics.jsonl and to TensorBoard.

        A row with the step and names of an earlier one is the same again, and skipped.
        """
        key = (row["step"], *row)
        if self._rows is None or self._board is None or key in self._logged:
            return
        self._logged.add(key)
        self._rows.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                self._board.add_scalar(name, value, row["step"])

    def result(self) -> Row | None:
        """The content of result.json if the run has finished before, else None.

        Raises:
            UsageError: if it is damaged.
        """
        there = (self.workdir / "result.json").exists()
        if not there:
            return None
        return finished.read(self.workdir, experiment=self._experiment).result

    def finish(self, result: Row) -> None:
        """Writes result.json, with a SHA-256 that shows damage to it or the config."""
        if self._writes:
            sealed = {**result, finished.SUM: json_sha256([self._values, result])}
            text_files.write_json(self.workdir / "result.json", sealed)

    def close(self) -> None:
        """Releases the workdir."""
        if self._rows is not None:
            self._rows.close()
        if self._board is not None:
            self._board.close()
        if self._writes:
            self._lock.close()
