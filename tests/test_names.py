import pytest

from cnnjax.names import printable, short


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat", "cat"),
        ("été 漢字 $x$ [red]", "été 漢字 $x$ [red]"),
        ("a\nb", r"a\nb"),
        ("\x1b[31m\0\x7f", r"\x1b[31m\x00\x7f"),
        ("\u202eabc", r"\u202eabc"),
        ("\udcff", r"\udcff"),
    ],
)
def test_what_has_no_picture_is_escaped(name, expected):
    assert printable(name) == expected
    assert printable(name).isprintable()


def test_long_names_are_cut():
    assert short("abcdef", 6) == "abcdef"
    assert short("abcdefg", 6) == "abcde…"
    assert short("\n" * 9, 6) == r"\n\n\…"
