"""An experiment whose runs take a moment: no JAX in their processes."""


def __getattr__(name):
    if name != "EXPERIMENT":
        raise AttributeError(name)
    from tests.experiments.ablation import quick_experiment

    return quick_experiment.EXPERIMENT
