"""Whether it matters what a convolution sees beyond the border of its map.

The first convolution of LeNet-5 keeps the size of 28x28 pixels by padding; the paper's
images had 32x32 and no padding. All cells see images of 32x32.
"""

from experiments.ablation import Study

STUDY = Study(
    experiment="classification",
    metric="accuracy",
    base=("--dataset=digits", "--validation=0.2", "--model=lenet", "--image_size=32"),
    factors={"padding_mode": ("zeros", "reflect", "symmetric", "none")},
    difference=0.005,
)
