"""The progress that a checkpoint stores beside the state."""

import dataclasses


@dataclasses.dataclass
class TrainProgress:
    """Progress of a run; its place in the data is the step of the state.

    Attributes:
        evaluated: step of the last evaluation.
        best: highest score so far.
        best_step: step of that score; its state is in the folder `best`.
        stale: number of evaluations since then.
        seconds: time spent so far, by phase.
        resumed_at: steps at which a stopped run was started again.
    """

    evaluated: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    resumed_at: list[int] = dataclasses.field(default_factory=list)

    def record_score(self, step: int, score: float) -> None:
        """Updates the best score with that of the evaluation at `step`."""
        self.evaluated = step
        if self.best is None or score > self.best:
            self.best, self.best_step, self.stale = score, step, 0
        else:
            self.stale += 1
