import numpy as np
import pytest

from cnnjax import detection


def loops(size, stride, scales, ratios):
    boxes = np.zeros((*size, len(ratios) * len(scales), 4))
    for row, column, i, j in np.ndindex(*size, len(ratios), len(scales)):
        y, x = (row + 0.5) * stride[0], (column + 0.5) * stride[1]
        # height * width = scale^2 and height / width = ratio
        height, width = scales[j] * ratios[i] ** 0.5, scales[j] / ratios[i] ** 0.5
        boxes[row, column, i * len(scales) + j] = (
            x - width / 2,
            y - height / 2,
            x + width / 2,
            y + height / 2,
        )
    return boxes


@pytest.mark.parametrize("stride", [(4, 4), (8, 3)])
def test_matches_loops(stride):
    scales, ratios = (8, 16, 40.5), (0.5, 1, 2)
    got = detection.anchors((3, 5), stride=stride, scales=scales, aspect_ratios=ratios)
    expected = loops((3, 5), stride, scales, ratios)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-5)
    assert got.dtype == np.float32


def test_boxes_of_the_stride_tile_the_image():
    got = detection.anchors((2, 3), stride=4, scales=[4], aspect_ratios=[1])
    covered = np.zeros((8, 12), int)
    for x1, y1, x2, y2 in np.asarray(got, int).reshape(-1, 4):
        covered[y1:y2, x1:x2] += 1
    np.testing.assert_array_equal(covered, 1)
