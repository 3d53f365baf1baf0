import pytest

from cnnjax.errors import UsageError
from experiments import network
from experiments.config import NetworkConfig


@pytest.mark.parametrize(
    ("smoothing", "terms"),
    [
        (0.1, (("cross_entropy", 1.0),)),
        (0.1, (("focal", 1.0), ("cross_entropy", 0.5))),
        (0.0, (("focal", 1.0),)),
    ],
)
def test_labels_are_smoothed_where_the_cross_entropy_is(smoothing, terms):
    network.check_smoothing(NetworkConfig(label_smoothing=smoothing), terms)


def test_smoothing_that_nothing_would_do_is_refused():
    with pytest.raises(UsageError) as caught:
        network.check_smoothing(
            NetworkConfig(label_smoothing=0.1), (("focal", 1.0), ("dice", 1.0))
        )
    assert "--label_smoothing=0.1 is of the cross entropy" in str(caught.value)
    assert "--label_smoothing=0 would do." in str(caught.value)
