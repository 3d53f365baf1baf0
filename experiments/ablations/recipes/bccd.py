"""Whether recipes/bccd.flags is right, by a third of its epochs."""

from experiments.ablation import Study

STUDY = Study(
    experiment="detection",
    metric="ap50",
    base=(  # and --base=--dataset=voc:PATH
        "--flagfile=experiments/recipes/bccd.flags",
        "--validation=0.25",
        "--epochs=7",
        "--eval_every=7",
        "--mining_rounds=2",
    ),
    factors={
        "learning_rate": (0.02, 0.01, 0.04),
        "augment": ("flip,flip_vertical,rot90,jitter:0.2", "flip,flip_vertical,rot90"),
        "iou_threshold": (0.5, 0.4),
    },
    design="one_at_a_time",
    seeds=3,
    difference=0.005,
)
