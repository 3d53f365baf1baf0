"""How the user is told of a mistake."""


class UsageError(ValueError):
    """A mistake of the user's, said in one line: what, where, and what would do.

    Experiments print the line and exit with status 2; any other exception is
    a fault of ours and keeps its traceback.
    """
