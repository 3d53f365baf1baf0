"""Runs a module as `python -m` does, until the process that started it ends.

    python experiments/ablation/child.py CORES MODULE [ARGUMENT ...]

It imports nothing itself, so that the module finds a process as it would have alone.
CORES are the numbers of those to compute on, joined by commas, or "all": how many they
are decides in which order a CPU adds, and so the last bits of a result. The standard
input is a pipe that its parent holds open: a parent that was killed can tell nobody.
"""

import os
import runpy
import signal
import sys
import threading


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the other end is closed
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    cores, module, *arguments = sys.argv[1:]
    sys.path[0] = os.getcwd()  # as `python -m` has it
    if cores != "all":
        os.sched_setaffinity(0, map(int, cores.split(",")))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
