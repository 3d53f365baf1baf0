"""Whether it matters what a convolution sees beyond the border of its map."""

from experiments.ablation import Study

STUDY = Study(
    experiment="classification",
    metric="accuracy",
    base=("--dataset=digits", "--validation=0.2", "--epochs=2"),
    factors={"norm": ("none", "batch", "group"), "learning_rate": (0.05, 0.02)},
    design="one_at_a_time",
    seeds=3,
    difference=0.005,
)
