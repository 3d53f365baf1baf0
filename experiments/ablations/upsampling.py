"""How a U-Net best brings its maps back to the size of the image."""

from experiments.ablation import Study

STUDY = Study(
    experiment="segmentation",
    metric="mean_iou",
    base=("--dataset=scenes", "--validation=0.2", "--loss=cross_entropy"),
    factors={"upsampling": ("transpose", "nearest", "unpool", "resize")},
    difference=0.01,
)
