"""The exception for mistakes of the user."""


class UsageError(ValueError):
    """A mistake of the user, in one line: what is wrong, where, and how to fix it.

    Experiments print the line and exit with status 2; any other exception is
    a fault of ours and keeps its traceback.
    """
