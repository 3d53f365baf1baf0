"""Receptive fields along one axis of a map, exact behind up-sampling, too.

Where layers only shrink a map, all its positions see equally many pixels, and
`cnnjax.ops.arithmetic.receptive_field` counts them. Behind a transposed convolution
neighbors differ; but positions a whole period apart see the same, further on.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from fractions import Fraction

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Axis:
    """First and last pixel of the image that each position of an axis sees.

    The axis has no ends: what lies beyond the border of the image counts.

    Attributes:
        spans: of the positions 0, 1 and so on; None sees nothing. They repeat: position
            p + len(spans) sees what p sees, `shift` pixels further on.
        shift: in pixels of the image.
    """

    spans: tuple[Span | None, ...] = ((0, 0),)
    shift: int = 1

    @property
    def size(self) -> int:
        """Pixels that a position sees: of several, the most."""
        return max((last - first + 1 for first, last in filter(None, self.spans)))

    @property
    def jump(self) -> Fraction:
        """Pixels between what neighboring positions see, on average."""
        return Fraction(self.shift, len(self.spans))

    def span(self, position: int) -> Span | None:
        """First and last pixel that a position sees, if it sees any."""
        periods, place = divmod(position, len(self.spans))
        if (span := self.spans[place]) is None:
            return None
        return span[0] + periods * self.shift, span[1] + periods * self.shift

    def gathered(
        self,
        reads: Callable[[int], Iterable[int]],
        *,
        outputs: int = 1,
        inputs: int = 1,
    ) -> "Axis":
        """The axis of a map whose position p reads the positions `reads(p)` here.

        Args:
            reads: of p + `outputs`, what it is of p, each `inputs` larger.
            outputs: the period of `reads`.
            inputs: what it moves by in a period.
        """
        period = len(self.spans)
        repeats = period // math.gcd(period, inputs)
        positions = range(outputs * repeats)
        spans = tuple(_hull(map(self.span, reads(p))) for p in positions)
        return Axis(spans, self.shift * inputs * repeats // period)

    def joined(self, other: "Axis") -> "Axis":
        """The axis of a map that sees at each position what both see there.

        Raises:
            ValueError: if their jumps differ.
        """
        if self.jump != other.jump:
            raise ValueError(
                f"maps that join must have one jump, got {self.jump} and {other.jump}."
            )
        period = math.lcm(len(self.spans), len(other.spans))
        spans = [_hull((self.span(p), other.span(p))) for p in range(period)]
        return Axis(tuple(spans), int(self.jump * period))


def _hull(spans: Iterable[Span | None]) -> Span | None:
    """From the first pixel of all to the last."""
    seen = [span for span in spans if span is not None]
    if not seen:
        return None
    return min(first for first, _ in seen), max(last for _, last in seen)
