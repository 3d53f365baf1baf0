"""Whether batch or group normalization helps, with small and with large batches."""

from experiments.ablation import Study

NORMS = ("none", "batch", "group")

STUDY = Study(
    experiment="classification",
    metric="accuracy",
    base=("--dataset=digits", "--validation=0.2"),
    cells=[
        {"batch_size": size, "norm": norm, "learning_rate": 0.05 * size / 64}
        for size in (8, 128)
        for norm in NORMS
    ],
    difference=0.005,
)
