"""From pictures to crops: on pictures made here, where it is known what stands where."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import segment
from hypothesis import given, settings
from hypothesis import strategies as st
from make_samples import BLACK_INK, BOARD, CHALK, CREAM, GRAPHITE, WHITE, Page
from PIL import Image
from segment import find_digits, normalise, open_picture, open_to_read

from errors import UserError

PHOTOS = Path(__file__).resolve().parent.parent / ".." / "shared" / "photos"


@pytest.fixture(scope="session")
def digits(mnist):
    return [mnist.test_images[mnist.test_labels == digit] for digit in range(10)]


def agree(found, boxes):
    """Whether the digits that were found are those in these boxes, in this order: centres inside, sizes alike."""
    if len(found) != len(boxes):
        return False
    for digit, (x, y, width, height) in zip(found, boxes, strict=True):
        left, top, found_width, found_height = digit.box
        inside = x <= left + found_width / 2 <= x + width and y <= top + found_height / 2 <= y + height
        if not inside or not 0.6 * height < found_height < 1.5 * height:
            return False
    return True


def row_page(digits, text="3602485", paper=WHITE, ink=BLACK_INK, seed=1, **options):
    """A page with one row of digits, and their boxes."""
    page = Page(1000, 400, paper, seed, digits)
    return page, page.write(text, 60, 140, 110, ink, **options)


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
def test_finds_each_digit_in_order(digits, nuisance, seed):
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
def test_ink_of_every_kind(digits, paper, ink, options):
    page, boxes = row_page(digits, paper=paper, ink=ink, spacing=0.5, **options)
    page.light(0.7)
    assert agree(find_digits(page.expose()), boxes)


@pytest.mark.parametrize("desk", [(40, 34, 30), (15, 15, 18), (90, 60, 40)], ids=("brown", "black", "wood"))
def test_sheet_on_a_desk(digits, desk):
    page = Page(1000, 640, WHITE, 3, digits)
    page.write("7320", 130, 100, 150)
    page.write("508", 220, 380, 150)
    page.lie_on_desk(1200, 900, 5, desk)
    assert [digit.line for digit in find_digits(page.expose())] == [0, 0, 0, 0, 1, 1, 1]


def printed(text, shape):
    letters = np.zeros(shape, np.uint8)
    cv2.putText(letters, text, (20, 850), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 150, 5)
    return letters


def test_print_on_the_desk_is_not_read(digits):
    page = Page(700, 500, WHITE, 4, digits)
    page.write("4071", 100, 180, 120)
    page.lie_on_desk(1200, 900, 5, (35, 35, 38), scale=0.6)
    page.picture[:] = np.maximum(page.picture, printed("MOUSE", page.picture.shape[:2])[:, :, None])
    assert len(find_digits(page.expose())) == 4


@pytest.mark.parametrize("seed", (1, 2))
def test_a_sheet_may_darken_as_far_as_a_desk(digits, seed):
    page, boxes = row_page(digits, seed=seed)
    page.picture *= np.linspace(1, 0.3, page.picture.shape[1], dtype=np.float32)[:, None]
    assert agree(find_digits(page.expose()), boxes)


def test_dim_and_faint_writing_is_still_dark_on_light(digits):
    page, boxes = row_page(digits, ink=(186, 186, 188), stroke=6, opacity=1.0)
    page.picture *= 0.3
    assert agree(find_digits(page.expose(noise=0)), boxes)


def test_a_binding_is_no_digit_and_hides_none(digits):
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
def test_every_step_is_needed(digits, monkeypatch, step):
    picture, boxes = page_for(step, digits)
    assert agree(find_digits(picture), boxes)
    left_out(monkeypatch, step)
    assert not agree(find_digits(picture), boxes)


def test_the_loose_bar_of_a_five_is_joined(digits, monkeypatch):
    page, _ = row_page(digits, "11")
    cv2.ellipse(page.picture, (500, 210), (40, 40), 0, -90, 130, BLACK_INK, 9)
    cv2.line(page.picture, (500, 170), (492, 145), BLACK_INK, 9)
    cv2.line(page.picture, (505, 128), (560, 124), BLACK_INK, 9)
    picture = page.expose()
    assert find_digits(picture)[2].box[1] < 130  # its top is the bar's
    left_out(monkeypatch, "join_strokes")
    assert find_digits(picture)[2].box[1] > 130


def test_touching_digits_are_cut(digits, monkeypatch):
    page = Page(700, 360, WHITE, 23, digits)
    boxes = page.write("604", 60, 110, 130, spacing=-0.04)
    assert len(find_digits(page.expose(0))) == len(boxes)
    left_out(monkeypatch, "split_touching")
    assert len(find_digits(page.expose(0))) < len(boxes)


# -- sizes, lines, order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", (20, 32, 64, 200, 1000, 1730))
def test_pictures_of_every_size(digits, height):
    page = Page(4 * height, height, WHITE, 5, digits)
    boxes = page.write("2846", 0.25 * height, 0.2 * height, 0.6 * height, stroke=max(1.5, height / 16))
    found = find_digits(page.expose(noise=0, blur=0))
    assert agree(found, boxes)


def test_one_digit_that_fills_the_picture(digits):
    page = Page(250, 260, WHITE, 6, digits)
    boxes = page.write("5", 60, 20, 215, stroke=30)
    assert agree(find_digits(page.expose(0)), boxes)


def test_a_hundred_small_digits(digits):
    page = Page(1400, 1800, WHITE, 7, digits)
    boxes = [
        box for row in range(10) for box in page.write("0123456789", 150, 120 + 150 * row, 60, stroke=8, spacing=0.8)
    ]
    found = find_digits(page.expose())
    assert agree(found, boxes)
    assert [digit.line for digit in found] == [row for row in range(10) for _ in range(10)]


@pytest.mark.parametrize("slope", (-0.2, -0.1, 0.1, 0.2))
def test_sloping_lines_are_read_one_after_the_other(digits, slope):
    page = Page(1300, 1100, WHITE, 8, digits)
    boxes = [box for row in range(3) for box in page.write("246813", 80, 300 + 200 * row, 90, slope=slope)]
    found = find_digits(page.expose())
    assert agree(found, boxes)
    assert [digit.line for digit in found] == [0] * 6 + [1] * 6 + [2] * 6


def test_boxes_are_in_pixels_of_the_picture_and_lie_inside(digits):
    page, boxes = row_page(digits)
    large = cv2.resize(page.expose(), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    assert agree(find_digits(large), [tuple(3 * side for side in box) for box in boxes])


@pytest.mark.parametrize("value", (0, 128, 255))
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (300, 400)])
def test_empty_pictures_have_no_digit(value, shape):
    assert find_digits(np.full((*shape, 3), value, np.uint8)) == []


def test_an_empty_sheet_has_no_digit(digits):
    page = Page(1000, 700, CREAM, 9, digits)
    page.light(0.5)
    page.shadow(0.3)
    assert find_digits(page.expose()) == []


def test_an_empty_ruled_sheet_has_no_digit(digits):
    page = Page(1000, 700, WHITE, 10, digits)
    page.rules(60)
    assert find_digits(page.expose(1)) == []


def test_stages_are_shown(digits):
    page, _ = row_page(digits)
    stages = {}
    find_digits(page.expose(), stages=stages)
    assert len(stages) >= 4
    assert len({stage.shape[:2] for stage in stages.values()}) == 1


# -- normalise --------------------------------------------------------------------------------------------------------


def centre_of_mass(crop):
    total = crop.sum(dtype=float)
    return (crop.sum(axis=1) @ np.arange(28)) / total, (crop.sum(axis=0) @ np.arange(28)) / total


def stroke_image(points, thickness, side=120):
    image = np.zeros((side, side), np.uint8)
    cv2.polylines(image, [np.array(points, np.int32)], False, 255, thickness, cv2.LINE_AA)
    return image


POINTS = st.lists(st.tuples(st.integers(15, 105), st.integers(15, 105)), min_size=2, max_size=6).filter(
    lambda points: max(max(side) - min(side) for side in zip(*points, strict=True)) > 40
)


@settings(max_examples=60, deadline=None)
@given(POINTS, st.integers(3, 14))
def test_normalised_digits_are_20_pixels_long_and_centred(points, thickness):
    crop = normalise(stroke_image(points, thickness))
    assert crop.shape == (28, 28)
    assert crop.dtype == np.uint8
    _, _, width, height = cv2.boundingRect((crop > 100).astype(np.uint8))
    assert 18 <= max(width, height) <= 20
    _, _, width, height = box = cv2.boundingRect((crop > 0).astype(np.uint8))
    for middle, start, side in zip(centre_of_mass(crop), (box[1], box[0]), (height, width), strict=True):
        at_edge = start == 0 or start + side == 28  # very lopsided: moved no further than the edge
        assert at_edge or abs(middle - 13.5) <= 0.75


@pytest.mark.parametrize("factor", (2, 5))
def test_normalise_does_not_see_the_size(mnist, factor):
    changes = []
    for image in mnist.test_images[:50]:
        large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        changes.append(np.abs(normalise(image).astype(int) - normalise(large)).mean())
    assert np.mean(changes) < 6
    other = [
        np.abs(normalise(a).astype(int) - normalise(b)).mean()
        for a, b in zip(mnist.test_images[:50], mnist.test_images[1:51], strict=True)
    ]
    assert np.mean(other) > 25  # that is how much two digits differ


def test_normalise_keeps_the_aspect():
    image = np.zeros((100, 100), np.uint8)
    cv2.rectangle(image, (10, 30), (90, 70), 255, 6)
    _, _, width, height = cv2.boundingRect((normalise(image) > 100).astype(np.uint8))
    assert width / height == pytest.approx(86 / 46, rel=0.15)


@pytest.mark.parametrize("thickness", (4, 8, 16))
def test_normalise_brings_strokes_to_one_width(thickness):
    image = np.zeros((160, 160), np.uint8)
    cv2.circle(image, (80, 80), 60, 255, thickness)
    widths = (normalise(image).astype(float) / 255).sum(axis=1)[13:15].mean() / 2  # a row crosses the ring twice
    assert widths == pytest.approx(segment.STROKE_WIDTH, abs=0.4)


def test_normalise_straightens():
    upright, slanted = (np.zeros((120, 120), np.uint8) for _ in range(2))
    cv2.line(upright, (60, 15), (60, 105), 255, 8)
    cv2.line(slanted, (80, 15), (40, 105), 255, 8)
    for image in (upright, slanted):
        _, _, width, height = cv2.boundingRect((normalise(image) > 100).astype(np.uint8))
        assert height == 20
        assert width <= 4


def test_normalise_changes_little_the_second_time(mnist):
    once = [normalise(image) for image in mnist.test_images[:200]]
    changes = [np.abs(normalise(image).astype(int) - image).mean() for image in once]
    assert np.mean(changes) < 10
    assert np.mean([np.abs(normalise(image).astype(int) - image).mean() for image in mnist.test_images[:200]]) > 10


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (28, 28), (300, 5)])
def test_normalise_takes_any_shape(shape):
    assert not normalise(np.zeros(shape, np.uint8)).any()
    assert normalise(np.full(shape, 255, np.uint8)).any()


# -- open_picture -----------------------------------------------------------------------------------------------------


def gradient_picture():
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :, 0] = np.arange(60) * 4
    picture[:, :, 1] = np.arange(40)[:, None] * 6
    return picture


def test_exif_rotation_is_undone(tmp_path):
    upright = Image.fromarray(gradient_picture())
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    upright.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(open_picture(tmp_path / "turned.png"), gradient_picture())


@pytest.mark.parametrize("mode", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"))
def test_every_kind_of_picture(tmp_path, mode):
    grey = Image.fromarray(gradient_picture()).convert("L")
    values = np.asarray(grey)
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode == "I":
        image = Image.fromarray(values.astype(np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(values.astype(np.float32))
    else:
        image = grey.quantize(64) if mode == "P" else grey.convert("RGB").convert(mode)
    path = tmp_path / ("picture.tif" if mode in ("CMYK", "F", "I") else "picture.png")
    image.save(path)
    picture = open_picture(path)
    assert picture.shape == (40, 60, 3)
    assert picture.dtype == np.uint8
    if mode != "1":
        assert np.abs(picture.astype(int) - values[:, :, None]).mean() < 6


def test_what_is_transparent_is_white(tmp_path):
    layers = np.zeros((20, 20, 4), np.uint8)
    layers[5:10, 5:10, 3] = 255
    Image.fromarray(layers).save(tmp_path / "clear.png")
    picture = open_picture(tmp_path / "clear.png")
    assert (picture[0, 0] == 255).all()
    assert (picture[7, 7] == 0).all()


def test_transparent_palette(tmp_path):
    image = Image.new("P", (10, 10), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((3, 3), 1)
    image.save(tmp_path / "palette.png", transparency=0)
    picture = open_picture(tmp_path / "palette.png")
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[3, 3].tolist() == [200, 0, 0]


def bad_files(folder):
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("these are not the digits you are looking for")
    Image.fromarray(gradient_picture()).resize((600, 400)).save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:1500])
    Image.fromarray(gradient_picture()).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:60])
    (folder / "folder.jpg").mkdir()


@pytest.mark.parametrize("name", ("missing.jpg", "folder.jpg", "empty.jpg", "text.jpg", "cut.jpg", "cut.png"))
def test_what_is_not_a_picture_is_named_with_the_cause(tmp_path, name):
    bad_files(tmp_path)
    for open_it in (open_picture, open_to_read):
        with pytest.raises(UserError) as caught:
            open_it(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_too_many_pixels(tmp_path, monkeypatch):
    Image.fromarray(gradient_picture()).save(tmp_path / "bomb.png")
    monkeypatch.setattr(segment, "MAX_PIXELS", 1000)
    with pytest.raises(UserError, match="too many"):
        open_picture(tmp_path / "bomb.png")


# -- open_to_read: a large JPEG is decoded smaller ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_jpeg(digits, tmp_path_factory):
    """A 12-megapixel photo, upright and as a camera held on its side saves it, and the boxes of its digits."""
    folder = tmp_path_factory.mktemp("large")
    page = Page(4001, 2999, CREAM, 12, digits)
    boxes = page.write("2408", 700, 600, 260, stroke=20) + page.write("357", 900, 1700, 260, stroke=20)
    page.light(0.6)
    upright = Image.fromarray(page.expose())
    upright.save(folder / "upright.jpg", quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.rotate(90, expand=True).save(folder / "turned.jpg", quality=90, exif=exif)
    return folder, boxes


@pytest.mark.parametrize("name", ("upright.jpg", "turned.jpg"))
def test_boxes_are_in_pixels_of_the_whole_picture(large_jpeg, name):
    folder, boxes = large_jpeg
    picture, size = open_to_read(folder / name)
    assert size == (4001, 2999)
    assert 1600 <= picture.shape[1] < 2100  # half as wide: a quarter of the pixels to decode
    assert picture.shape[0] < picture.shape[1]
    found = find_digits(picture, size)
    assert agree(found, boxes)
    full = find_digits(open_picture(folder / name))
    assert np.abs(np.subtract([digit.box for digit in found], [digit.box for digit in full])).max() <= 10
    for small_one, full_one in zip(found, full, strict=True):
        assert np.abs(small_one.crop.astype(int) - full_one.crop).mean() < 15  # two different digits differ by over 25


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (40, 60), (3200, 30)])
def test_odd_shapes_are_opened(tmp_path, shape):
    Image.fromarray(np.full((*shape, 3), 200, np.uint8)).save(tmp_path / "odd.jpg")
    picture, size = open_to_read(tmp_path / "odd.jpg")
    assert size == shape[::-1]
    assert max(picture.shape) >= min(max(shape), 1600)
    assert find_digits(picture, size) == []


# -- photos, where they are at hand -----------------------------------------------------------------------------------


@pytest.mark.skipif(not PHOTOS.exists(), reason="the development photos are not here")
def test_photos_give_the_right_number_of_digits():
    import csv

    with open(PHOTOS / "manifest.tsv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    right = 0
    for row in rows:
        found = find_digits(*open_to_read(PHOTOS / row["file"]))
        right += len(found) == sum(character.isdigit() for character in row["label"])
    assert right / len(rows) >= 0.9
