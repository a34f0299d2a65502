"""Tests of finding photos that are unlike the others in light or sharpness."""

import numpy as np

from tasks.inspection.outliers import Outlier, brightness_of, too_blurred, too_bright, too_dark


def test_a_dark_and_a_bright_photo_among_usual_ones_are_found_and_no_other() -> None:
    usual = np.random.default_rng(0).normal(120, 12, 200)
    levels = np.concatenate([usual, [6.0, 250.0, 70.0]])
    assert too_dark(levels) == [Outlier(200, 6.0)]
    assert too_bright(levels) == [Outlier(201, 250.0)]


def test_a_set_that_is_dark_as_a_whole_has_no_dark_outlier() -> None:
    assert too_dark(np.random.default_rng(0).normal(20, 4, 300)) == []


def test_blurred_photos_are_found_by_their_order_of_magnitude_the_worst_first() -> None:
    sharpness = np.exp(np.random.default_rng(1).normal(6, 0.5, 200))
    sharpness[[17, 90]] = 0.9, 0.2
    assert [each.row for each in too_blurred(sharpness)] == [90, 17]


def test_photos_that_are_all_alike_and_none_at_all_have_no_outliers() -> None:
    assert too_blurred(np.full(50, 3.0)) == too_dark(np.full(50, 3.0)) == too_bright(np.array([])) == []


def test_brightness_is_the_mean_level_of_a_thumbnail() -> None:
    assert brightness_of([bytes([10] * 128 + [30] * 128)]).tolist() == [20.0]
