"""From pictures to crops: on pictures made here, where it is known what stands where."""

import cv2
import numpy as np
import pytest
from pages import agree, row_page

from photos import segment
from photos.page import BLACK_INK, BOARD, CHALK, CREAM, GRAPHITE, WHITE, Page

pytest_plugins = ["photo_fixtures"]

# -- what is in the way, one thing at a time --------------------------------------------------------------------------


def plain(page):
    pass


def light(page):
    page.light(0.4, (1.0, 0.3))


def shadow(page):
    page.shadow(0.45)


def soft_shadow(page):
    page.shadow(0.45, softness=0.1)


def rules(page):
    page.rules(100, first=50, tilt=0.01)


def squares(page):
    page.rules(50, squared=True)


def frame(page):
    cv2.rectangle(page.picture, (20, 30), (980, 370), BLACK_INK, 4)


def underline(page):
    page.line((60, 300), (900, 290), BLACK_INK, 5)


def specks(page):
    page.specks(30)


NUISANCES = (plain, light, shadow, soft_shadow, rules, squares, frame, underline, specks)


@pytest.mark.parametrize("nuisance", NUISANCES, ids=lambda nuisance: nuisance.__name__)
@pytest.mark.parametrize("seed", (1, 2))
def test_finds_each_digit_in_order(digits, find_digits, nuisance, seed):
    page, boxes = row_page(digits, seed=seed)
    nuisance(page)
    assert agree(find_digits(page.expose()), boxes)


@pytest.mark.parametrize(
    ("paper", "ink", "options"),
    [
        (BOARD, CHALK, {}),
        ((0, 0, 0), (255, 255, 255), {}),
        (CREAM, (40, 60, 160), {}),
        (WHITE, GRAPHITE, {"opacity": 0.5}),
        (WHITE, BLACK_INK, {"stroke": 5}),
        (WHITE, BLACK_INK, {"stroke": 24}),
    ],
    ids=("chalk", "white on black", "blue on cream", "pencil", "thin", "thick"),
)
def test_ink_of_every_kind(digits, find_digits, paper, ink, options):
    page, boxes = row_page(digits, paper=paper, ink=ink, spacing=0.5, **options)
    page.light(0.7)
    assert agree(find_digits(page.expose()), boxes)


@pytest.mark.parametrize("desk", [(40, 34, 30), (15, 15, 18), (90, 60, 40)], ids=("brown", "black", "wood"))
def test_sheet_on_a_desk(digits, find_digits, desk):
    page = Page(1000, 640, WHITE, 3, digits)
    page.write("7320", 130, 100, 150)
    page.write("508", 220, 380, 150)
    page.lie_on_desk(1200, 900, 5, desk)
    assert [digit.line for digit in find_digits(page.expose())] == [0, 0, 0, 0, 1, 1, 1]


def printed(text, shape):
    letters = np.zeros(shape, np.uint8)
    cv2.putText(letters, text, (20, 850), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 150, 5)
    return letters


def test_print_on_the_desk_is_not_read(digits, find_digits):
    page = Page(700, 500, WHITE, 4, digits)
    page.write("4071", 100, 180, 120)
    page.lie_on_desk(1200, 900, 5, (35, 35, 38), scale=0.6)
    page.picture[:] = np.maximum(page.picture, printed("MOUSE", page.picture.shape[:2])[:, :, None])
    assert len(find_digits(page.expose())) == 4


@pytest.mark.parametrize("seed", (1, 2))
def test_a_sheet_may_darken_as_far_as_a_desk(digits, find_digits, seed):
    page, boxes = row_page(digits, seed=seed)
    page.picture *= np.linspace(1, 0.3, page.picture.shape[1], dtype=np.float32)[:, None]
    assert agree(find_digits(page.expose()), boxes)


def test_dim_and_faint_writing_is_still_dark_on_light(digits, find_digits):
    page, boxes = row_page(digits, ink=(186, 186, 188), stroke=6, opacity=1.0)
    page.picture *= 0.3
    assert agree(find_digits(page.expose(noise=0)), boxes)


def test_a_binding_is_no_digit_and_hides_none(digits, find_digits):
    page = Page(1000, 700, WHITE, 11, digits)
    page.picture[:, :90] = (30, 110, 90)
    boxes = [box for row in range(3) for box in page.write("60517", 200, 130 + 180 * row, 80, stroke=9)]
    page.lie_on_desk(1300, 1000, 4, desk=(185, 170, 150), scale=0.8)
    assert len(find_digits(page.expose())) == len(boxes)


# Each step is switched off in turn. It must matter: the picture that needs it is no longer read right.


def left_out(monkeypatch, step):
    replacement = {
        "remove_rules": lambda ink: ink,
        "remove_frames": lambda ink: ink,
        "drop_stray_marks": lambda glyphs, height: glyphs,
        "join_strokes": lambda glyphs, height: glyphs,
        "split_touching": lambda glyphs, height: glyphs,
    }[step]
    monkeypatch.setattr(segment, step, replacement)


def page_for(step, digits):
    if step == "remove_frames":
        page, boxes = row_page(digits)
        cv2.rectangle(page.picture, (25, 80), (975, 330), BLACK_INK, 4)
        return page.expose(), boxes
    page, boxes = row_page(digits)
    if step == "remove_rules":
        page.rules(100, first=50, ink=BLACK_INK, thickness=4)
    else:
        page.specks(30, largest=9)
    return page.expose(), boxes


@pytest.mark.parametrize("step", ("remove_rules", "remove_frames", "drop_stray_marks"))
def test_every_step_is_needed(digits, find_digits, monkeypatch, step):
    picture, boxes = page_for(step, digits)
    assert agree(find_digits(picture), boxes)
    left_out(monkeypatch, step)
    assert not agree(find_digits(picture), boxes)


def test_the_loose_bar_of_a_five_is_joined(digits, find_digits, monkeypatch):
    page, _ = row_page(digits, "11")
    cv2.ellipse(page.picture, (500, 210), (40, 40), 0, -90, 130, BLACK_INK, 9)
    cv2.line(page.picture, (500, 170), (492, 145), BLACK_INK, 9)
    cv2.line(page.picture, (505, 128), (560, 124), BLACK_INK, 9)
    picture = page.expose()
    assert find_digits(picture)[2].box[1] < 130  # its top is the bar's
    left_out(monkeypatch, "join_strokes")
    assert find_digits(picture)[2].box[1] > 130


def test_touching_digits_are_cut(digits, find_digits, monkeypatch):
    page = Page(700, 360, WHITE, 23, digits)
    boxes = page.write("604", 60, 110, 130, spacing=-0.04)
    assert len(find_digits(page.expose(0))) == len(boxes)
    left_out(monkeypatch, "split_touching")
    assert len(find_digits(page.expose(0))) < len(boxes)


# -- sizes, lines, order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", (20, 32, 64, 200, 1000, 1730))
def test_pictures_of_every_size(digits, find_digits, height):
    page = Page(4 * height, height, WHITE, 5, digits)
    boxes = page.write("2846", 0.25 * height, 0.2 * height, 0.6 * height, stroke=max(1.5, height / 16))
    found = find_digits(page.expose(noise=0, blur=0))
    assert agree(found, boxes)


def test_one_digit_that_fills_the_picture(digits, find_digits):
    page = Page(250, 260, WHITE, 6, digits)
    boxes = page.write("5", 60, 20, 215, stroke=30)
    assert agree(find_digits(page.expose(0)), boxes)


def test_a_hundred_small_digits(digits, find_digits):
    page = Page(1400, 1800, WHITE, 7, digits)
    boxes = [
        box for row in range(10) for box in page.write("0123456789", 150, 120 + 150 * row, 60, stroke=8, spacing=0.8)
    ]
    found = find_digits(page.expose())
    assert agree(found, boxes)
    assert [digit.line for digit in found] == [row for row in range(10) for _ in range(10)]


@pytest.mark.parametrize("slope", (-0.2, -0.1, 0.1, 0.2))
def test_sloping_lines_are_read_one_after_the_other(digits, find_digits, slope):
    page = Page(1300, 1100, WHITE, 8, digits)
    boxes = [box for row in range(3) for box in page.write("246813", 80, 300 + 200 * row, 90, slope=slope)]
    found = find_digits(page.expose())
    assert agree(found, boxes)
    assert [digit.line for digit in found] == [0] * 6 + [1] * 6 + [2] * 6


def test_boxes_are_in_pixels_of_the_picture_and_lie_inside(digits, find_digits):
    page, boxes = row_page(digits)
    large = cv2.resize(page.expose(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    assert agree(find_digits(large), [tuple(3 * side for side in box) for box in boxes])


@pytest.mark.parametrize("value", (0, 128, 255))
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (300, 400)])
def test_empty_pictures_have_no_digit(find_digits, value, shape):
    assert find_digits(np.full((*shape, 3), value, np.uint8)) == []


def test_an_empty_sheet_has_no_digit(digits, find_digits):
    page = Page(1000, 700, CREAM, 9, digits)
    page.light(0.5)
    page.shadow(0.3)
    assert find_digits(page.expose()) == []


def test_an_empty_ruled_sheet_has_no_digit(digits, find_digits):
    page = Page(1000, 700, WHITE, 10, digits)
    page.rules(60)
    assert find_digits(page.expose(1)) == []


def test_stages_are_shown(digits, find_digits):
    page, _ = row_page(digits)
    stages = {}
    find_digits(page.expose(), stages=stages)
    assert len(stages) >= 4
    assert len({stage.shape[:2] for stage in stages.values()}) == 1
