import pytest

from cnnjax.data.names import printable


@pytest.mark.parametrize("name", ["", "cat", "Bär 2.png", "犬", r"a\nb", "$x$ {y}"])
def test_what_can_be_printed_stays(name):
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a\udcffb", r"a\udcffb"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\x1b[31mred\x00\x7f\x85", r"\x1b[31mred\x00\x7f\x85"),
        ("gnp.\u202etxt", r"gnp.\u202etxt"),
    ],
)
def test_the_rest_gets_a_visible_escape(name, expected):
    assert printable(name) == expected
    assert printable(name).encode("utf-8")
