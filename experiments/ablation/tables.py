"""The results of a study as tables: Markdown, LaTeX and CSV, and for a terminal."""

import csv
import io
import re
import shlex
from collections.abc import Iterable, Sequence

from experiments.ablation.folder import Folder
from experiments.ablation.results import Ended, Row
from experiments.ablation.statistics import Interval, Summary
from experiments.ablation.study import Plan, shown
from experiments.find import module

Table = list[list[str]]
NOTHING = "-"


def cells(plan: Plan, rows: Iterable[Row]) -> Table:
    """A head, and a line for each cell on each data set."""
    factors = list(plan.cells[0])
    tasks = ["data"] if len(plan.study.tasks) > 1 else []
    needed = [f"seeds for {plan.study.difference:g}"] if plan.study.difference else []
    metric = plan.study.metric.replace("_", " ")
    table = [
        [
            *tasks,
            *factors,
            "runs",
            f"validation {metric}",
            "95 % interval",
            "difference to the base",
            "p (Holm)",
            f"test {metric}",
            "remarks",
            "P(better)",
            "p (t)",
            "p (sign flips)",
            "bootstrap",
            *needed,
        ]
    ]
    for row in rows:
        cell = plan.cells[row.cell]
        table.append(
            [
                *[row.task for _ in tasks],
                *[shown(cell[name]) if name in cell else NOTHING for name in factors],
                str(row.validation.runs if row.validation else 0),
                mean_std(row.validation),
                interval(row.validation.t_interval if row.validation else None),
                *_difference(row),
                mean_std(row.test),
                remarks(row),
                *_tests(row),
                interval(row.validation.bootstrap if row.validation else None),
                *[NOTHING if row.seeds is None else str(row.seeds) for _ in needed],
            ]
        )
    return _without_empty(table)


def brief(plan: Plan, rows: Iterable[Row]) -> Table:
    """A head, and a line for each cell with its scores, for a terminal."""
    metric = plan.study.metric.replace("_", " ")
    table = [["cell", f"validation {metric}", f"test {metric}"]]
    for row in rows:
        table.append([name(plan, row), mean_std(row.validation), mean_std(row.test)])
    return table


def published(plan: Plan, rows: Iterable[Row]) -> Table:
    """The columns of `cells` that a paper has room for."""
    table = cells(plan, rows)
    left_out = {"runs", "95 % interval", "P(better)", "p (t)", "p (sign flips)"}
    left_out |= {"bootstrap", *(x for x in table[0] if x.startswith("seeds for"))}
    places = [i for i, head in enumerate(table[0]) if head not in left_out]
    return [[line[i] for i in places] for line in table]


def name(plan: Plan, row: Row) -> str:
    """What a row is called: its data set, where there are several, and its flags."""
    base = "base: " if row.cell == 0 else ""
    return ": ".join(filter(None, (row.task, base + plan.label(row.cell))))


def _without_empty(table: Table) -> Table:
    """The table without columns that hold nothing."""
    holds = [
        any(line[i] not in ("", NOTHING) for line in table[1:])
        for i in range(len(table[0]))
    ]
    return [[x for x, keep in zip(line, holds, strict=True) if keep] for line in table]


def _difference(row: Row) -> list[str]:
    """The difference to the base, and its p-value after Holm's correction."""
    if row.difference is None:
        return ["base" if row.cell == 0 else NOTHING, NOTHING]
    return [
        f"{row.difference.mean:+.4f} {interval(row.difference.interval, sign='+')}",
        probability(row.holm_p) + (" *" if row.is_significant else ""),
    ]


def _tests(row: Row) -> list[str]:
    """P(better), and the p-values of the t test and of the sign flips."""
    if row.difference is None:
        return [NOTHING] * 3
    return [
        f"{row.difference.improvement:.2f}",
        probability(row.difference.t_p),
        probability(row.difference.flip_p),
    ]


def remarks(row: Row) -> str:
    """What a reader has to know of a row: what failed, is missing, or was packed."""
    said = []
    if row.failures:
        said.append(f"{len(row.failures)} failed")
    if row.missing:
        said.append(f"{row.missing} missing")
    if row.packed:
        said.append(f"{row.packed} of {len(row.ended)} packed")
    if row.has_other_data:
        said.append("on other data than the base")
    if row.validation is not None and row.validation.runs == 1:
        said.append("one seed: no interval")
    return ", ".join(said)


def mean_std(summary: Summary | None) -> str:
    """0.9812 ± 0.0020, the latter where there are two runs."""
    if summary is None:
        return NOTHING
    if summary.std is None:
        return f"{summary.mean:.4f}"
    return f"{summary.mean:.4f} ± {summary.std:.4f}"


def interval(found: Interval | None, *, sign: str = "") -> str:
    """[0.9790, 0.9834]."""
    if found is None:
        return NOTHING
    return f"[{found[0]:{sign}.4f}, {found[1]:{sign}.4f}]"


def probability(p: float | None) -> str:
    """0.034, or < 0.001."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def runs(plan: Plan, folder: Folder, rows: Iterable[Row]) -> Table:
    """A head, and a line for each run that has ended, with what repeats it.

    The time is from the first moment of a run to its last, without the start of its
    process; of a run that trained in a pack it is a share of the pack's.
    """
    heads = ["run", "validation", "test", "SHA-256", "time", "in a pack of", "repeat"]
    table = [heads]
    for ended in (ended for row in rows for ended in row.ended):
        table.append(
            [
                ended.run.name,
                NOTHING if ended.validation is None else f"{ended.validation:.4f}",
                NOTHING if ended.test is None else f"{ended.test:.4f}",
                ended.outcome.sha256[:12] or f"failed: {ended.outcome.failure}",
                f"{ended.outcome.seconds:.1f} s" if ended.outcome.seconds else NOTHING,
                str(ended.outcome.packed or NOTHING),
                command(plan, folder, ended),
            ]
        )
    return _without_empty(table)


def command(plan: Plan, folder: Folder, ended: Ended) -> str:
    """What repeats a run, to the same SHA-256 where it did not train in a pack.

    The number of cores is part of it: a CPU's sums depend on that.
    """
    cores = ended.outcome.cores
    some = ["taskset", "-c", f"0-{cores - 1}"] if cores else []
    flagfile = folder.run(ended.run) / "run.flags"
    if not flagfile.exists():  # it failed before it began
        flagfile = folder.recipe(ended.run)
    return shlex.join(
        [
            *some,
            "python",
            "-m",
            module(plan.study.experiment),
            f"--flagfile={flagfile}",
            f"--workdir=runs/again/{ended.run.name}",
        ]
    )


def csv_text(plan: Plan, folder: Folder, rows: Iterable[Row]) -> str:
    """A line for each run that has ended: its flags, metrics and what repeats it."""
    ends = [ended for row in rows for ended in row.ended]
    metrics = sorted({name for e in ends for name in e.outcome.validation})
    tests = sorted({name for e in ends for name in e.outcome.test})
    factors = list(plan.cells[0])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["task", *factors, "seed", *[f"validation_{x}" for x in metrics]]
        + [f"test_{x}" for x in tests]
        + ["seconds", "packed", "failure", "parameters_sha256", "repeat"]
    )
    for ended in ends:
        cell, outcome = plan.cells[ended.run.cell], ended.outcome
        writer.writerow(
            [ended.run.task, *[cell.get(factor, "") for factor in factors]]
            + [ended.run.seed]
            + [outcome.validation.get(name, "") for name in metrics]
            + [outcome.test.get(name, "") for name in tests]
            + [outcome.seconds, outcome.packed, outcome.failure, outcome.sha256]
            + [command(plan, folder, ended)]
        )
    return stream.getvalue()


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown."""
    head, *body = [[cell.replace("|", "\\|") for cell in line] for line in table]
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(table: Sequence[Sequence[str]]) -> str:
    """A tabular for the package booktabs."""
    head, *body = [[_escaped(cell) for cell in line] for line in table]
    return "\n".join(
        [
            r"% \usepackage{booktabs}; *: p (Holm) below 0.05",
            rf"\begin{{tabular}}{{{'l' * len(head)}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *[" & ".join(line) + r" \\" for line in body],
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "<": "$<$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def _escaped(cell: str) -> str:
    cell = "".join(_ESCAPES.get(letter, letter) for letter in cell)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", cell)
