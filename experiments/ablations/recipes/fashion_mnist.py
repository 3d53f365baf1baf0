"""Whether recipes/fashion_mnist.flags is right, by two of its seven epochs."""

from experiments.ablation import Study

STUDY = Study(
    experiment="classification",
    metric="accuracy",
    base=(  # and --base=--dataset=idx:PATH
        "--flagfile=experiments/recipes/fashion_mnist.flags",
        "--validation=0.16667",
        "--epochs=2",
        "--warmup_epochs=0.3",
    ),
    factors={
        "learning_rate": (0.1, 0.05, 0.2),
        "augment": ("flip", "crop:2,flip", "crop:2,flip,cutout:8"),
    },
    design="one_at_a_time",
    seeds=3,
    difference=0.002,
)
