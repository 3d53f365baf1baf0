"""Pictures of style transfer: read, begun with, and written on the way."""

import pathlib
import time
from types import TracebackType
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
import rich.progress
from jaxtyping import Array, Float
from PIL import Image

from cnnjax import interpret
from cnnjax.data.decode import decode_picture
from cnnjax.errors import UsageError
from cnnjax.training.progress import console, duration, log_line
from experiments.style_transfer.options import Options

Picture = Float[Array, "1 h w 3"]
_SECONDS_BETWEEN_LINES = 10.0


def folder(name: str) -> pathlib.Path:
    """The folder of this name, which is made.

    Raises:
        UsageError: if it cannot be.
    """
    path = pathlib.Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"--output={name} cannot be made: {error.strerror}; another folder would"
            " do."
        ) from error
    return path


def read(name: str | None, *, size: int, flag: str) -> Picture:
    """A picture in [0, 1] whose long side has been resized.

    Raises:
        UsageError: if there is none, or it is damaged.
    """
    if name is None:
        raise UsageError(f"--{flag} is missing: a picture.")
    picture = decode_picture(pathlib.Path(name), channels=3, name=name)
    scale = size / max(picture.size)
    width, height = (max(1, round(n * scale)) for n in picture.size)
    resized = picture.resize((width, height), Image.Resampling.LANCZOS)
    return jnp.asarray(np.asarray(resized, np.float32)[None] / 255)


def start(options: Options, content: Picture) -> Picture:
    """What painting begins with."""
    if options.start == "content":
        return content
    noise = jax.random.uniform(jax.random.key(options.seed), content.shape)
    return 0.4 + 0.2 * noise


def write(path: pathlib.Path, picture: Picture) -> None:
    """Writes a PNG file, whole or not at all."""
    pixels = np.round(255 * np.asarray(picture[0])).astype(np.uint8)
    partial = path.with_name(path.name + ".partial")
    Image.fromarray(pixels).save(partial, format="png")
    partial.replace(path)


class Previews:
    """Progress on the terminal, and pictures as they are painted."""

    def __init__(
        self, options: Options, output: pathlib.Path, content: Picture
    ) -> None:
        self._options, self._output, self._content = options, output, content
        self._began = self._printed = time.perf_counter()
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("compiling", total=options.steps)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def add(self, step: int, picture: Picture, total: Float[Array, " 1"]) -> None:
        """Shows a step, and writes its picture where it is time."""
        every, now = self._options.preview_every, time.perf_counter()
        if every and step % every == 0:
            if self._options.keep_colors:
                picture = interpret.keep_colors(picture, self._content)
            write(self._output / "stylized.png", picture)
            write(self._output / f"preview_{step:05}.png", picture)
        if console.is_terminal:
            news = f"loss {float(total[0]):.4g}"
            self._bar.update(self._task, completed=step, description=news)
        elif now - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = now
            left = (self._options.steps - step) * (now - self._began) / step
            steps = f"step {step}/{self._options.steps}"
            log_line(f"{steps}  loss {float(total[0]):.4g}  {duration(left)} left")
