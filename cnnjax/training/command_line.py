"""How a command starts and how it ends: flags, exit status, one line for a mistake.

Status 0: done. 1: the loss was not finite, or the disk is full. 2: a mistake of the
user's, told in one line. 128 + n: stopped by signal n, everything saved.
"""

import errno
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

from cnnjax.errors import UsageError
from cnnjax.names import printable
from cnnjax.training import flags as config_flags
from cnnjax.training import signals, watch
from cnnjax.training.checkpoint import NotSaved
from cnnjax.training.progress import escape_what_cannot_be_written, log_line
from cnnjax.training.train import NotFinite

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
INTERRUPTED = "interrupted; the same command goes on from the last checkpoint"


def act_on(
    options: Sequence[type],
    act: Callable[[], None],
    *,
    show_help: Callable[[], str],
) -> None:
    """Reads the command line, acts, and exits with the status of what comes of it.

    Args:
        options: dataclasses of which flags are made.
        act: what to do with `flags.parse` of each of them.
        show_help: text of `--help`.
    """
    escape_what_cannot_be_written()
    for each in options:
        config_flags.define(each)

    def parse(argv: Sequence[str]) -> Sequence[str]:
        if {"--help", "-help", "-h"} & set(argv):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head`
            print(show_help())
            sys.exit(0)
        try:
            rest: Sequence[str] = flags.FLAGS(argv)
        # A ValueError: --no with a value, or a flagfile that is no text.
        except (flags.Error, ValueError, RecursionError) as error:
            _exit(2, str(error).removeprefix("ERROR:: "))
        if len(rest) > 1:
            _exit(2, f"Unexpected argument {rest[1]!r}: flags begin with --.")
        # Errors of orbax's threads, which it logs, are raised as exceptions as well.
        logging.set_verbosity(logging.FATAL)
        return rest

    app.run(lambda argv: sys.exit(status(act)), flags_parser=parse)


def status(act: Callable[[], None]) -> int:
    """Acts; the exit status of what comes of it, or exits with a line."""
    try:
        return _ended(act)
    except Exception as error:
        if not watch.others():
            raise
        if watch.is_of_others(error):
            _exit(1, watch.cause(error))
        traceback.print_exc()
        _exit(1, f"{type(error).__name__}: {error}"[:300])


def _ended(act: Callable[[], None]) -> int:
    try:
        act()
    except UsageError as error:
        _exit(2, str(error))
    except (NotFinite, NotSaved) as error:
        _exit(1, str(error))
    except signals.Stopped as stopped:
        log_line(f"{stopped}; the same command goes on from there")
        return stopped.status
    except KeyboardInterrupt:
        _exit(130, INTERRUPTED)
    except OSError as error:
        if error.errno not in FULL:
            raise
        _exit(1, f"{error.strerror}; with room, the same command goes on")
    return 0


def _exit(status: int, line: str) -> NoReturn:
    sys.stderr.write(f"error: {printable(line)}\n")
    sys.stderr.flush()
    watch.fail(status, printable(line))
    sys.exit(status)
