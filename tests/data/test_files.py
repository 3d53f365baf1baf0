import os
import pathlib
import socket

import pytest

from cnnjax.data import files
from cnnjax.errors import UsageError


def pipe(folder):
    os.mkfifo(folder / "x")
    return folder / "x"


def bound(folder):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "x"))
    return folder / "x"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pipe, "x is no file but a named pipe"),
        (bound, "x is no file but a socket"),
        (lambda folder: pathlib.Path("/dev/zero"), "zero is no file but a device"),
        (lambda folder: folder, "is no file but a folder"),
        (lambda folder: folder / "x", "x does not exist"),
        (lambda folder: folder / ("x" * 300), "x cannot be read: File name too long"),
    ],
)
def test_only_files_are_opened(tmp_path, make, message):
    path = make(tmp_path)
    for read in (files.opened, files.content, files.text):
        with pytest.raises(UsageError, match=message):
            read(path)


def test_text_is_utf_8_with_line_ends_of_any_kind(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("ä\r\nb\rc\n".encode())
    assert files.text(path) == "ä\nb\nc\n"
    assert files.content(path) == "ä\r\nb\rc\n".encode()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"x\.txt is no text in UTF-8"):
        files.text(path)


def test_what_does_not_fit_in_memory_is_not_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12")
    with pytest.raises(UsageError, match=r"x takes about 32,768\.0 GiB of memory, and"):
        files.content(path, growth=2**44)


def test_files_are_named_with_their_sizes(tmp_path):
    paths = [tmp_path / "sub" / "a.png", tmp_path / "b.png"]
    paths[0].parent.mkdir()
    paths[0].write_bytes(b"123")
    paths[1].write_bytes(b"4")
    assert files.names_and_sizes(paths) == "a.png 3\nb.png 1"
    assert files.names_and_sizes(paths, root=tmp_path) == "sub/a.png 3\nb.png 1"
