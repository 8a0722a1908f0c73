"""Which side of a picture is the ink, dark or light: on pages made here, on their negatives, and on single digits."""

import cv2
import numpy as np
import pytest
from pages import row_page

from photos.ink import ink_scales, scale_picture
from photos.page import BLACK_INK, BOARD, CHALK, GRAPHITE, WHITE

pytest_plugins = ["photo_fixtures"]


def sides(picture):
    """light_on_dark of each hypothesis, the likelier first."""
    return [scale.light_on_dark for scale in ink_scales(scale_picture(picture))]


PAGES = {
    "thin": (WHITE, BLACK_INK, {"stroke": 4}),
    "thick": (WHITE, BLACK_INK, {"stroke": 26}),
    "far apart": (WHITE, BLACK_INK, {"text": "111", "spacing": 2.0, "stroke": 8}),
    "faint": (WHITE, GRAPHITE, {"opacity": 0.4}),
    "chalk": (BOARD, CHALK, {}),
}


@pytest.mark.parametrize("name", PAGES)
def test_the_ink_is_found_on_both_sides(digits, name):
    paper, ink, options = PAGES[name]
    page, _ = row_page(digits, paper=paper, ink=ink, **options)
    picture = page.expose()
    light_on_dark = name == "chalk"
    assert sides(picture) == [light_on_dark]  # the only hypothesis
    assert sides(255 - picture) == [not light_on_dark]


def test_squares_that_reach_the_border_are_ink_too(digits):
    page, _ = row_page(digits)
    page.rules(50, squared=True)
    assert sides(page.expose())[0] is False


@pytest.mark.parametrize("margin", (0, 2))
def test_a_digit_that_fills_its_picture_has_the_right_side_in_the_list(digits, margin):
    for images in digits:
        rows, columns = np.nonzero(images[0])
        digit = images[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        digit = cv2.resize(np.pad(digit, margin), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
        picture = np.repeat(digit[:, :, None], 3, axis=2)
        assert True in sides(picture)
        assert False in sides(255 - picture)


@pytest.mark.parametrize("level", (0, 128, 255))
def test_an_empty_picture_may_hold_either(level):
    assert [scale.light_on_dark for scale in ink_scales(np.full((300, 400), level, np.uint8))] == [False, True]


@pytest.mark.parametrize("stroke", (5, 12, 24))
def test_the_window_is_wider_than_the_strokes(digits, stroke):
    page, _ = row_page(digits, stroke=stroke)
    grey = scale_picture(page.expose())
    stroke *= grey.shape[1] / page.picture.shape[1]
    window = ink_scales(grey)[0].window
    assert window % 2 == 1
    assert 3 * stroke < window < max(30 * stroke, 100)
