"""Figures of a study: every seed as a dot, learning curves with bands, profiles."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnjax.names import short
from cnnjax.plots import png
from cnnjax.training import text_files
from experiments.ablation import statistics
from experiments.ablation.folder import Folder
from experiments.ablation.results import Ended, Row
from experiments.ablation.study import Plan

# Distinct without hue alone (Okabe & Ito, 2008); more cells than colors repeat them.
_COLORS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#444b54",
)
_LETTERS = 60  # of a label


def svg(figure: Figure) -> str:
    """A figure as an `<svg>` element, the same text for the same figure."""
    stream = io.StringIO()
    png.read_no_mathematics(figure)
    settings = {"svg.hashsalt": "cnnjax", "svg.fonttype": "none"}
    with matplotlib.rc_context(settings), png.quietly():
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue().partition("<!DOCTYPE")[2].partition(">")[2]


def dots(plan: Plan, rows: Sequence[Row]) -> Figure:
    """Every run's score on the validation split, with the mean and its interval.

    The dashed line is the mean of the base.
    """
    figure = Figure(figsize=(8.4, 0.9 + 0.42 * len(rows)), layout="constrained")
    axes = _plain(figure.add_subplot())
    for place, row in enumerate(rows):
        color = _COLORS[row.cell % len(_COLORS)]
        scores = [x.validation for x in row.ended if x.validation is not None]
        # Beside each other where they are alike, in the order of their seeds.
        heights = place + np.linspace(-0.18, 0.18, max(2, len(scores)))
        axes.plot(
            scores, heights[: len(scores)], "o", color=color, ms=4.5, alpha=0.6, mew=0
        )
        if row.validation is None:
            continue
        axes.plot([row.validation.mean] * 2, [place - 0.3, place + 0.3], color=color)
        if row.validation.t_interval is not None:
            axes.plot(row.validation.t_interval, [place] * 2, color=color, lw=1.2)
        if row.cell == 0:
            axes.axvline(row.validation.mean, color="#8a929c", ls="--", lw=0.8)
    axes.set_yticks(range(len(rows)), [_label(plan, row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"validation {plan.study.metric.replace('_', ' ')}")
    return figure


def differences(plan: Plan, rows: Sequence[Row]) -> Figure:
    """Each difference to the base, paired by seed: the mean and its interval.

    Between the dashed lines differences are too small to matter.
    """
    figure = Figure(figsize=(8.4, 0.9 + 0.36 * len(rows)), layout="constrained")
    axes = _plain(figure.add_subplot())
    axes.axvline(0, color="#444b54", lw=0.8)
    if plan.study.difference:
        for edge in (-plan.study.difference, plan.study.difference):
            axes.axvline(edge, color="#8a929c", ls="--", lw=0.8)
    for place, row in enumerate(rows):
        if row.difference is None:
            continue
        color = _COLORS[row.cell % len(_COLORS)]
        axes.plot(row.difference.mean, place, "o", color=color, ms=5)
        if row.difference.interval is not None:
            axes.plot(row.difference.interval, [place] * 2, color=color, lw=1.4)
    axes.set_yticks(range(len(rows)), [_label(plan, row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"difference in validation {plan.study.metric.replace('_', ' ')}")
    return figure


def curves(plan: Plan, folder: Folder, rows: Sequence[Row], metric: str) -> Figure:
    """A metric of the validation split over epochs: the mean, with its interval."""
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = _plain(figure.add_subplot())
    for row in rows:
        epochs, values = _curve(folder, row.ended, f"validation/{metric}")
        if not len(epochs):
            continue
        color = _COLORS[row.cell % len(_COLORS)]
        mean = values.mean(axis=0)
        axes.plot(epochs, mean, color=color, label=_label(plan, row), lw=1.6)
        if len(values) > 1:
            bands = [statistics.t_interval(column) for column in values.T]
            low, high = np.array(bands).T
            axes.fill_between(epochs, low, high, color=color, alpha=0.15, lw=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"validation {metric.replace('_', ' ')}")
    if axes.lines:
        axes.legend(frameon=False, fontsize=8.5)
    return figure


def profiles(plan: Plan, rows: Sequence[Row]) -> Figure:
    """The share of a cell's runs, over all data sets, above each threshold."""
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = _plain(figure.add_subplot())
    scores = {
        cell: [
            x.validation
            for row in rows
            if row.cell == cell
            for x in row.ended
            if x.validation is not None
        ]
        for cell in range(len(plan.cells))
    }
    known = np.concatenate(list(scores.values()))
    thresholds = np.linspace(known.min(), known.max(), 201)
    for cell, found in scores.items():
        if found:
            share = statistics.performance_profile(np.array(found), thresholds)
            color = _COLORS[cell % len(_COLORS)]
            label = short(plan.label(cell), _LETTERS)
            axes.step(thresholds, share, where="post", color=color, label=label)
    axes.set_xlabel(f"threshold of validation {plan.study.metric.replace('_', ' ')}")
    axes.set_ylabel("share of runs above it")
    axes.legend(frameon=False, fontsize=8.5)
    return figure


def _curve(
    folder: Folder, ended: Sequence[Ended], name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Epochs, and the values there of every run that has not failed: runs x epochs.

    Of runs that stopped early only the epochs that all reached are there.
    """
    found = []
    for one in (one for one in ended if one.validation is not None):
        rows = text_files.read_rows(folder.run(one.run))
        found.append({r["epoch"]: r[name] for r in rows if r.get(name) is not None})
    epochs = sorted(set.intersection(*map(set, found))) if found else []
    return np.array(epochs), np.array([[run[e] for e in epochs] for run in found])


def _label(plan: Plan, row: Row) -> str:
    task = f"{row.task}: " if row.task else ""
    return short(task + plan.label(row.cell), _LETTERS)


def _plain(axes: Axes) -> Axes:
    axes.grid(color="#e6e8eb", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    return axes
