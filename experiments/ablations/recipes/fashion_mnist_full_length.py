"""Whether crops are better left out, as by two epochs, for all seven."""

from experiments.ablation import Study

STUDY = Study(
    experiment="classification",
    metric="accuracy",
    base=(  # and --base=--dataset=idx:PATH
        "--flagfile=experiments/recipes/fashion_mnist.flags",
        "--validation=0.16667",
        "--eval_every=7",
    ),
    factors={"augment": ("flip", "crop:2,flip")},
    seeds=3,
    difference=0.002,
)
