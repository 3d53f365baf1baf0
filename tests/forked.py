"""What a fork does to be an honest stand-in for a fresh interpreter of a command.

A fresh interpreter imports for seconds. A fork of a process that has imported all of it
starts at once, and is a process of its own all the same, with its own streams, signals,
exit handlers and exit status. The process that is forked must not have started a
backend of JAX: its threads would be missing in the fork.
"""

import atexit
import contextlib
import os
import pathlib
import sys
import threading
import traceback
from collections.abc import Callable


def command(
    script: Callable[[], None],
    *,
    stdout: pathlib.Path,
    stderr: pathlib.Path | None = None,
) -> int:
    """The exit status of a command in this process, with its streams in files.

    Args:
        script: sets `sys.argv` and calls what the command calls.
        stdout: file of its output.
        stderr: file of its errors, or None where they go to `stdout`.
    """
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    with stdout.open("wb") as stream:
        os.dup2(stream.fileno(), 1)
    if stderr is None:
        os.dup2(1, 2)
    else:
        with stderr.open("wb") as stream:
            os.dup2(stream.fileno(), 2)
    try:
        script()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    # What the interpreter does at its end; a thread that never ends is a hang.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return status
