"""The diameter of typical objects."""

import numpy as np
import pytest

from unet_deploy.objects.typical import Components


def discs(radius, count=4, side=400):
    labels = np.zeros((side, side), np.uint8)
    rows, columns = np.indices(labels.shape)
    for at in range(count):
        y, x = 60 + 120 * (at // 3), 60 + 120 * (at % 3)
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 1
    return labels


@pytest.mark.parametrize("step", [1, 4])
def test_discs_have_their_diameter_however_many_pixels_are_looked_at(step):
    seen = Components.of(discs(40), step)
    assert len(seen) == 4
    assert seen.diameter == pytest.approx(80, rel=0.03)


def test_specks_hardly_count():
    labels = discs(40)
    labels[::20, ::20] |= 1
    seen = Components.of(labels)
    assert len(seen) > 100
    assert seen.diameter == pytest.approx(80, rel=0.03)


def test_parts_add_up_and_nothing_has_no_diameter():
    left, right = discs(30), discs(45)
    parts, whole = Components.of(left) + Components.of(right), Components.of(np.hstack([left, right]))
    assert sorted(parts.areas) == sorted(whole.areas)
    assert parts.diameter == whole.diameter
    assert Components.of(np.zeros((5, 5), np.uint8)).diameter is None


def test_objects_of_two_classes_that_touch_are_two():
    labels = np.zeros((20, 20), np.uint8)
    labels[:, :10], labels[:, 10:] = 1, 2
    assert Components.of(labels).areas.tolist() == [200, 200]


def test_a_string_of_objects_that_touch_counts_by_its_width():
    labels = discs(20, count=6)
    labels[175:185, 40:320] = 1
    assert Components.of(labels).diameter == pytest.approx(40, rel=0.2)
