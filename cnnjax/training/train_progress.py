"""Where a run stands, beside its state."""

import dataclasses


@dataclasses.dataclass
class TrainProgress:
    """What a checkpoint holds beside the state; the step is the place in the data.

    Attributes:
        evaluated: the step of the last evaluation.
        best: the highest score so far.
        best_step: where that was; its state lies in the folder of the best.
        stale: evaluations since then.
        seconds: what the run took so far, by phase.
    """

    evaluated: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def record_score(self, step: int, score: float) -> None:
        """Keeps in mind what the evaluation at `step` gave."""
        self.evaluated = step
        if self.best is None or score > self.best:
            self.best, self.best_step, self.stale = score, step, 0
        else:
            self.stale += 1
