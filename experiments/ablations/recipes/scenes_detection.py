"""Whether the defaults of detection are right for the scenes, by 8 epochs of 16."""

from experiments.ablation import Study

STUDY = Study(
    experiment="detection",
    metric="ap",
    base=("--dataset=scenes", "--validation=0.2", "--epochs=8"),
    factors={
        "learning_rate": (0.02, 0.01, 0.04),
        "mining_rounds": (2, 1),
        "augment": ("", "jitter:0.2"),
    },
    design="one_at_a_time",
    seeds=3,
    difference=0.01,
)
