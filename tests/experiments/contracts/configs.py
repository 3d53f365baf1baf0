"""Each experiment with flags that make it tiny and use all that draws numbers.

All of them have 22 steps an epoch.
"""

from experiments import classification, detection, segmentation
from tests import synthetic

EXPERIMENTS = ("classification", "segmentation", "detection")
# With those that the contracts of numbers hold for, too.
RUNS = (*EXPERIMENTS, "adversarial_training", "faster_rcnn")
SCORES = {
    "classification": "accuracy",
    "adversarial_training": "accuracy",
    "segmentation": "mean_iou",
    "detection": "ap50",
    "faster_rcnn": "ap50",
}
STEPS = 3 * 22


def write_data(folder):
    """The data of the configs."""
    synthetic.write_masks(folder / "masks/train", count=176, size=16)
    synthetic.write_masks(folder / "masks/test", count=44, size=16, start=1)
    synthetic.write_boxes(folder / "boxes", train=22, test=10, size=40)
    synthetic.write_boxes(folder / "many_boxes", train=176, test=10, size=32)


def tiny(folder):
    """Name of each experiment -> its config, on the data in `folder`."""
    return {
        "classification": classification.Config(
            model="lenet",
            norm="batch",
            width=0.5,
            image_size=28,
            epochs=3,
            learning_rate=0.1,
            augment="crop:1,cutout:2,mixup",
            dropout=0.1,
            ema=0.9,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
        "segmentation": segmentation.Config(
            dataset=f"masks:{folder / 'masks'}",
            depth=1,
            width=1 / 16,
            epochs=3,
            batch_size=8,
            optimizer="sgd",
            learning_rate=0.1,
            border_weight=1.0,
            crop_size=12,
            augment="flip,rotate:10,elastic:2,noise:0.02",
            dropout=0.1,
            ema=0.9,
            eval_every=1,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
        # 44 objects, three windows of background for each; mined after steps 22 and 44.
        "detection": detection.Config(
            dataset=f"voc:{folder / 'boxes'}",
            window=24,
            shapes=2,
            width=0.25,
            epochs=3,
            batch_size=8,
            image_batch=8,
            max_detections=10,
            mining_rounds=2,
            mining_images=12,
            optimizer="sgd",
            learning_rate=0.02,
            augment="flip,rot90,jitter:0.1,noise:0.02",
            dropout=0.1,
            ema=0.9,
            eval_every=1,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
        "adversarial_training": classification.Config(
            model="lenet",
            width=0.5,
            image_size=28,
            epochs=3,
            learning_rate=0.1,
            augment="crop:1",
            adversarial_training=0.05,
            adversarial_steps=2,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
        "faster_rcnn": detection.Config(
            dataset=f"voc:{folder / 'many_boxes'}",
            model="faster_rcnn",
            norm="frozen",
            width=1 / 16,
            epochs=3,
            batch_size=8,
            image_batch=8,
            candidates=20,
            max_proposals=12,
            sampled_regions=12,
            max_detections=10,
            optimizer="sgd",
            learning_rate=0.02,
            augment="flip,scale:0.2,noise:0.02",
            eval_every=3,
            checkpoint_every=0.5,
            tune_cpu=False,
        ),
    }
