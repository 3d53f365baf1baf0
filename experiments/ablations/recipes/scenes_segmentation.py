"""Whether the defaults of segmentation are right for the scenes, by 8 epochs of 16."""

from experiments.ablation import Study

STUDY = Study(
    experiment="segmentation",
    metric="mean_iou",
    base=("--dataset=scenes", "--validation=0.2", "--epochs=8", "--eval_every=8"),
    factors={
        "learning_rate": (0.02, 0.01, 0.04),
        "loss": ("cross_entropy", "cross_entropy+dice"),
        "augment": ("", "rotate:10"),
    },
    design="one_at_a_time",
    seeds=3,
    difference=0.01,
)
