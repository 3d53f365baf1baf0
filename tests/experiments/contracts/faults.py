"""What goes wrong in a process: each is called before the command with its workdir."""

import os
import resource
import signal
import threading


def kill_in_third_save(workdir):
    """Dies while the third checkpoint is written: its folder has a temporary name."""

    def watch():
        while not list((workdir / "checkpoints").glob("33*tmp*")):
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
