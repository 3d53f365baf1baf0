"""Whether less augmentation, better for two epochs, is so for all seven."""

from experiments.ablation import Study

STUDY = Study(
    experiment="classification",
    metric="accuracy",
    base=(  # and --base=--dataset=idx:PATH
        "--flagfile=experiments/recipes/fashion_mnist.flags",
        "--validation=0.16667",
        "--eval_every=7",
    ),
    factors={"augment": ("crop:2,flip", "flip")},
    seeds=3,
    difference=0.002,
)
