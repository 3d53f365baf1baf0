"""Names as text that can be printed, drawn and written anywhere."""


def printable(name: str) -> str:
    r"""Returns `name` with a visible escape for every character that has no picture.

    As `repr` escapes them: surrogates, which stand for bytes of file names that are no
    UTF-8, become `\udcff`; line ends, control characters and marks of direction `\n`,
    `\x1b`, `\u202e`. What can be printed stays as it is.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def short(name: str, letters: int) -> str:
    """Returns `name`, printable, and cut to so many letters."""
    name = printable(name)
    return name if len(name) <= letters else name[: letters - 1] + "…"
