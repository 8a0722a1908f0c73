"""The distortion of every epoch: ink goes where the mathematics says, by amounts that nothing but chance decides."""

import math

import numba
import numpy as np
import pytest

from distortion import NUM_DRAWS, RANGES, distort_images, draw_distortions
from network import epoch_order


def dot(x, y):
    """One image (1, 28, 28) with a soft dot around (x, y), both in pixels."""
    rows, columns = np.mgrid[:28, :28]
    return np.round(255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4)).astype(np.uint8)[None]


def middle_of_ink(image):
    """(x, y) of the centre of mass."""
    rows, columns = np.mgrid[:28, :28]
    return (columns * image.astype(float)).sum() / image.sum(), (rows * image.astype(float)).sum() / image.sum()


def only(**values):
    """The draws of one image, all zeros but these."""
    return np.array([[values.get(name, 0) for name in RANGES]], np.float32)


# -- what it does to an image -----------------------------------------------------------------------------------------


def test_a_distortion_of_zeros_gives_the_images_back(mnist):
    images = mnist.train_images[:50]
    np.testing.assert_array_equal(distort_images(images, np.zeros((50, NUM_DRAWS), np.float32)), images)


def test_distorted_images_are_new_and_uint8(mnist):
    images = mnist.train_images[:50]
    before = images.copy()
    distorted = distort_images(images, draw_distortions(50, seed=0, epoch=0))
    assert (distorted.shape, distorted.dtype) == ((50, 28, 28), np.uint8)
    np.testing.assert_array_equal(images, before)
    assert (distorted != images).any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"shift_x": 3, "shift_y": -2}, (8 + 3, 13.5 - 2)),
        ({"angle": math.radians(90)}, (13.5, 8)),  # clockwise: from left of the middle to above it
        ({"angle": math.radians(30)}, (13.5 - 5.5 * math.cos(math.pi / 6), 13.5 - 5.5 * math.sin(math.pi / 6))),
        ({"log_width": math.log(1.4)}, (13.5 - 1.4 * 5.5, 13.5)),
        ({"log_height": math.log(1.4)}, (8, 13.5)),
        ({"wave_x": 2, "phase_x": math.pi / 2}, (8 - 2, 13.5)),
        ({"wave_y": 2, "phase_y": -math.pi / 2}, (8, 13.5 + 2)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_dot_goes_where_the_mathematics_says(values, where):
    distorted = distort_images(dot(8, 13.5), only(**values))[0]
    np.testing.assert_allclose(middle_of_ink(distorted), where, atol=0.15)


def test_shear_moves_rows_against_each_other():
    above, below = (middle_of_ink(distort_images(dot(13.5, y), only(shear=0.2))[0]) for y in (8.5, 18.5))
    np.testing.assert_allclose([above, below], [(13.5 + 0.2 * 5, 8.5), (13.5 - 0.2 * 5, 18.5)], atol=0.15)


def test_an_uneven_width_widens_one_side_and_narrows_the_other():
    ramp = np.tile(np.arange(28, dtype=np.uint8) * 9, (28, 1))  # ink tells from which column it came
    distorted = distort_images(ramp[None], only(uneven_x=0.02))[0]
    for column in (8, 19):
        from_middle = column - 13.5
        assert distorted[14, column] == round(9 * (13.5 + from_middle + 0.02 * from_middle**2))


def test_pressure_darkens_or_lightens_grey_only():
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 10, :3] = 0, 128, 255
    for pressure, grey in ((0.2, 179), (-0.2, 77)):
        assert distort_images(image, only(pressure=pressure))[0, 10, :3].tolist() == [0, grey, 255]


def test_nothing_comes_in_from_outside():
    full = np.full((1, 28, 28), 255, np.uint8)
    shifted = distort_images(full, only(shift_x=5, shift_y=40))
    assert not shifted.any()
    shifted = distort_images(full, only(shift_x=5))[0]
    assert not shifted[:, :5].any() and (shifted[:, 5:] == 255).all()


# -- chance -----------------------------------------------------------------------------------------------------------


def test_distortions_depend_on_seed_and_epoch_alone():
    first = draw_distortions(100, seed=3, epoch=2)
    np.testing.assert_array_equal(first, draw_distortions(100, seed=3, epoch=2))
    for seed, epoch in ((3, 1), (4, 2)):
        assert (first != draw_distortions(100, seed, epoch)).all()


def test_distortions_stay_in_their_ranges():
    draws = draw_distortions(1000, seed=0, epoch=0)
    for drawn, (low, high) in zip(draws.T, RANGES.values(), strict=True):
        assert low - 1e-6 <= drawn.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < drawn.max() <= high + 1e-6
        assert abs(drawn.mean() - (low + high) / 2) < 0.05 * (high - low)


def test_draws_have_nothing_to_do_with_each_other():
    """Neither those of an image, nor those of one image and the next, nor those of one epoch and the next."""
    now, then = draw_distortions(2000, 0, 0), draw_distortions(2000, 0, 1)
    columns = np.hstack([now[:-1], now[1:], then[:-1]])
    assert np.abs(np.corrcoef(columns.T) - np.eye(columns.shape[1])).max() < 0.12


def test_distortions_have_nothing_to_do_with_the_order():
    order = epoch_order(0, 0, 1000)
    correlation = np.corrcoef(order, draw_distortions(1000, 0, 0)[:, 0])[0, 1]
    assert abs(correlation) < 0.12


def test_distorted_images_do_not_depend_on_the_threads(mnist):
    images, draws = mnist.train_images[:300], draw_distortions(300, 0, 0)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = distort_images(images, draws)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(alone, distort_images(images, draws))
