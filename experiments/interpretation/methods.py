"""All methods by name; a further one has its row here."""

from experiments.interpretation.asked import Method
from experiments.interpretation.attacks import attacks
from experiments.interpretation.dreams import dream, maximize
from experiments.interpretation.faithfulness import faithfulness
from experiments.interpretation.filters import filters
from experiments.interpretation.maps import maps
from experiments.interpretation.patches import patches
from experiments.interpretation.predict import predict
from experiments.interpretation.robustness import robustness

_CLASS = ("label", "pixel")
_MANY = ("image", "dataset", "count")
_ATTACK = (*_MANY, *_CLASS, "epsilon")

METHODS: dict[str, Method] = {
    "predict": Method(predict, (*_MANY, *_CLASS)),
    "saliency": Method(maps("saliency"), (*_MANY, *_CLASS)),
    "smooth_grad": Method(maps("smooth_grad"), (*_MANY, *_CLASS, "samples", "seed")),
    "integrated_gradients": Method(
        maps("integrated_gradients"), (*_MANY, *_CLASS, "steps")
    ),
    "guided_backprop": Method(maps("guided_backprop"), (*_MANY, *_CLASS)),
    "occlusion": Method(maps("occlusion"), (*_MANY, *_CLASS, "square")),
    "grad_cam": Method(maps("grad_cam"), (*_MANY, *_CLASS, "layer")),
    "grad_cam_plus_plus": Method(
        maps("grad_cam_plus_plus"), (*_MANY, *_CLASS, "layer")
    ),
    "layer_cam": Method(maps("layer_cam"), (*_MANY, *_CLASS, "layer")),
    "filters": Method(filters),
    "patches": Method(patches, (*_MANY, "layer", "units", "top")),
    "maximize": Method(maximize, ("layer", "units", "label", "steps", "seed")),
    "dream": Method(dream, (*_MANY, "layer", "units", "steps", "seed")),
    "fgsm": Method(attacks("fgsm"), _ATTACK),
    "pgd": Method(attacks("pgd"), (*_ATTACK, "distance", "steps", "seed")),
    "apgd": Method(attacks("apgd"), (*_ATTACK, "distance", "steps", "seed")),
    "robustness": Method(robustness, (*_MANY, "epsilons", "distance", "steps", "seed")),
    "faithfulness": Method(
        faithfulness, (*_MANY, *_CLASS, "layer", "samples", "steps", "seed")
    ),
}
