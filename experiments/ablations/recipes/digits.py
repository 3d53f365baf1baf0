"""Whether the defaults of classification are right for the digits."""

from experiments.ablation import Study

STUDY = Study(
    experiment="classification",
    metric="accuracy",
    base=("--dataset=digits", "--validation=0.2"),
    factors={
        "learning_rate": (0.05, 0.025, 0.1),
        "augment": ("crop:2", ""),
        "label_smoothing": (0.1, 0.0),
    },
    design="one_at_a_time",
    difference=0.005,
)
