"""Numbers that users write as fractions."""

from cnnjax.errors import UsageError


def numbers(text: str, flag: str) -> list[float]:
    """Numbers and fractions at least 0, joined by commas.

    Raises:
        UsageError: if the text is something else.
    """
    try:
        found = [_number(part) for part in text.split(",")]
    except (ValueError, ZeroDivisionError):
        found = [-1.0]
    if not all(0 <= x < float("inf") for x in found):
        raise UsageError(
            f"--{flag}={text} must be numbers at least 0, or fractions as 2/255."
        )
    return found


def _number(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / float(below or 1)
