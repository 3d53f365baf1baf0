r"""Learns to tell the classes of images apart.

python -m experiments.classification
python -m experiments.classification \
    --flagfile=experiments/recipes/fashion_mnist.flags --dataset=idx:PATH
python -m experiments.classification --predict=IMAGES --workdir=RUN
"""

import dataclasses
import functools
import heapq
import pathlib
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cnnjax import losses, metrics
from cnnjax.data import augment, decode, folder, framing, moments, sources
from cnnjax.models import MODELS, layers, weights
from cnnjax.training import progress, provenance, record
from cnnjax.training.config import TrainingConfig
from cnnjax.training.flags import option
from cnnjax.training.launch import Experiment, launch
from cnnjax.training.train import Task, train
from experiments.classification_figures import Mistakes, draw

Tree = Any
NAME = "classification"
# A picture keeps this much more than the network sees, for resized_crop to choose from.
_SPARE = 10 / 7


@dataclasses.dataclass(frozen=True)
class Config(TrainingConfig):
    """A classifier and how it is trained."""

    model: str = option("resnet9", "The network.", choices=tuple(MODELS))
    stem: str | None = option(
        None,
        "First layers of a ResNet: small for images up to 64 pixels.",
        choices=("imagenet", "small"),
    )
    width: float = option(1.0, "Multiplies the channels of every layer.", above=0)
    norm: str | None = option(
        None, "Normalisation (none given: the model's own).", choices=layers.NORMS
    )
    activation: str | None = option(
        None,
        "Activation (none given: the model's own).",
        choices=tuple(layers.ACTIVATIONS),
    )
    dropout: float = option(
        0.0, "Share of the pooled features that is dropped.", at_least=0, below=1
    )
    image_size: int | None = option(
        None, "Height and width that images are resized to (none given: as they are)."
    )


def run(
    config: Config, workdir: pathlib.Path, *, overwrite: bool = False
) -> dict[str, Any]:
    """Trains, or goes on, in `workdir`; returns the metrics on the test split."""
    data = load_data(config)
    keep = record.Record(workdir, config, overwrite=overwrite)
    try:
        result = keep.result()
        if result is None:
            result = _train(config, data, keep)
        else:
            progress.tell("finished before (--overwrite trains afresh)")
        _show(result, workdir)
    finally:
        keep.close()
    return {name: result[name] for name in ("accuracy", "loss", "accuracy_per_class")}


def load_data(config: Config) -> sources.Dataset:
    """The data that `config` names, framed for what it does with them."""
    read = functools.partial(
        sources.load,
        config.dataset,
        holdout=config.holdout,
        seed=config.seed,
        data_dir=config.data_dir,
    )
    data = read(image_size=config.image_size)
    names = {step.name for step in augment.parse(config.augment)}
    if config.image_size and "resized_crop" in names:
        stored = round(config.image_size * _SPARE)
        data = dataclasses.replace(
            data, train=read(image_size=stored, framing="fit").train
        )
    return data


def build(config: Config, classes: int, *, axis_name: str | None = None) -> nn.Module:
    """The model that `config` names."""
    return MODELS[config.model](
        classes=classes,
        width=config.width,
        norm=config.norm,
        activation=config.activation,
        dropout=config.dropout,
        stem=config.stem,
        dtype=jnp.dtype(config.precision),
        axis_name=axis_name,
    )


def _train(config: Config, data: sources.Dataset, keep: record.Record) -> dict:
    if data.note:
        progress.tell(data.note)
    held, kept = None, data.train
    if config.validation:
        kept, held = sources.hold_out(data.train, config.validation, seed=config.seed)
    mean, deviation = moments.channel_moments(kept, seed=config.seed)
    scaling = {"mean": mean, "deviation": deviation}
    task = make_task(config, data, kept, held, scaling)
    mistakes = Mistakes()
    trained = train(task, config, keep, observe=mistakes.observe)
    result = {
        **trained.metrics,
        **trained.cost,
        "class_names": data.class_names,
        "image_shape": data.image_shape,
        "provenance": provenance.provenance(data.fingerprint),
    }
    if jax.process_index() == 0:
        weights.save(
            keep.workdir / "weights.safetensors",
            {**trained.variables, "input": scaling},
        )
        draw(keep.figures, task, data.class_names, config.seed, trained, mistakes)
    keep.finish(result)
    return result


def make_task(
    config: Config,
    data: sources.Dataset,
    kept: sources.Source,
    held: sources.Source | None,
    scaling: Tree,
) -> Task:
    """Classification of `data`, learned from `kept`, chosen by `held`."""
    classes = len(data.class_names)
    model = build(config, classes)
    size = config.image_size and (config.image_size, config.image_size)
    augmented = augment.augmenter(config.augment, classes=classes, output_size=size)

    def initialise() -> Tree:
        images = jnp.zeros((1, *data.image_shape))
        init = jax.jit(lambda key: model.init(key, images))
        variables = init(jax.random.key(config.seed))
        return started_from(config.init_from, variables)

    def loss_fn(axis_name: str | None) -> Callable:
        mapped = build(config, classes, axis_name=axis_name)

        def loss(params: Tree, statistics: Tree, batch: Tree, keys: Array) -> tuple:
            (logits, _), changed = mapped.apply(
                {"params": params, "batch_stats": statistics},
                scaled(batch["image"], scaling),
                train=True,
                keys=keys,
                mutable=["batch_stats"],
            )
            values = losses.cross_entropy(
                logits, batch["label"], label_smoothing=config.label_smoothing
            )
            return values, (changed.get("batch_stats", {}), {})

        return loss

    def measure(variables: Tree, batch: Tree) -> tuple[Tree, Tree]:
        images = scaled(pixels(batch["image"]), scaling)
        logits, _ = model.apply(variables, images)
        sums = metrics.classification_sums(logits, batch["label"], batch["mask"])
        values = {
            "index": batch["index"],
            "loss": losses.cross_entropy(logits, batch["label"]),
            "predicted": logits.argmax(axis=-1),
            "wrong": batch["mask"] & (logits.argmax(axis=-1) != batch["label"]),
        }
        return sums, values

    return Task(
        train=kept,
        validation=held,
        test=data.test,
        initialise=initialise,
        loss_fn=loss_fn,
        augment=lambda keys, batch: augmented(
            keys, {**batch, "image": pixels(batch["image"])}
        ),
        measure=measure,
        summarise=metrics.classification_summary,
        score="accuracy",
    )


def pixels(images: Array) -> Float[Array, "n h w c"]:
    """Stored bytes as numbers in [0, 1]."""
    return images.astype(jnp.float32) / 255


def scaled(images: Float[Array, "n h w c"], scaling: Tree) -> Float[Array, "n h w c"]:
    """Pixels in [0, 1] with the mean and deviation of the training data taken out."""
    return (images - scaling["mean"]) / scaling["deviation"]


def started_from(location: str, variables: Tree) -> Tree:
    """`variables` with what fits of a run's or a file's weights; says what does not."""
    if not location:
        return variables
    path = pathlib.Path(location)
    loaded = weights.load(path / "weights.safetensors" if path.is_dir() else path)
    loaded.pop("input", None)
    merged, skipped = weights.merge(variables, loaded)
    progress.tell(
        f"starts from {location}"
        + (f", but for {', '.join(skipped)}" if skipped else "")
    )
    return merged


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained classifier.

    Attributes:
        config: of its run.
        class_names: in the order of the probabilities.
        variables: of its model, and `input`, the scaling of the pixels.
        image_shape: height, width and channels it was trained on.
    """

    config: Config
    class_names: tuple[str, ...]
    variables: Tree
    image_shape: tuple[int, int, int]

    def predict(self, images: Array) -> Float[np.ndarray, "n classes"]:
        """Probabilities of the classes.

        Args:
            images: (n, h, w, c), uint8 or float in [0, 1], with the channels the
                classifier was trained on, of any size that its model takes.
        """
        images = jnp.asarray(images)
        channels = self.image_shape[-1]
        if images.ndim != 4 or images.shape[-1] != channels:
            raise ValueError(
                f"images must be (n, h, w, {channels}), got {images.shape}."
            )
        if images.dtype == jnp.uint8:
            images = pixels(images)
        return np.asarray(self._apply(self.variables, images))

    @functools.cached_property
    def _apply(self) -> Callable:
        model = build(self.config, len(self.class_names))

        def probabilities(variables: Tree, images: Array) -> Array:
            variables = dict(variables)
            scaling = variables.pop("input")
            return jax.nn.softmax(model.apply(variables, scaled(images, scaling))[0])

        return jax.jit(probabilities)


def load(workdir: pathlib.Path | str) -> Predictor:
    """The classifier that a finished run left in `workdir`."""
    workdir = pathlib.Path(workdir)
    values, result = record.finished(workdir)
    return Predictor(
        config=Config(**values),
        class_names=tuple(result["class_names"]),
        variables=weights.load(workdir / "weights.safetensors"),
        image_shape=tuple(result["image_shape"]),
    )


def predict(path: pathlib.Path, workdir: pathlib.Path) -> None:
    """Shows the likeliest classes of an image or of a folder's images.

    Writes all probabilities to predictions.json in `workdir`.
    """
    predictor = load(workdir)
    height, width, channels = predictor.image_shape
    rows = {}
    for file in folder.pictures(path):
        image = decode.decode(file, channels=channels, name=str(file))
        if height == width:
            image, _ = framing.frame(image, size=height, framing="crop")
        rows[str(file)] = dict(
            zip(
                predictor.class_names,
                predictor.predict(image[None])[0].tolist(),
                strict=True,
            )
        )
        likeliest = heapq.nlargest(3, rows[str(file)].items(), key=lambda x: x[1])
        progress.tell(f"{file}  " + "  ".join(f"{n} {p:.3f}" for n, p in likeliest))
    record.write_json(workdir / "predictions.json", rows)


def _show(result: dict[str, Any], workdir: pathlib.Path) -> None:
    seconds = result["seconds"]
    progress.table(
        "result",
        {
            "test accuracy": f"{result['accuracy']:.4f}",
            "test loss": f"{result['loss']:.4f}",
            "parameters": f"{result['parameters']:,}",
            "images/s in training": f"{result['images_per_second']:,.0f}",
            "time": ", ".join(
                f"{name} {progress.duration(seconds[name])}"
                for name in ("compile", "train", "evaluate", "total")
            ),
            "waiting for input": f"{seconds['input_wait'] / seconds['train']:.1%}",
            "peak memory": f"{result['peak_memory_bytes'] / 2**30:.2f} GiB",
            "SHA-256 of the parameters": result["parameters_sha256"],
            "left in": str(workdir),
        },
    )


if __name__ == "__main__":
    launch(Experiment(NAME, __doc__, Config, run, predict))
