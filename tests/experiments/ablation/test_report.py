"""The report in a browser, and what it holds."""

import dataclasses
import html
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from experiments.ablation import Study, report, results, tables, verdicts
from experiments.ablation.folder import Folder, Outcome
from experiments.ablation.study import plan

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Sorts the first table by its second column, twice, and writes what came of it.
PROBE = """<script>
const said = [];
window.onerror = (message) => said.push(message);
console.error = (...parts) => said.push(parts.join(" "));
window.onload = () => {
  const table = document.querySelector("table");
  const column = () => [...table.tBodies[0].rows].map((r) => r.cells[1].textContent);
  const found = [column()];
  table.tHead.rows[0].cells[1].click();
  found.push(column());
  table.tHead.rows[0].cells[1].click();
  found.push(column());
  const pre = document.createElement("pre");
  pre.id = "probe";
  const count = (what) => document.querySelectorAll(what).length;
  const links = count("[src], link, [href^=http]");
  pre.textContent = JSON.stringify({ found, said, links, svgs: count("svg") });
  document.body.append(pre);
};
</script></head>"""


@pytest.fixture
def made(tmp_path):
    """A plan and a folder with the outcomes of all runs, one of them a failure."""
    study = Study(
        experiment="tests.experiments.ablation.quick",
        metric="accuracy",
        base=("--validation=0.2",),
        factors={"norm": ("none", "batch"), "learning_rate": (0.05, 0.2, 0.1)},
        seeds=5,
        tasks={"one": (), "other": ("--holdout=0.5",)},
        question="Which <norm> & rate?",
        difference=0.01,
    )
    planned = plan(study)
    folder = Folder(tmp_path, planned)
    for number, run in enumerate(planned.runs):
        score = 0.5 + 0.02 * run.cell + 0.001 * (number * 7 % 5)
        folder.end(run, Outcome(validation={"accuracy": score}, test={"accuracy": 0.4}))
    folder.end(planned.runs[-1], Outcome(failure="The loss is <not> finite."))
    return planned, folder


def test_a_report_has_everything_in_one_file(made):
    planned, folder = made
    report.write(planned, folder, title="norms")
    page = (folder.workdir / "report.html").read_text()
    assert "Which &lt;norm&gt; &amp; rate?" in page
    assert "The loss is &lt;not&gt; finite." in page
    assert page.count('class="base"') == 2
    assert page.count("significant") > 2
    for head in ("Over all data sets", "Performance profiles", "Failures", "Runs"):
        assert f"<h2>{head}</h2>" in page
    assert not re.search(r'(src|href)="(?!#)', page)


def test_the_same_outcomes_make_the_same_report(made):
    planned, folder = made
    pages = []
    for _ in range(2):
        report.write(planned, folder, title="norms")
        pages.append((folder.workdir / "report.html").read_text())
    assert pages[0] == pages[1]


@pytest.mark.browser
def test_a_browser_shows_and_sorts_it(made, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no chromium is installed to open the page with")
    planned, folder = made
    report.write(planned, folder, title="norms")
    page = tmp_path / "probed.html"
    text = (folder.workdir / "report.html").read_text()
    page.write_text(text.replace("</head>", PROBE))
    dom = _opened(page, tmp_path / "profile")
    probe = re.search(r'<pre id="probe">(.*?)</pre>', dom)
    assert probe, dom[-2000:]
    found = json.loads(html.unescape(probe[1]))
    plain, up, down = found["found"]
    assert len(plain) == 12
    assert up == sorted(plain)
    assert down == sorted(plain, reverse=True)
    assert up != plain
    assert (found["said"], found["links"]) == ([], 0)
    assert found["svgs"] == 2 + 4 + 1  # differences, dots, two curves a task, profiles


def _opened(page: pathlib.Path, profile: pathlib.Path) -> str:
    """The document of a page after its scripts ran."""
    command = (
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--user-data-dir={profile}", "--virtual-time-budget=5000", page.as_uri()),
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout


def differing(metric, differences, **values):
    """Plan and rows of a study whose only other cell differs by seed like that."""
    study = Study(
        experiment="tests.experiments.ablation.quick",
        metric=metric,
        base=("--validation=0.2",),
        factors={"norm": ("none", "batch")},
        seeds=len(differences),
        **values,
    )
    planned = plan(study)
    scores = {0: [0.5] * len(differences), 1: [0.5 + x for x in differences]}
    ended = {
        run: Outcome(validation={metric: scores[run.cell][run.seed]})
        for run in planned.runs
    }
    return planned, ended


@pytest.mark.parametrize(
    ("metric", "differences", "least", "said"),
    [
        ("accuracy", [0.1, 0.11, 0.12], 0.01, "better than the base"),
        ("accuracy", [-0.1, -0.11, -0.12], 0.01, "worse than the base"),
        ("loss", [0.1, 0.11, 0.12], 0.01, "worse than the base"),
        ("accuracy", [0.001, -0.001, 0.0], 0.01, "as good as the base, to within 0.01"),
        ("accuracy", [0.1, -0.1, 0.0], 0.05, "a difference of 0.05 takes about"),
        ("accuracy", [0.1, -0.1, 0.0], None, "not told from the base"),
        ("accuracy", [0.1], 0.01, "no telling from chance by one seed"),
    ],
)
def test_a_sentence_says_what_follows(tmp_path, metric, differences, least, said):
    planned, ended = differing(metric, differences, difference=least)
    folder = Folder(tmp_path, planned)
    for run, outcome in ended.items():
        folder.end(run, outcome)
    (sentence,) = verdicts.sentences(planned, results.rows(planned, folder))
    assert sentence.startswith("norm=batch: ")
    assert said in sentence
    report.write(planned, folder, title="norms")
    assert f"<li>{sentence}" in (tmp_path / "report.html").read_text()


def test_a_table_for_a_paper_has_the_columns_that_count(tmp_path):
    planned, ended = differing("accuracy", [-0.1, -0.11, -0.12], difference=0.01)
    folder = Folder(tmp_path, planned)
    for run, outcome in ended.items():
        folder.end(run, dataclasses.replace(outcome, packed=2 if run.seed else 0))
    rows = results.rows(planned, folder)
    table = tables.published(planned, rows)
    heads = ["norm", "validation accuracy", "difference to the base", "p (Holm)"]
    assert table[0] == [*heads, "remarks"]  # none was measured on a test split
    assert table[2][-1] == "2 of 3 packed"
    assert table[2][2].startswith("-0.1100 [-0.1348,")
    text = tables.latex(table)
    assert r"$-$0.1100 [$-$0.1348" in text
    assert "booktabs" in text


def test_missing_runs_and_single_seeds_are_said(tmp_path):
    study = Study(
        experiment="tests.experiments.ablation.quick",
        metric="loss",
        base=("--validation=0.2",),
        factors={"norm": ("none", "batch", "group")},
        seeds=1,
    )
    planned = plan(study)
    folder = Folder(tmp_path, planned)
    folder.end(planned.runs[0], Outcome(validation={"loss": 0.3}, test={"loss": 0.4}))
    folder.end(planned.runs[1], Outcome(validation={"loss": float("nan")}))
    rows = results.rows(planned, folder)
    said = [tables.remarks(row) for row in rows]
    assert said == ["one seed: no interval", "1 failed", "1 missing"]
    table = tables.cells(planned, rows)
    assert table[1][2:5] == ["0.3000", "base", "0.4000"]
    report.write(planned, folder, title="norms")
    page = (tmp_path / "report.html").read_text()
    assert "nothing to test by" in page
    assert "smaller is better" in page
    assert "loss on the validation split is nan" in page


def test_labels_are_text_whatever_is_in_them(tmp_path):
    values = ("", r"a$\foo$b", "/$HOME/$USER", "数")
    study = Study(
        experiment="tests.experiments.ablation.quick",
        metric="accuracy",
        base=("--validation=0.2",),
        factors={"fault": values},
        tasks={"one": (), "$x$": ("--holdout=0.5",)},
        seeds=1,
    )
    planned = plan(study)
    folder = Folder(tmp_path, planned)
    for run in planned.runs:
        folder.end(run, Outcome(validation={"accuracy": 0.5}, test={"accuracy": 0.4}))
    report.write(planned, folder, title="labels")
    page = html.unescape((tmp_path / "report.html").read_text())
    for value in values:
        shown = f"fault={value or '(empty)'}</text>"
        assert f">one: {shown}" in page
        assert f">$x$: {shown}" in page


def test_holms_family_is_all_comparisons_of_the_study(made):
    planned, folder = made
    rows = results.rows(planned, folder)
    tested = [row for row in rows if row.difference is not None]
    assert len(tested) == 10
    smallest = min(tested, key=lambda row: row.difference.t_p)
    assert smallest.holm_p == pytest.approx(min(1, 10 * smallest.difference.t_p))


def test_aggregates_need_every_run(made):
    planned, folder = made
    found = results.aggregates(planned, results.rows(planned, folder))
    assert [x.cell for x in found] == list(range(5))  # the last cell has a failure
    assert all(x.interval[0] <= x.interquartile_mean <= x.interval[1] for x in found)


def test_tables_escape_what_their_language_reads():
    table = [["a_b", "c|d"], ["50 %", "±"]]
    assert tables.markdown(table) == "| a_b | c\\|d |\n| --- | --- |\n| 50 % | ± |\n"
    assert r"a\_b & c|d \\" in tables.latex(table)
    assert r"50 \% & $\pm$ \\" in tables.latex(table)
