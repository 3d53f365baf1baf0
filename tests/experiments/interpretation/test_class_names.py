"""Names of classes in files, and those that users write."""

import pytest

from cnnjax.errors import UsageError
from experiments.interpretation import class_names

NAMES = ("tench, Tinca tinca", "crane", "bull_mastiff", "crane")


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_numbers_of_synsets_are_left_out(tmp_path):
    path = write(tmp_path / "names.txt", "n01440764 tench, Tinca tinca", "cat", "")
    assert class_names.read(path, 2) == ("tench, Tinca tinca", "cat")


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, r"2 names, one more than the network has classes \(1\)"),
        (3, r"2 names, one fewer than the network has classes \(3\)"),
        (9, r"2 names, and the network has classes \(9\)"),
    ],
)
def test_another_number_of_names_is_refused(tmp_path, count, said):
    with pytest.raises(UsageError, match=said):
        class_names.read(write(tmp_path / "names.txt", "background", "cat"), count)


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("tench", 0),
        ("Tinca tinca", 0),
        ("tench, Tinca tinca", 0),
        ("Bull mastiff", 2),
        ("bull_mastiff", 2),
        ("3", 3),
    ],
)
def test_classes_are_found_by_name_and_number(text, index):
    assert class_names.find(text, NAMES) == index


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4", "are 0 to 3"),
        ("crane", "names the classes 1, 3"),
        ("bull mastif", "none of the 4 classes. Near are bull mastiff"),
        ("zzz", "none of the 4 classes.$"),
    ],
)
def test_what_is_no_class_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        class_names.find(text, NAMES)


def test_digits_that_are_names_are_names():
    assert class_names.find("7", ("9", "8", "7")) == 2
