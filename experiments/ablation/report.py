"""What a study leaves for reading and publishing: report.html and tables."""

import html
import json
import pathlib
import string
from collections.abc import Sequence

from matplotlib.figure import Figure

from cnnjax.training import text_files
from experiments.ablation import figures, results, tables, verdicts
from experiments.ablation.folder import Folder
from experiments.ablation.results import Row
from experiments.ablation.study import Plan

_PAGE = pathlib.Path(__file__).with_name("page.html")
_LEGEND = (
    "Cells are compared on the validation split, and the base with what differs from it"
    " by seed; the test split was measured once, at the end of each run. ±: standard"
    " deviation over seeds. Intervals cover 95 %: of Student's t; of the bias-corrected"
    " and accelerated bootstrap, from five seeds on. p: of the paired t test; of all"
    " flips of the differences' signs, which cannot be below 2 / 2^seeds; of the t test"
    " after Holm's correction for all comparisons here, * below 0.05. An interval is of"
    " one difference by itself: it may leave out 0 where the corrected p is above 0.05."
    " P(better): how often a run of the cell beats one of the base. Packed: trained in"
    " one program with other runs; alone it repeats to rounding, not to the bit. Other"
    " data: other images than the base's, or of another size."
)


def write(plan: Plan, folder: Folder, *, title: str) -> None:
    """Writes report.html, table.md, table.tex and results.csv of what there is."""
    rows = results.rows(plan, folder)
    cells, runs = tables.cells(plan, rows), tables.runs(plan, folder, rows)
    legend = _legend(plan)
    files = {
        "table.md": f"{tables.markdown(cells)}\n{legend}\n\n{tables.markdown(runs)}",
        "table.tex": tables.latex(tables.published(plan, rows)),
        "results.csv": tables.csv_text(plan, folder, rows),
        "report.html": _page(plan, folder, rows, cells, runs, title=title),
    }
    for name, text in files.items():
        text_files.write_text(folder.workdir / name, text)


def _page(
    plan: Plan,
    folder: Folder,
    rows: Sequence[Row],
    cells: tables.Table,
    runs: tables.Table,
    *,
    title: str,
) -> str:
    ended = [ended for row in rows for ended in row.ended]
    scored = any(x.validation is not None for x in ended)
    metrics = dict.fromkeys((plan.study.metric, "loss"))
    curves = [
        figures.svg(figures.curves(plan, folder, _of_task(rows, task), metric))
        for task in plan.study.tasks
        for metric in metrics
        if scored
    ]
    return string.Template(_PAGE.read_text()).substitute(
        title=html.escape(title),
        question="".join(
            f"<p>{html.escape(part)}</p>" for part in plan.study.question.split("\n\n")
        ),
        summary=html.escape(_summary(plan, rows)),
        verdicts=_list(verdicts.sentences(plan, rows)),
        cells=_table(cells, [_classes(row) for row in rows]),
        legend=html.escape(_legend(plan)),
        aggregates=_aggregates(plan, rows),
        dots=figures.svg(figures.dots(plan, rows)) if scored else "",
        differences=_differences(plan, rows),
        curves="".join(curves),
        profiles=_profiles(plan, rows) if scored else "",
        failures=_failures(rows),
        runs=_table(runs, ["failed" if x.outcome.failure else "" for x in ended]),
        provenance=html.escape(_provenance(folder, rows)),
    )


def _of_task(rows: Sequence[Row], task: str) -> list[Row]:
    return [row for row in rows if row.task == task]


def _legend(plan: Plan) -> str:
    if not plan.study.difference:
        return _LEGEND
    return (
        f"{_LEGEND} Seeds: how many the t test would need to find a difference of"
        f" {plan.study.difference:g} four times of five."
    )


def _summary(plan: Plan, rows: Sequence[Row]) -> str:
    ended = sum(len(row.ended) for row in rows)
    failed = sum(len(row.failures) for row in rows)
    better = "smaller" if plan.smaller_is_better else "larger"
    parts = [
        f"{plan.experiment.name}: {len(plan.cells)} cells, {len(plan.seeds)} seeds,"
        f" {ended} of {len(plan.runs)} runs ended, {failed} failed",
        f"compared by {plan.study.metric.replace('_', ' ')} ({better} is better)",
    ]
    if plan.study.base:
        parts.append(f"base: {' '.join(plan.study.base)}")
    if len(plan.seeds) < 2:
        parts.append("with one seed there is no interval and nothing to test by")
    return "; ".join(parts) + "."


def _classes(row: Row) -> str:
    names = {
        "base": row.cell == 0,
        "significant": row.is_significant,
        "failed": bool(row.failures),
    }
    return " ".join(name for name, holds in names.items() if holds)


def _table(table: tables.Table, classes: Sequence[str]) -> str:
    head, *body = table
    lines = [_line("th", head, "")]
    lines += [_line("td", line, kind) for line, kind in zip(body, classes, strict=True)]
    return (
        f'<table class="sortable"><thead>{lines[0]}</thead>'
        f"<tbody>{''.join(lines[1:])}</tbody></table>"
    )


def _line(tag: str, line: Sequence[str], kind: str) -> str:
    inside = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in line)
    return f'<tr class="{kind}">{inside}</tr>' if kind else f"<tr>{inside}</tr>"


def _aggregates(plan: Plan, rows: Sequence[Row]) -> str:
    """The table over several data sets, if there are several."""
    if len(plan.study.tasks) < 2:
        return ""
    table = [["cell", "interquartile mean", "95 % interval"]]
    table += [
        [
            plan.label(found.cell),
            f"{found.interquartile_mean:.4f}",
            tables.interval(found.interval),
        ]
        for found in results.aggregates(plan, rows)
    ]
    return f"<h2>Over all data sets</h2>{_table(table, [''] * (len(table) - 1))}"


def _profiles(plan: Plan, rows: Sequence[Row]) -> str:
    if len(plan.study.tasks) < 2:
        return ""
    drawn: Figure = figures.profiles(plan, rows)
    return f"<h2>Performance profiles</h2>{figures.svg(drawn)}"


def _differences(plan: Plan, rows: Sequence[Row]) -> str:
    compared = [row for row in rows if row.difference is not None]
    if not compared:
        return ""
    drawn = figures.svg(figures.differences(plan, compared))
    return f"<h2>Differences to the base, seed by seed</h2>{drawn}"


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(line)}' for line in lines)}</ul>"


def _failures(rows: Sequence[Row]) -> str:
    failed = [x for row in rows for x in row.failures]
    if not failed:
        return ""
    lines = "".join(
        f"<li><code>{html.escape(x.run.name)}</code>: {html.escape(x.outcome.failure)}"
        for x in failed
    )
    return f"<h2>Failures</h2><ul>{lines}</ul>"


def _provenance(folder: Folder, rows: Sequence[Row]) -> str:
    """The different provenances of the runs, without what names a single run."""
    found: dict[str, None] = {}
    for one in (one for row in rows for one in row.ended if not one.outcome.failure):
        result = folder.result(one.run) or {}
        shared = dict(result.get("provenance", {}))
        for name in ("command", "data"):  # the latter differs by seed
            shared.pop(name, None)
        found[json.dumps(shared, indent=1)] = None
    return "\n".join(found)
