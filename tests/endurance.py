r"""Memory, descriptors and threads of a long run: flat, or something leaks.

python -m tests.endurance
python -m tests.endurance --experiment=segmentation -- --depth=1 --epochs=40

Trains in a process of its own, evaluating and saving every 50 steps, and reads from
/proc what it holds as its steps go by. Status 1 where the last tenth of the steps holds
more than the steps from 100 to 400 did, by 3 percent of the memory or by one descriptor
or thread.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from cnnjax.training import text_files

PAUSE = 0.2
FIRST, SETTLED = 100, 400  # steps between which all that is kept has been made
GROWTH = 1.03
# 3,000 steps of digits.
FLAGS = (
    *("--epochs=136.4", "--eval_every=2.28", "--checkpoint_every=2.28"),
    "--validation=0.1",
)


class Sample(NamedTuple):
    """What a process holds after a step."""

    step: int
    resident: int  # bytes
    descriptors: int
    threads: int


def main() -> int:
    """Trains, watches, and reports."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance")
    parser.add_argument("--experiment", default="classification")
    parser.add_argument("flags", nargs="*", default=FLAGS, help="of the run")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as workdir:
        command = ["-m", f"experiments.{options.experiment}", f"--workdir={workdir}"]
        process = subprocess.Popen(
            [sys.executable, *command, *options.flags], stdout=subprocess.DEVNULL
        )
        samples = _watched(process, pathlib.Path(workdir))
    if process.returncode:
        return process.returncode
    return _report(samples)


def _watched(process: subprocess.Popen, workdir: pathlib.Path) -> list[Sample]:
    """Samples of `process` until it ends."""
    samples = []
    while process.poll() is None:
        rows = text_files.read_rows(workdir)
        step = max((row["step"] for row in rows), default=0)
        try:
            samples.append(_sample(process.pid, step))
        except (FileNotFoundError, ProcessLookupError):
            break
        time.sleep(PAUSE)
    process.wait()
    return samples


def _sample(pid: int, step: int) -> Sample:
    proc = pathlib.Path(f"/proc/{pid}")
    status = dict(
        line.split(":", 1) for line in (proc / "status").read_text().splitlines()
    )
    if "VmRSS" not in status:
        raise ProcessLookupError  # it has just ended
    resident = int(status["VmRSS"].split()[0]) * 1024
    descriptors = len(list((proc / "fd").iterdir()))
    return Sample(step, resident, descriptors, int(status["Threads"]))


def _report(samples: list[Sample]) -> int:
    last = max(sample.step for sample in samples)
    print("  steps           resident MiB  descriptors  threads (medians)")
    parts = [(FIRST, SETTLED)]
    width = max(1, (last - SETTLED) // 9)
    parts += [(at, at + width) for at in range(SETTLED, last - width + 1, width)]
    medians = []
    for low, high in parts:
        part = [sample for sample in samples if low <= sample.step < high]
        if not part:
            continue
        columns = list(zip(*part, strict=True))[1:]
        medians.append([statistics.median_low(column) for column in columns])
        resident, descriptors, threads = medians[-1]
        print(
            f"  {low:5} to {high:5}  {resident / 2**20:12.1f}"
            f"  {descriptors:11}  {threads:7}"
        )
    first, end = medians[0], medians[-1]
    flat = end[0] <= GROWTH * first[0] and end[1] <= first[1] and end[2] <= first[2]
    print("flat" if flat else "grows")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
