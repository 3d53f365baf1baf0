import csv
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import UsageError
from cnnjax.models import MODELS
from cnnjax.training import flags
from experiments import model_options
from experiments.summary import Row, summarize
from experiments.summary import __main__ as command
from experiments.summary.options import Options
from experiments.summary.table import lines, size, totals
from tests.readmes import Readme

README = "experiments/summary/README.md"
LENET = ("--model=lenet", "--image_size=28", "--channels=1", "--classes=10")


def build(options):
    return model_options.build(options, options.classes)


def show(*arguments):
    command.show(flags.from_arguments(Options, arguments))


def test_shows_the_table_and_its_totals(capsys):
    show(*LENET)
    shown = capsys.readouterr().out
    assert shown.partition("for one image")[0] in Readme(README).text
    rows = [line.split() for line in shown.splitlines()]
    line = "│ c3/conv │ conv 5x5 │ 10x10x16 │ 2,416 │ 240,000 │ 14 │ 2 │ 6.2 KiB │"
    assert line.split() in rows
    assert ["│", "parameters", "│", "61,706", "(241.0", "KiB)", "│"] in rows
    assert ["│", "multiply-adds", "│", "416,520", "│"] in rows


def test_vgg16_fits_100_columns(capsys):
    show()
    assert 90 < max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_writes_numbers_for_spreadsheets(tmp_path):
    show(*LENET, f"--csv={tmp_path}/lenet.csv")
    text = (tmp_path / "lenet.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert rows[2] == {
        "layer": "c3/conv",
        "kind": "conv 5x5",
        "output": "10x10x16",
        "parameters": "2416",
        "multiply_adds": "240000",
        "field": "14",
        "jump": "2",
        "bytes": "6400",
    }
    assert (rows[-1]["field"], rows[-1]["jump"]) == ("all", "")


def test_draws_maps_as_boxes(tmp_path):
    unet = ("--model=unet", "--depth=2", "--width=0.125", "--image_size=64")
    show(*unet, f"--plot={tmp_path}/unet.png")
    pixels = np.asarray(Image.open(tmp_path / "unet.png").convert("RGB"))
    blue = (pixels[:-75] == (86, 180, 233)).all(-1)  # without the legend
    tall = blue.sum(0)  # pixels of a convolution's box in each column
    first, last = np.flatnonzero(tall > 0.9 * tall.max())[[0, -1]]
    lowest = tall[first:last][tall[first:last] > 0].min()
    assert lowest == pytest.approx(tall.max() / 2, rel=0.1)  # a quarter of the side
    assert last - first > len(tall) / 2


def test_files_in_no_folder_are_refused(tmp_path):
    for flag in ("csv", "plot"):
        name = f"{tmp_path}/none/file"
        with pytest.raises(UsageError, match=f"--{flag}={name} cannot be written: No"):
            show(*LENET, f"--{flag}={name}")
        with pytest.raises(UsageError, match=f"--{flag}=/ is a folder"):
            show(*LENET, f"--{flag}=/")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=lenet5"], "lenet5"),
        (["--model=unet", "--stem=small"], "--stem is not for --model=unet"),
        (["--model=windownet", "--padding_mode=zeros"], "padding_mode of WindowNet"),
        (["--classes=0"], "--classes must be at least 1, got 0"),
        (["--dept=2"], "Unknown command line flag 'dept'"),
    ],
)
def test_mistakes_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        build(flags.from_arguments(Options, arguments))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_its_own_by_default(name):
    model = build(flags.from_arguments(Options, [f"--model={name}"]))
    assert model == MODELS[name](classes=1000)


def test_options_reach_the_model():
    arguments = ["--model=resnet18", "--stem=small", "--norm=group", "--width=0.5"]
    arguments += ["--padding_mode=reflect", "--activation=gelu", "--classes=7"]
    assert build(flags.from_arguments(Options, arguments)) == MODELS["resnet18"](
        classes=7,
        stem="small",
        norm="group",
        width=0.5,
        padding_mode="reflect",
        activation="gelu",
    )


def test_a_mistake_is_one_line_and_status_2():
    run = subprocess.run(
        [sys.executable, "-m", "experiments.summary", "--image_size=31"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr == (
        "error: VGG needs images of 32x32 pixels or more, got 31x31.\n"
    )


def test_axes_that_differ_are_shown_apart():
    rows = summarize(MODELS["vgg11"](classes=2, width=1 / 16), (32, 64, 1))
    (fc6,) = (line for line in lines(rows) if line[0] == "fc6/conv")
    assert fc6[:3] == ["fc6/conv", "conv 1x2", "1x1x256"]
    assert fc6[5:7] == ["150x182", "32"]


def test_totals():
    rows = [
        Row("a", "conv 1x1", (2, 2, 64), 1000, 5, None),
        Row("b", "max 2x2", (4, 4, 64), 0, 0, None),
        Row("c", "conv 1x1", (2, 4, 64), 24, 7, None),
    ]
    shared = {
        "parameters": "1,024 (4.0 KiB)",
        "multiply-adds": "12",
        "outputs of all layers": "7.0 KiB",
        "largest two in a row": "6.0 KiB",
    }
    planned = "inference, planned by XLA"
    assert totals(rows, 2048) == {**shared, planned: "2.0 KiB"}
    assert totals(rows, None) == {**shared, planned: "unknown"}


def test_sizes_have_readable_units():
    counts = (0, 1023, 1024, 18816, 12_845_056, 3 * 2**30, 2**41)
    assert [size(n) for n in counts] == [
        *("0 B", "1023 B", "1.0 KiB", "18.4 KiB"),
        *("12.2 MiB", "3.0 GiB", "2,048.0 GiB"),
    ]
