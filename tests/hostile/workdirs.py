"""Damaged workdirs, and bad weights to start from or to predict by."""

import functools
import io
import json
import os
import pathlib
import shutil
import struct
from collections.abc import Callable

import numpy as np
import safetensors.numpy

from tests.hostile.case import Case, Cases, on
from tests.hostile.pictures import BAD, READABLE, save, write_folder

RUN = "run"
Spoil = Callable[[pathlib.Path], object]


def train(folder: pathlib.Path) -> list[str]:
    """What makes the run that is damaged: `folder` holds its data, too."""
    write_folder(folder / "data")
    return _again(folder)


def _again(folder: pathlib.Path, *flags: str) -> list[str]:
    data = f"folder:{folder / 'data'}"
    return on("classification", data, "--holdout=0.4", f"--workdir={RUN}", *flags)


def _write(path: str, content: bytes) -> Spoil:
    return lambda run: (run / path).write_bytes(content)


def _folder(path: str) -> Spoil:
    def spoil(run: pathlib.Path) -> None:
        _remove(path)(run)
        (run / path).mkdir()

    return spoil


def _file(path: str) -> Spoil:
    def spoil(run: pathlib.Path) -> None:
        _remove(path)(run)
        (run / path).write_text("a file")

    return spoil


def _remove(path: str) -> Spoil:
    def spoil(run: pathlib.Path) -> None:
        whole = run / path
        if whole.is_dir():
            shutil.rmtree(whole)
        else:
            whole.unlink(missing_ok=True)

    return spoil


def _flip(path: str, position: float) -> Spoil:
    """Flips a bit at that share of the file's length."""

    def spoil(run: pathlib.Path) -> None:
        content = bytearray((run / path).read_bytes())
        content[int(position * len(content))] ^= 4
        (run / path).write_bytes(content)

    return spoil


def _cut(path: str, share: float) -> Spoil:
    def spoil(run: pathlib.Path) -> None:
        content = (run / path).read_bytes()
        (run / path).write_bytes(content[: int(share * len(content))])

    return spoil


def _both(*spoils: Spoil) -> Spoil:
    return lambda run: [spoil(run) for spoil in spoils]


def _json(path: str, key: str, value: object) -> Spoil:
    def spoil(run: pathlib.Path) -> None:
        content = json.loads((run / path).read_text())
        (run / path).write_text(json.dumps({**content, key: value}))

    return spoil


UNFINISHED = _remove("result.json")
NOT_JSON = {
    "empty": b"",
    "cut": b'{"seed": ',
    "a list": b"[]",
    "null": b"null",
    "a number": b"3",
    "bytes": b"\xff\xfe\x00",
    "zeros": bytes(50),
    "nested deep": b"[" * 100_000,
    "an empty object": b"{}",
}
# Of a run that goes on: whatever is damaged, one line, or it is made again.
GOES_ON: dict[str, tuple[Spoil, bool]] = {
    **{
        f"{file} {name}": (_both(UNFINISHED, _write(file, content)), False)
        for file in ("config.json",)
        for name, content in NOT_JSON.items()
    },
    **{
        f"result.json {name}": (_write("result.json", content), False)
        for name, content in NOT_JSON.items()
    },
    **{
        f"metrics.jsonl {name}": (
            _both(UNFINISHED, _write("metrics.jsonl", content + b"\n")),
            True,
        )
        for name, content in {
            **NOT_JSON,
            "a text": b'"step"',
            "no step": b'{"loss": 1}',
            "a step of text": b'{"step": "1"}',
            "a step of null": b'{"step": null}',
            "a step of nan": b'{"step": NaN}',
            "a step of 10**400": b'{"step": 1' + b"0" * 400 + b"}",
            "5,000 digits": b'{"step": ' + b"1" * 5000 + b"}",
        }.items()
    },
    "config.json missing": (_both(UNFINISHED, _remove("config.json")), False),
    **{
        f"a folder for {name}": (_both(UNFINISHED, _folder(name)), False)
        for name in ("config.json", "metrics.jsonl", "run.flags", ".lock")
    },
    "a folder for result.json": (_folder("result.json"), False),
    "a folder for weights": (
        _both(UNFINISHED, _folder("weights.safetensors")),
        False,
    ),
    **{
        f"a file for {name}": (_both(UNFINISHED, _file(name)), False)
        for name in ("checkpoints", "best", "tensorboard", "figures")
    },
    "result.json a FIFO": (
        _both(_remove("result.json"), lambda run: os.mkfifo(run / "result.json")),
        False,
    ),
    "checkpoints emptied": (_both(UNFINISHED, _folder("checkpoints")), True),
}
WEIGHTS = "weights.safetensors"
PREDICTS: dict[str, Spoil] = {
    **{
        f"weights flipped at {at}": _flip(WEIGHTS, at)
        for at in np.linspace(0, 0.999, 12)
    },
    **{f"weights cut at {at}": _cut(WEIGHTS, at) for at in (0, 0.001, 0.5, 0.999)},
    "weights missing": _remove(WEIGHTS),
    "weights a folder": _folder(WEIGHTS),
    "weights of text": _write(WEIGHTS, b"no weights"),
    "weights of a long header": _write(WEIGHTS, struct.pack("<Q", 2**40) + b"{}"),
    **{
        f"result.json {name}": _write("result.json", content)
        for name, content in NOT_JSON.items()
    },
    **{
        f"config.json {name}": _write("config.json", content)
        for name, content in NOT_JSON.items()
    },
    "config.json of another model": _json("config.json", "model", "resnet9"),
    "config.json of no model": _json("config.json", "model", "nonsense"),
    "config.json of a wide model": _json("config.json", "width", 0.5),
    "config.json of a width of text": _json("config.json", "width", "wide"),
    "result.json of three classes": _json("result.json", "class_names", list("abc")),
    "result.json of no classes": _json("result.json", "class_names", None),
    "result.json of another shape": _json("result.json", "image_shape", [28, 28]),
    "a folder for predictions": _folder("predictions.json"),
}


def _npz(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


KERNEL = "params/head/kernel"
INITS: dict[str, tuple[str, bytes]] = {
    "empty": ("x.safetensors", b""),
    "text": ("x.safetensors", b"no weights at all"),
    "a header of 2**63": ("x.safetensors", struct.pack("<Q", 2**63) + b"{}"),
    "a header of no JSON": ("x.safetensors", struct.pack("<Q", 4) + b"nope"),
    "offsets beyond the end": (
        "x.safetensors",
        struct.pack("<Q", 64)
        + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}'.ljust(64),
    ),
    "other names": ("x.safetensors", safetensors.numpy.save({"a": np.ones(3)})),
    "no arrays": ("x.safetensors", safetensors.numpy.save({})),
    "npz cut": ("x.npz", _npz(**{KERNEL: np.ones((4, 2))})[:50]),
    "npz of text": ("x.npz", b"no zip"),
    "npz of objects": ("x.npz", _npz(**{KERNEL: np.array([{}, None])})),
    **{
        f"npz of {array.dtype}": ("x.npz", _npz(**{KERNEL: array}))
        for array in (
            np.array([b"ab", b"c"]),
            np.array(["a", "b"]),
            np.array(["2020-01-01"], "datetime64[D]"),
            np.array([1], "timedelta64[s]"),
            np.zeros(2, [("a", "f4"), ("b", "i4")]),
            np.ones((4, 2), complex),
            np.ones((4, 2), bool),
        )
    },
    "a pickle": ("x.npz", b"\x80\x04K\x01."),
    "another suffix": ("x.pt", b"\x80\x04K\x01."),
}


def cases(run: pathlib.Path) -> Cases:
    """All of them; `run` is a folder with data and with a finished run of `train`."""
    for name, (spoil, harmless) in GOES_ON.items():
        make = functools.partial(_on_a_copy, run, spoil, _again)
        yield Case(f"workdir/{name}", "classification", make, harmless=harmless)
    other = functools.partial(_again, run, "--seed=1")
    for name, spoil in {
        "another seed": UNFINISHED,
        "another seed, config.json missing": _both(UNFINISHED, _remove("config.json")),
    }.items():
        make = functools.partial(_on_a_copy, run, spoil, lambda _, go=other: go())
        yield Case(f"workdir/{name}", "classification", make)
    for name, spoil in PREDICTS.items():
        make = functools.partial(_on_a_copy, run, spoil, _predict)
        yield Case(f"predict/{name}", "classification", make)
    for name, content in BAD.items():
        image = functools.partial(_predict, content=content)
        make = functools.partial(_on_a_copy, run, lambda _: None, image)
        harmless = name in READABLE
        yield Case(f"predict/image {name}", "classification", make, harmless=harmless)
    for name, flags in {
        "nothing": ["--predict=/nowhere"],
        "an empty name": ["--predict="],
        "a device": ["--predict=/dev/null"],
        "an endless device": ["--predict=/dev/zero"],
        "other flags": ["--predict=.", "--width=0.5"],
    }.items():
        command = functools.partial(_flags, flags=flags)
        make = functools.partial(_on_a_copy, run, lambda _: None, command)
        yield Case(f"predict/{name}", "classification", make)
    for name, (file, content) in INITS.items():
        start = functools.partial(_init, file=file, content=content)
        yield Case(f"init_from/{name}", "classification", start)


def _on_a_copy(
    run: pathlib.Path,
    spoil: Spoil,
    command: Callable[[pathlib.Path], list[str]],
    folder: pathlib.Path,
) -> list[str]:
    shutil.copytree(run / RUN, folder / RUN)
    (folder / "data").symlink_to(run / "data")
    spoil(folder / RUN)
    return command(run if command is _again else folder)


def _predict(folder: pathlib.Path, *, content: bytes | None = None) -> list[str]:
    image = folder / "image.png"
    if content is None:
        save(image)
    else:
        image.write_bytes(content)
    return [f"--workdir={RUN}", f"--predict={image}", "--notune_cpu"]


def _flags(folder: pathlib.Path, *, flags: list[str]) -> list[str]:
    return [f"--workdir={RUN}", "--notune_cpu", *flags]


def _init(folder: pathlib.Path, *, file: str, content: bytes) -> list[str]:
    (folder / file).write_bytes(content)
    return on("classification", "digits", f"--init_from={file}", "--epochs=0.02")
