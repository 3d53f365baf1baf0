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
        pairs = zip(self.window, self.dilation, strict=True)
        return tuple((w - 1) * d + 1 for w, d in pairs)

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the images with their padding."""
        pairs = zip(self.size, self.pads, strict=True)
        return tuple(s + low + high for s, (low, high) in pairs)

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        triples = zip(self.padded, self.span, self.stride, strict=True)
        return tuple((p - w) // s + 1 for p, w, s in triples)

    @property
    def taps(self) -> list[tuple[int, int]]:
        """Every position in the window, row by row."""
        return [(i, j) for i in range(self.window[0]) for j in range(self.window[1])]

    @property
    def turned(self) -> "Geometry":
        """The convolution of stride 1 that leads from cotangents back to images.

        With the kernel turned around; negative padding crops.
        """
        pads = []
        for axis, (low, _) in enumerate(self.pads):
            span, size, out = self.span[axis], self.size[axis], self.out[axis]
            pads.append((span - 1 - low, size + low - out))
        return dataclasses.replace(self, size=self.out, pads=tuple(pads))
