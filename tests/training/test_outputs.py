import io
import sys

from cnnjax.training import progress, text_files


def test_outputs_take_any_name(monkeypatch):
    outputs = [io.TextIOWrapper(io.BytesIO(), encoding=name) for name in ("ascii",) * 2]
    monkeypatch.setattr(sys, "stdout", outputs[0])
    monkeypatch.setattr(sys, "stderr", outputs[1])
    progress.escape_what_cannot_be_written()
    progress.log_line("B\xe4r \udcff")
    print("\u72ac", file=sys.stderr)
    for output, written in zip(outputs, (rb"B\xe4r \udcff", rb"\u72ac"), strict=True):
        output.flush()
        assert output.buffer.getvalue() == written + b"\n"


def test_files_take_names_that_are_no_unicode(tmp_path):
    text_files.write_text(tmp_path / "run.flags", "--dataset=folder:b\xe4r/\udcff\n")
    written = (tmp_path / "run.flags").read_bytes()
    assert written == "--dataset=folder:b\xe4r/".encode() + b"\xff\n"
