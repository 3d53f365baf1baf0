"""Options that all training experiments share, under the same flags."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from cnnjax.data.augment import images as augment
from cnnjax.data.augment.spec import listed
from cnnjax.data.load import schemes
from cnnjax.options import option
from cnnjax.training import devices, optimizers

# Name -> type of the activations, and the precision of products of float32 where
# accelerators have several: JAX's own default there is not that of float32.
PRECISIONS: dict[str, tuple[Any, str]] = {
    "float32": (jnp.float32, "highest"),
    "tf32": (jnp.float32, "high"),
    "bfloat16": (jnp.bfloat16, "default"),
}


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Options that determine a run: the same config gives the same bits."""

    dataset: str = option(
        "digits",
        f"Data as scheme:location; schemes are {schemes('classification')}.",
    )
    data_dir: str | None = option(
        None,
        "Where --prepare puts data, to be read from there (none given: tfds: in"
        " ~/tensorflow_datasets; a folder: is read itself).",
        compared=False,
    )
    holdout: float = option(
        0.2,
        "Fraction of the data held out for testing where there is no test split; one"
        " image, or one of each class, at least.",
        above=0,
        below=1,
    )
    validation: float = option(
        0.0,
        "Fraction of the training split held out for validation (early stopping); one"
        " image, or one of each class, at least (0: none).",
        at_least=0,
        below=1,
    )
    seed: int = option(
        0,
        "Seeds splits, initialization, order, augmentation and dropout.",
        at_least=0,
        below=2**31,
        array=True,
    )
    epochs: float = option(
        30.0, "Passes over the training split.", above=0, at_most=1_000_000
    )
    batch_size: int = option(
        64,
        "Examples an update, over all devices and processes.",
        at_least=1,
        at_most=1_000_000,
    )
    optimizer: str = option(
        "sgd",
        "How gradients become updates (sgd: Nesterov momentum).",
        choices=optimizers.OPTIMIZERS,
    )
    learning_rate: float = option(
        0.05, "Peak of the schedule.", above=0, at_most=1000, array=True
    )
    head_learning_rate: float | None = option(
        None,
        "Peak of the schedule for the network's head (none given: --learning_rate).",
        above=0,
        at_most=1000,
    )
    momentum: float = option(
        0.9,
        "Momentum of sgd and muon; first decay of adamw and lamb.",
        at_least=0,
        below=1,
        array=True,
    )
    schedule: str = option(
        "cosine",
        "How the learning rate falls after the warm-up (step: to a tenth at 50 and"
        " at 75 percent of the updates).",
        choices=optimizers.SCHEDULES,
    )
    warmup_epochs: float = option(
        0.0,
        "Epochs over which the learning rate rises from zero.",
        at_least=0,
        at_most=1_000_000,
    )
    weight_decay: float = option(
        5e-4,
        "Decay of kernels; norms and biases are left out.",
        at_least=0,
        at_most=1000,
        array=True,
    )
    label_smoothing: float = option(
        0.1,
        "Probability shared evenly by all classes.",
        at_least=0,
        below=1,
        array=True,
    )
    clip_norm: float = option(
        0.0,
        "Largest global norm of the gradient (0: no limit).",
        at_least=0,
        at_most=1_000_000,
    )
    accumulate: int = option(
        1,
        "Parts a batch is cut into, whose gradients are averaged.",
        at_least=1,
        at_most=10_000,
    )
    ema: float = option(
        0.99,
        "Decay of the moving average of the weights, which is then what is"
        " evaluated and kept (0: none).",
        at_least=0,
        below=1,
    )
    precision: str = option(
        "float32",
        "Numbers that the layers compute with; parameters stay float32 (float32: in all"
        " products, on GPU and TPU, too; tf32: there products that are faster and at"
        " least as precise as those of TensorFloat-32).",
        choices=PRECISIONS,
    )
    deterministic: bool = option(
        True,
        "Computes without the algorithms of a GPU whose results differ from time to"
        " time.",
    )
    augment: str = option(
        "crop:2",
        "Augmentations in their order, NAME[:STRENGTH] joined by commas:"
        f" {listed(augment.AUGMENTATIONS | augment.MIXERS)} (empty: none).",
    )
    parallelism: str = option(
        "jit",
        "How the step is mapped over the devices.",
        choices=devices.MAPPERS,
    )
    eval_every: float = option(
        1.0,
        "Epochs between evaluations (fractions are fine).",
        above=0,
        at_most=1_000_000,
    )
    checkpoint_every: float = option(
        1.0,
        "Epochs between checkpoints (fractions are fine).",
        above=0,
        at_most=1_000_000,
    )
    patience: int = option(
        0,
        "Evaluations without improvement on the validation part after which the run"
        " stops and keeps its best weights (0: never).",
        at_least=0,
        at_most=1_000_000,
    )
    init_from: str = option(
        "", "A run or a .safetensors/.npz file whose weights to start from."
    )
    freeze: str = option(
        "",
        "Parameters that stay as they are: a regular expression found in their names,"
        " such as stem|stage1 (empty: none). Batch norms among them keep their"
        " statistics, too.",
    )
    workers: int | None = option(
        None,
        "Processes that decode images which do not fit in memory (none given: one for"
        " each core that this process may use; 0: threads of this process).",
        at_least=0,
        at_most=1000,
        compared=False,
    )
    tune_cpu: bool = option(
        True, "Sets the allocator and compiler for speed, for the whole process (CPU)."
    )
