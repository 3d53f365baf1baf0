"""Proves that runs of a study repeat, by training some of them again."""

import pathlib
import random
import tempfile

from cnnjax.errors import UsageError
from cnnjax.training.progress import log_line
from experiments.ablation.execute import Child, local_cores
from experiments.ablation.folder import Folder
from experiments.ablation.study import Plan


def verify(plan: Plan, folder: Folder, count: int) -> bool:
    """Trains `count` finished runs again; returns whether all ended in the same bits.

    Which ones the first seed of the study decides.

    Raises:
        UsageError: if fewer have finished.
    """
    ended = [(run, folder.outcome(run)) for run in plan.runs]
    finished = [(run, x) for run, x in ended if x and not x.failure and not x.packed]
    if len(finished) < count:
        raise UsageError(
            f"--verify={count} trains finished runs again that trained alone, and there"
            f" are {len(finished)}."
        )
    chosen = random.Random(plan.seeds[0]).sample(finished, count)
    equal, cores = 0, local_cores()
    with tempfile.TemporaryDirectory(prefix="verify_") as temporary:
        again = Folder(pathlib.Path(temporary), plan)
        for run, before in chosen:
            child = Child(plan.study.experiment, [run], again, cores[: before.cores])
            (after,) = child.wait()
            same = after is not None and after.sha256 == before.sha256
            equal += same
            found = after.sha256 or after.failure if after else "stopped"
            log_line(
                f"{run.name}  {'the same' if same else 'NOT the same'}:"
                f" {before.sha256[:12]}" + ("" if same else f", then {found[:60]}")
            )
    log_line(f"{equal} of {count} runs ended in the same parameters, to the bit")
    return equal == count
