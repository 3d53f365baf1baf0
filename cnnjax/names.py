"""Names as text that can be printed, drawn and written anywhere."""


def printable(name: str) -> str:
    r"""Returns `name` with an escape for every character that is not printable.

    As `repr` escapes them: surrogates, which stand for bytes of file names that are no
    UTF-8, become `\udcff`; line ends, control characters and bidirectional controls
    `\n`, `\x1b`, `\u202e`. Printable characters stay as they are.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def short(name: str, letters: int) -> str:
    """Returns `name`, printable, and cut to so many letters."""
    name = printable(name)
    return name if len(name) <= letters else name[: letters - 1] + "…"
