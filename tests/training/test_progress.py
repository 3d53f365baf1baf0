import io

import pytest
import rich.console

from cnnjax.training import progress


@pytest.fixture
def said(monkeypatch):
    out = io.StringIO()
    console = rich.console.Console(
        file=out, soft_wrap=True, force_terminal=True, width=200
    )
    monkeypatch.setattr(progress, "console", console)
    return out


HOSTILE = "[red]x[/] [/y] :smile: \x1b[31m\r\a\udcff end"
SHOWN = r"[red]x[/] [/y] :smile: \x1b[31m\r\x07\udcff end"


def test_lines_are_text_not_markup(said):
    progress.log_line(HOSTILE + "\nof one line")
    assert said.getvalue() == SHOWN + "\\nof one line\n"


def test_tables_are_text_not_markup(said):
    progress.table("result", {HOSTILE: HOSTILE})
    assert said.getvalue().count(SHOWN) == 2
