"""What goes wrong in a process: each is called before the command with its workdir."""

import functools
import itertools
import os
import resource
import signal
import threading
import time

from cnnjax.data import batches
from cnnjax.errors import UsageError
from cnnjax.training import evaluate as evaluation
from cnnjax.training import processes, watch


def kill_in_third_save(workdir):
    """Dies while the third checkpoint is written: its folder has a temporary name."""

    def watch():
        while not list((workdir / "checkpoints").glob("3?*tmp*")):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def kill_before_mined_is_kept(workdir):
    """Dies when what the second search of a detector found is to be kept."""
    _kill_in_mining(kept=False)


def kill_after_mined_is_kept(workdir):
    """Dies when what the second search of a detector found was just kept."""
    _kill_in_mining(kept=True)


def _kill_in_mining(*, kept):
    replace = os.replace

    def killed(source, target):
        mined = str(target).endswith("round_2.npz")
        if mined and kept:
            replace(source, target)
        if mined:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = killed


def small_files_only(workdir):
    """No file may grow beyond 20,000 bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def impatient(workdir):
    """Misses others within seconds."""
    watch.PERIOD, watch.SILENCE, watch.GRACE = 0.5, 15.0, 1.0


def nobody_comes(workdir):
    """Waits for others for seconds only."""
    processes.MEETING = 4


def kill_in_evaluation(workdir):
    """Dies in the middle of the second evaluation."""
    _in_evaluation(lambda: os.kill(os.getpid(), signal.SIGKILL))


def fail_in_evaluation(workdir):
    """Fails by a mistake of the code in the middle of the second evaluation."""
    _in_evaluation(lambda: 1 / 0)


def sigterm_in_evaluation(workdir):
    """Is asked to end in the middle of the second evaluation."""
    _in_evaluation(functools.partial(_signal, signal.SIGTERM))


def interrupt_in_evaluation(workdir):
    """Is interrupted in the middle of the second evaluation."""
    _in_evaluation(functools.partial(_signal, signal.SIGINT))


def _signal(number):
    os.kill(os.getpid(), number)
    time.sleep(4)  # JAX looks for SIGTERM once a second


def _in_evaluation(fail):
    impatient(None)
    evaluate, calls = evaluation.evaluate, itertools.count(1)

    def failing(*arguments, observe, **options):
        number = next(calls)

        seen = itertools.count(1)

        def observed(values):
            observe(values)
            if (number, next(seen)) == (2, 1):
                fail()

        return evaluate(*arguments, observe=observed, **options)

    evaluation.evaluate = failing


def damaged_image(workdir):
    """Cannot read an image of its share of the thirtieth batch."""
    impatient(workdir)
    training, calls = batches.training, itertools.count(1)

    def damaged(*arguments, **options):
        iterator = training(*arguments, **options)
        fetch = iterator.__next__

        class Damaged:
            def __next__(self):
                if next(calls) == 30:
                    raise UsageError("pictures/x.png cannot be decoded: it is cut.")
                return fetch()

            def set_state(self, state):
                iterator.set_state(state)

        return Damaged()

    batches.training = damaged


def kill_before_meeting(workdir):
    """Dies before it has met the others."""
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk_of_one(workdir):
    """Like `small_files_only`, in a process of several."""
    impatient(workdir)
    small_files_only(workdir)


def kill_one_in_save(workdir):
    """Like `kill_in_third_save`, in a process of several."""
    impatient(workdir)
    kill_in_third_save(workdir)
