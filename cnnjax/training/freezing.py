"""Parameters that stay as they are: no gradient, no state of the optimizer.

They are named by a regular expression that is found in the paths of parameters, as
"stem|stage[12]" in "stage1_block1/unit1/conv/kernel".
"""

import re
from typing import Any

import optax
from flax import traverse_util
from jaxtyping import PyTree

from cnnjax.errors import UsageError


def split(params: PyTree, pattern: str) -> tuple[PyTree, PyTree]:
    """The parameters that are trained, and those that are frozen."""
    if not pattern:
        return params, {}
    flat = traverse_util.flatten_dict(params, sep="/")
    found = {name: re.search(pattern, name) is not None for name in flat}
    trained, frozen = (
        {name: x for name, x in flat.items() if found[name] is which}
        for which in (False, True)
    )
    return _nested(trained), _nested(frozen)


def joined(trained: PyTree, frozen: PyTree) -> PyTree:
    """The parameters that `split` took apart."""
    if not frozen:
        return trained
    parts = (traverse_util.flatten_dict(part, sep="/") for part in (trained, frozen))
    return _nested({name: x for part in parts for name, x in part.items()})


def of_trained(
    rule: optax.GradientTransformation, pattern: str
) -> optax.GradientTransformation:
    """An optimizer whose first state is of the trained ones of all parameters."""

    def init(params: PyTree) -> optax.OptState:
        return rule.init(split(params, pattern)[0])

    return optax.GradientTransformation(init, rule.update)


def check(pattern: str, params: PyTree) -> None:
    """Refuses a pattern that freezes nothing or everything.

    Raises:
        UsageError: if it does, or is no regular expression.
    """
    if not pattern:
        return
    names = traverse_util.flatten_dict(params, sep="/")
    try:
        trained, frozen = split(params, pattern)
    except re.error as error:
        raise UsageError(
            f"--freeze={pattern} is no regular expression: {error}."
        ) from error
    for part, what in ((frozen, "none"), (trained, "all")):
        if not part:
            raise UsageError(
                f"--freeze={pattern} is found in {what} of the parameters' names, such"
                f" as {', '.join(sorted({name.split('/')[0] for name in names}))}."
            )


def _nested(flat: dict[str, Any]) -> PyTree:
    return traverse_util.unflatten_dict(flat, sep="/")
