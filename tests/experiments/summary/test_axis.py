import pytest

from cnnjax.ops.arithmetic import receptive_field
from experiments.summary.axis import Axis


def convolved(axis, window, stride, dilation, *, low=0):
    taps = range(0, window * dilation, dilation)
    return axis.gathered(lambda p: [stride * p - low + t for t in taps], inputs=stride)


def transposed(axis, window, stride):
    def reads(q):
        return [(q - t) // stride for t in range(window) if (q - t) % stride == 0]

    return axis.gathered(reads, outputs=stride)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [(3, 1, 1), (3, 1, 1)],
        [(7, 2, 1), (3, 2, 1), (3, 1, 1)],
        [(11, 4, 1), (3, 2, 1), (5, 1, 1), (3, 2, 1)],
        [(3, 1, 1), (3, 1, 2), (3, 1, 4)],
        [(2, 3, 2), (5, 2, 3)],
    ],
    ids=str,
)
def test_layers_that_shrink_agree_with_the_arithmetic(layers):
    axis = Axis()
    for layer in layers:
        axis = convolved(axis, *layer)
    assert (axis.size, axis.jump) == receptive_field(layers)
    assert len(axis.spans) == 1


def test_padding_moves_what_is_seen():
    axis = convolved(Axis(), 3, 2, 1, low=1)
    assert [axis.span(p) for p in (-1, 0, 4)] == [(-3, -1), (-1, 1), (7, 9)]


def test_neighbors_behind_a_transposed_convolution_differ():
    axis = transposed(convolved(Axis(), 2, 2, 1), 3, 2)  # of cells of two pixels
    assert [axis.span(p) for p in range(4)] == [(-2, 1), (0, 1), (0, 3), (2, 3)]
    assert (axis.size, axis.jump) == (4, 1)


def test_enlarged_images_have_a_jump_below_one():
    axis = transposed(Axis(), 2, 2)
    assert axis.jump * 2 == 1
    assert [axis.span(p) for p in range(4)] == [(0, 0), (0, 0), (1, 1), (1, 1)]


def test_what_lies_between_nails_sees_nothing():
    axis = transposed(Axis(), 1, 2)
    assert [axis.span(p) for p in range(3)] == [(0, 0), None, (1, 1)]
    assert axis.size == 1


def test_maps_that_join_see_what_both_see():
    cells = transposed(convolved(Axis(), 2, 2, 1), 2, 2)
    joined = cells.joined(convolved(Axis(), 3, 1, 1, low=1))
    assert [joined.span(p) for p in range(3)] == [(-1, 1), (0, 2), (1, 3)]
    assert joined.jump == 1


def test_refuses_to_join_maps_of_different_jumps():
    with pytest.raises(ValueError, match="one jump, got 1 and 2"):
        Axis().joined(convolved(Axis(), 1, 2, 1))
