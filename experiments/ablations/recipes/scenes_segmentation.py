"""Whether the defaults of segmentation are right for the scenes."""

from experiments.ablation import Study

STUDY = Study(
    experiment="segmentation",
    metric="mean_iou",
    base=("--dataset=scenes", "--validation=0.2"),
    factors={
        "loss": ("cross_entropy+dice", "cross_entropy"),
        "learning_rate": (0.02, 0.04),
    },
    design="one_at_a_time",
    difference=0.01,
)
