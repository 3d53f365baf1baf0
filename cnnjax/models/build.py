"""PROVISIONAL."""

import dataclasses
from cnnjax.errors import UsageError
from cnnjax.options import option


@dataclasses.dataclass
class Own:
    type: type
    field: object


def own_options(models):
    if "unet" in models:
        return {
            "depth": Own(int, option(None, "d", at_least=1, at_most=8)),
            "upsampling": Own(str, option(None, "u")),
            "padding": Own(str, option(None, "p")),
            "dilation": Own(int, option(None, "d")),
            "unpooling": Own(str, option(None, "x")),
        }
    if "lenet" in models:
        return {"stem": Own(str, option(None, "s", choices=("imagenet", "small")))}
    return {"window": None, "refine": None}


def build(models, name, *, classes, options, **shared):
    given = {k: v for k, v in options.items() if v is not None}
    model = models[name](classes=classes)
    for k in given:
        if not hasattr(model, k):
            raise UsageError(f"--{k} is not for --model={name}; leave it out.")
    return models[name](classes=classes, **given, **shared)
