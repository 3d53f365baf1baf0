"""The workdir of a study.

study.json       the base, with which whatever comes later must agree
runs/NAME/       an ordinary workdir for each run
outcomes/NAME    what became of a run: finished or failed, and why
packs/           what runs that train in one program share, checkpoints among it
claims/, logs/   who works on which run, and what runs printed
report.html, table.md, table.tex, results.csv
"""

import contextlib
import dataclasses
import math
import pathlib
import shutil
import time
from collections.abc import Iterator, Sequence
from typing import Any

from cnnjax.digest import json_sha256
from cnnjax.errors import UsageError
from cnnjax.training import earlier, finished, flags, text_files
from cnnjax.training.command_line import FULL
from experiments.ablation.claims import Claims
from experiments.ablation.study import Plan, Run

_NEEDED = ("experiment", "bases")
_REMEDY = "remove it, and the same command makes it again"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        failure: why it failed, in one line; "" if it finished.
        cores: how many it computed on; 0: all of the machine.
        packed: with how many others it trained in one program; 0: alone.
        validation: metrics of the validation split by name.
        test: metrics of the test split.
        seconds: that it took, from start to end.
        sha256: of its parameters.
        data: fingerprint of its data.
    """

    failure: str = ""
    cores: int = 0
    packed: int = 0
    validation: dict[str, float | None] = dataclasses.field(default_factory=dict)
    test: dict[str, float | None] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    sha256: str = ""
    data: str = ""

    def failure_by(self, metric: str) -> str:
        """Why there is no score by a metric on the validation split; "" if there is."""
        score = self.validation.get(metric)
        if self.failure or (score is not None and math.isfinite(score)):
            return self.failure
        return f"{metric} on the validation split is {score}"


class Folder:
    """The workdir of a study.

    Args:
        workdir: made when missing.
        plan: of the study.

    Raises:
        UsageError: if it cannot be written, or holds a study that `plan` contradicts.
    """

    def __init__(self, workdir: pathlib.Path, plan: Plan) -> None:
        self.workdir = workdir
        try:
            for name in ("runs", "outcomes", "claims", "logs"):
                (workdir / name).mkdir(parents=True, exist_ok=True)
            self.claims = Claims(workdir / "claims")
            with self.holding("study"):
                self._agree(plan)
        except OSError as error:
            if error.errno in FULL:
                raise
            raise UsageError(
                f"--workdir={workdir} cannot be written: {error.strerror}; name"
                " another."
            ) from error

    def run(self, run: Run) -> pathlib.Path:
        """The workdir of a run."""
        return self.workdir / "runs" / run.name

    def log(self, run: Run) -> pathlib.Path:
        """The file of what a run printed."""
        return self.workdir / "logs" / f"{_flat(run)}.log"

    def recipe(self, run: Run) -> pathlib.Path:
        """The flagfile of a run, there before it begins."""
        return self.log(run).with_suffix(".flags")

    def pack(self, runs: Sequence[Run]) -> pathlib.Path:
        """The folder of runs that train in one program."""
        return self.workdir / "packs" / json_sha256([run.name for run in runs])[:16]

    def pack_failures(self, runs: Sequence[Run]) -> list[str] | None:
        """Why runs of a pack that ended failed; None if they are to train alone."""
        path = self.pack(runs) / "ended.json"
        return text_files.read_object(path, ["failures"], remedy=_REMEDY)["failures"]

    def forget_checkpoints(self, runs: Sequence[Run]) -> None:
        """Removes the checkpoints of a pack, if these runs were one."""
        shutil.rmtree(self.pack(runs) / "checkpoints", ignore_errors=True)

    def leave_alone(self, runs: Sequence[Run]) -> None:
        """Has runs of a pack train alone from now on."""
        self.pack(runs).mkdir(parents=True, exist_ok=True)
        self._alone(runs).touch()

    def is_left_alone(self, runs: Sequence[Run]) -> bool:
        """Whether these runs were not to train in one program."""
        return self._alone(runs).exists()

    def _alone(self, runs: Sequence[Run]) -> pathlib.Path:
        return self.pack(runs) / "alone"

    def outcome(self, run: Run) -> Outcome | None:
        """What became of a run; None if it has not ended yet."""
        path = self._outcome(run)
        if not path.exists():
            return None
        values = text_files.read_object(path, remedy=_REMEDY)
        try:
            return Outcome(**values)
        except TypeError as error:
            raise text_files.damaged(path, str(error), remedy=_REMEDY) from error

    def others(self, plan: Plan) -> int:
        """How many runs have ended here that the plan has not."""
        ours = {self._outcome(run) for run in plan.runs}
        return len({*(self.workdir / "outcomes").glob("*.json")} - ours)

    def end(self, run: Run, outcome: Outcome) -> None:
        """Records what became of a run."""
        text_files.write_json(self._outcome(run), dataclasses.asdict(outcome))

    def forget_failures(self, plan: Plan) -> None:
        """Has the runs that failed run again."""
        for run in plan.runs:
            outcome = self.outcome(run)
            if outcome is not None and outcome.failure:
                self._outcome(run).unlink()

    def result(self, run: Run) -> dict[str, Any] | None:
        """The result.json of a run that has finished, else None."""
        path = self.run(run) / "result.json"
        if not path.exists():
            return None
        try:
            return finished.read(self.run(run)).result
        except UsageError as error:
            reason = "or config.json beside it"
            raise text_files.damaged(path, reason, remedy=_REMEDY) from error

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Does something that one process of the study does at a time."""
        while (claim := self.claims.take(name)) is None:
            time.sleep(0.05)
        try:
            yield
        finally:
            claim.release()

    def _outcome(self, run: Run) -> pathlib.Path:
        return self.workdir / "outcomes" / f"{_flat(run)}.json"

    def _agree(self, plan: Plan) -> None:
        """Refuses a workdir of another study; a wider one of the same base goes on."""
        path = self.workdir / "study.json"
        bases = {task: flags.identity(config) for task, config in plan.bases.items()}
        for base in bases.values():
            del base["seed"]
        if path.exists():
            there = text_files.read_object(path, _NEEDED, remedy=_REMEDY)
            finished.check_experiment(self.workdir, there, plan.experiment.name)
            for task in bases.keys() & there["bases"].keys():
                before = earlier.options(there["bases"][task])
                options = type(plan.bases[task])
                if changed := finished.changed(before, bases[task], options):
                    raise UsageError(
                        f"{self.workdir} holds a study with another base: {changed};"
                        " name another --workdir."
                    )
            bases = there["bases"] | bases
        value = {"experiment": plan.experiment.name, "bases": bases}
        text_files.write_json(path, value)


def _flat(run: Run) -> str:
    return run.name.replace("/", "@")
