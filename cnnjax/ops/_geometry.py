"""Where the windows of a convolution lie."""

import dataclasses

from cnnjax.ops import _args


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Everything static about a convolution but its channels: plain integers."""

    size: tuple[int, int]  # height and width of the images
    window: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: _args.Pads = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns from the first tap of a window to its last, inclusive."""
        return _args.per_axis(_args.span, self.window, self.dilation)

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the images with their padding."""
        return _args.per_axis(lambda s, pads: s + sum(pads), self.size, self.pads)

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        return _args.per_axis(
            lambda size, span, stride: (size - span) // stride + 1,
            self.padded,
            self.span,
            self.stride,
        )

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Every position in the window, row by row."""
        return [(i, j) for i in range(self.window[0]) for j in range(self.window[1])]

    @property
    def turned(self) -> "Geometry":
        """The convolution of stride 1 that leads from cotangents back to images.

        With the kernel turned around; negative padding crops.
        """
        pads = _args.per_axis(
            lambda span, size, out, pads: (span - 1 - pads[0], size + pads[0] - out),
            self.span,
            self.size,
            self.out,
            self.pads,
        )
        return dataclasses.replace(self, size=self.out, pads=pads)
