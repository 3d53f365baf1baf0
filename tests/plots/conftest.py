"""What the tests of figures share."""

import matplotlib.figure
import pytest


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], matplotlib.figure.Figure.savefig

    def remember(figure, *args, **options):
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", remember)
    return figures
