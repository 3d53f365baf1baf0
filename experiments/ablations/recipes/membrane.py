"""Whether recipes/membrane.flags is right, by a quarter of its epochs."""

from experiments.ablation import Study

STUDY = Study(
    experiment="segmentation",
    metric="mean_iou",
    base=(  # and --base=--dataset=masks:PATH
        "--flagfile=experiments/recipes/membrane.flags",
        "--validation=0.2",
        "--epochs=100",
        "--eval_every=100",
    ),
    factors={
        "learning_rate": (0.01, 0.005, 0.02),
        "loss": ("cross_entropy+dice", "cross_entropy"),
        "augment": ("rot90,flip,jitter:0.2", "rot90,flip"),
    },
    design="one_at_a_time",
    seeds=3,
    difference=0.005,
)
