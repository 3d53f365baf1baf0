"""What a study says of its cells, a sentence each."""

from collections.abc import Iterable

from experiments.ablation import tables
from experiments.ablation.results import Row
from experiments.ablation.study import Plan


def sentences(plan: Plan, rows: Iterable[Row]) -> list[str]:
    """Of each cell but the base: its difference to that, and what follows."""
    return [
        f"{tables.name(plan, row)}: {', '.join(filter(None, parts))}"
        for row in rows
        if row.cell
        for parts in [(_numbers(row), verdict(plan, row), tables.remarks(row))]
    ]


def verdict(plan: Plan, row: Row) -> str:
    """Whether a cell is better than the base, worse, alike, or cannot be told."""
    difference, least = row.difference, plan.study.difference
    if difference is None:
        return "nothing to compare"
    if difference.interval is None:
        return "no telling from chance by one seed"
    if row.is_significant:
        better = (difference.mean > 0) != plan.smaller_is_better
        return "better than the base" if better else "worse than the base"
    if least and max(map(abs, difference.interval)) < least:
        return f"as good as the base, to within {least:g}"
    if row.seeds and row.seeds > difference.pairs:
        return (
            f"not told from the base: a difference of {least:g} takes about"
            f" {row.seeds} seeds"
        )
    return "not told from the base"


def _numbers(row: Row) -> str:
    """The difference to the base with its interval and p-value."""
    difference = row.difference
    if difference is None or difference.interval is None:
        return ""
    around = tables.interval(difference.interval, sign="+")
    return f"{difference.mean:+.4f} {around}, p {tables.probability(row.holm_p)}"
