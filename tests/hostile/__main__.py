r"""Runs every case and counts what came of them; status 1 if one is not as wanted.

python -m tests.hostile
python -m tests.hostile --only='^coco/' --show
"""

import argparse
import collections
import functools
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable

from experiments import classification, detection, segmentation, trainer
from tests.hostile import boxes, flags, idx, masks, pictures, process, workdirs
from tests.hostile.case import Case
from tests.hostile.verdict import Verdict, classify


def main() -> int:
    """Parses the command line, runs, reports."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hostile", description=__doc__
    )
    parser.add_argument("--only", default="", help="regular expression of names")
    parser.add_argument("--every", type=int, default=1, help="take each n-th case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at once")
    parser.add_argument("--limit", type=float, default=120, help="seconds for a case")
    parser.add_argument("--show", action="store_true", help="print what each said")
    options = parser.parse_args()
    # No TemporaryDirectory: each fork would remove it at its exit.
    root = pathlib.Path(tempfile.mkdtemp(prefix="cnnjax-hostile-"))
    try:
        return _run(root, options)
    finally:
        shutil.rmtree(root)


def _run(root: pathlib.Path, options: argparse.Namespace) -> int:
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")
    go = functools.partial(
        process.run, scripts=SCRIPTS, jobs=options.jobs, limit=options.limit
    )
    for case, outcome in go(flags.good(), root=root / "good"):
        if outcome.status != 0:
            sys.exit(f"{case.name} fails:\n{outcome.stdout}{outcome.stderr}")
    run = _finished(go, root / "kept")
    chosen = [case for case in _cases(run) if re.search(options.only, case.name)]
    return _report(go(chosen[:: options.every], root=root / "cases"), options.show)


SCRIPTS: dict[str, Callable[[], None]] = {
    experiment.name: functools.partial(trainer.main, experiment)
    for experiment in (
        classification.EXPERIMENT,
        segmentation.EXPERIMENT,
        detection.EXPERIMENT,
    )
}


def _cases(run: pathlib.Path) -> Iterable[Case]:
    yield from flags.cases()
    yield from pictures.cases()
    yield from idx.cases()
    yield from masks.cases()
    yield from boxes.cases()
    yield from workdirs.cases(run)


def _finished(go: Callable, folder: pathlib.Path) -> pathlib.Path:
    """`folder` with the data and the workdir of a finished run."""
    folder.mkdir()

    def make(_: pathlib.Path) -> list[str]:
        os.chdir(folder)
        return workdirs.train(folder)

    ((_, outcome),) = go([Case("run", "classification", make)], root=folder / "cases")
    if outcome.status != 0:
        sys.exit(f"the run to be damaged failed:\n{outcome.stdout}{outcome.stderr}")
    return folder


def _report(outcomes: Iterable, show: bool) -> int:
    counts: dict[str, collections.Counter] = collections.defaultdict(
        collections.Counter
    )
    peak, slowest, start = 0, 0.0, time.monotonic()
    for case, outcome in outcomes:
        verdict = classify(outcome, harmless=case.harmless)
        counts[case.name.partition("/")[0]][verdict] += 1
        peak, slowest = max(peak, outcome.peak), max(slowest, outcome.seconds)
        if not verdict.good or show:
            print(f"{verdict.name}  {case.name}  ({outcome.seconds:.1f} s)")
            said = outcome.stderr or outcome.stdout
            for line in said.splitlines()[-3:]:
                print(f"    {line[:300]!r}")
            sys.stdout.flush()
    totals = sum(counts.values(), collections.Counter())
    width = max(map(len, counts), default=0)
    for group, verdicts in counts.items():
        row = ", ".join(
            f"{n} {verdict.name.lower()}" for verdict, n in verdicts.items()
        )
        print(f"{group:{width}}  {row}")
    print()
    for verdict in Verdict:
        print(f"{totals[verdict]:5}  {verdict.name.lower():10} {verdict.value}")
    print(
        f"{totals.total()} cases in {time.monotonic() - start:.0f} s, the slowest"
        f" {slowest:.1f} s, at most {peak / 2**30:.2f} GiB resident"
    )
    return 0 if all(verdict.good for verdict in totals) else 1


if __name__ == "__main__":
    sys.exit(main())
