"""The rows of a network as a table: for a terminal, and for spreadsheets."""

import csv
import io
import itertools
from collections.abc import Sequence
from fractions import Fraction

from experiments.summary.flow import Lost, Sight, View
from experiments.summary.layers import Row

Table = list[list[str]]

NUMBERS = ("output", "parameters", "multiply-adds", "field", "jump", "memory")


def lines(rows: Sequence[Row]) -> Table:
    """A head, and a line for each row; what is zero is left out."""
    return [
        ["layer", "kind", *NUMBERS],
        *(
            [
                row.name,
                row.kind,
                "x".join(map(str, row.shape)),
                f"{row.parameters:,}" if row.parameters else "",
                f"{row.multiply_adds:,}" if row.multiply_adds else "",
                field(row.sight),
                jump(row.sight),
                size(row.size),
            ]
            for row in rows
        ),
    ]


def totals(rows: Sequence[Row], inference: int | None) -> dict[str, str]:
    """What the rows sum to, by name.

    Args:
        rows: of a network.
        inference: bytes that a forward pass takes, if that is known.
    """
    parameters = sum(row.parameters for row in rows)
    sizes = [row.size for row in rows]
    neighbors = max(map(sum, itertools.pairwise([0, *sizes])))
    planned = "unknown" if inference is None else size(inference)
    return {
        "parameters": f"{parameters:,} ({size(4 * parameters)})",
        "multiply-adds": f"{sum(row.multiply_adds for row in rows):,}",
        "outputs of all layers": size(sum(sizes)),
        "largest two in a row": size(neighbors),
        "inference, planned by XLA": planned,
    }


def csv_text(rows: Sequence[Row]) -> str:
    """A head, and a line for each row: plain numbers, sizes in bytes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        [
            *("layer", "kind", "output", "parameters", "multiply_adds"),
            *("field", "jump", "bytes"),
        ]
    )
    for row in rows:
        shape = "x".join(map(str, row.shape))
        seen = field(row.sight), jump(row.sight)
        costs = row.parameters, row.multiply_adds
        writer.writerow([row.name, row.kind, shape, *costs, *seen, row.size])
    return stream.getvalue()


def field(sight: Sight) -> str:
    """Pixels that a position sees along an axis: 212, 7x1, all; "" if unknown."""
    if isinstance(sight, View):
        return _axes(sight.rows.size, sight.columns.size)
    return "all" if sight is Lost.ALL else ""


def jump(sight: Sight) -> str:
    """Pixels between neighboring positions; "" where that has no meaning."""
    return _axes(sight.rows.jump, sight.columns.jump) if isinstance(sight, View) else ""


def size(count: int) -> str:
    """Bytes in a readable unit: 448 B, 17.9 KiB, 12.2 MiB."""
    if count < 1024:
        return f"{count} B"
    power = min(3, (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:,.1f} {('KiB', 'MiB', 'GiB')[power - 1]}"


def _axes(rows: int | Fraction, columns: int | Fraction) -> str:
    return str(rows) if rows == columns else f"{rows}x{columns}"
