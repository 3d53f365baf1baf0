import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.data import Arrays, batches
from cnnjax.training import devices
from cnnjax.training.evaluate import evaluate


@pytest.mark.parametrize("parallelism", ["jit", "pmap"])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 16])
def test_every_example_counts_once(rng, parallelism, batch_size):
    images = rng.integers(0, 256, (7, 2, 2, 1), dtype=np.uint8)
    source = Arrays(images, np.arange(7, dtype=np.int32))
    mapped = devices.mapper(parallelism)
    seen = []

    def eval_step(scale, batch):
        counted = batch["mask"].astype(jnp.int32)
        values = batch["image"].astype(jnp.float32).sum((1, 2, 3)) * scale
        sums = {"count": counted.sum(), "pixels": (values * counted).sum()}
        return sums, {"index": batch["index"], "mask": batch["mask"]}

    variables = mapped.replicate(np.array(2, np.float32))
    like = mapped.shard(next(batches.evaluation(source, batch_size=batch_size)))
    sums = evaluate(
        mapped.map_eval_step(eval_step).lower(variables, like).compile(),
        variables,
        batches.evaluation(source, batch_size=batch_size),
        mapped,
        observe=lambda values: seen.extend(values["index"][values["mask"]]),
    )
    assert sums["count"] == 7
    assert sums["pixels"] == 2 * images.sum(dtype=np.int64)
    assert seen == list(range(7))


def test_polls_before_each_batch(rng):
    source = Arrays(np.zeros((4, 1, 1, 1), np.uint8), np.zeros(4, np.int32))
    mapped = devices.mapper("jit")

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(
            mapped.map_eval_step(lambda v, b: ({"n": b["mask"].sum()}, {})),
            mapped.replicate({}),
            batches.evaluation(source, batch_size=2),
            mapped,
            poll=stop,
        )
