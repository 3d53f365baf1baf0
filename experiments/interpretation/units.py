"""Which channels of a layer are meant."""

from cnnjax.errors import UsageError

FIRST = 9


def units(text: str | None, count: int) -> list[int]:
    """Numbers of channels joined by commas, or the first few.

    Args:
        text: of the option.
        count: channels that the layer has.

    Raises:
        UsageError: if one is none of these.
    """
    if text is None:
        return list(range(min(FIRST, count)))
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < count for part in parts):
        raise UsageError(
            f"--units={text} must be numbers from 0 to {count - 1}, joined by commas."
        )
    return [int(part) for part in parts]
