"""What was read, drawn: boxes, labels and sheets, at the size that a person looks at."""

import shutil

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image, ImageFont

from errors import UserError
from photos.drawing import (
    DRAWN_SIDE,
    LEAST_SIDE,
    PANEL_SIDE,
    SMALLEST_TEXT,
    OutputNames,
    Panel,
    Said,
    annotate,
    confidence_colour,
    cut_to_width,
    failure_sheet,
    place_labels,
    save_image,
    tile,
)
from photos.reading import Digit, Reading
from photos.scoring import score_pictures

CROP = np.zeros((28, 28), np.uint8)


def reading_of(boxes, confidences):
    digits = [Digit(CROP, box, 0) for box in boxes]
    return Reading("x.png", digits, np.arange(len(boxes)), np.array(confidences, float))


def white(width, height):
    return np.full((height, width, 3), 255, np.uint8)


@pytest.mark.parametrize("side", [DRAWN_SIDE, PANEL_SIDE])
def test_boxes_shrink_with_the_picture(side):
    """The ink of the drawing, but for the label above it, is around the box; the colour tells the confidence."""
    image = annotate(white(3200, 1600), reading_of([(1000, 800, 200, 400)], [0.95]), side=side)
    scale = side / 3200
    assert image.size == (side, side // 2)
    drawn = (np.asarray(image) == confidence_colour(0.95)).all(axis=2)
    rows = np.flatnonzero(drawn[:, round(1100 * scale)])
    columns = np.flatnonzero(drawn[round(1150 * scale)])
    assert columns.min() == pytest.approx(1000 * scale, abs=10) and columns.max() == pytest.approx(1200 * scale, abs=10)
    assert rows.max() == pytest.approx(1200 * scale, abs=10)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((150, 60), (750, 300)), ((240, 260), (720, 780)), ((790, 500), (790, 500)), ((1, 1), (800, 800))],
)
def test_a_small_picture_is_enlarged_by_a_whole_factor(size, wanted):
    image = annotate(white(*size), reading_of([], []))
    assert image.size == wanted and max(wanted) <= LEAST_SIDE
    assert max(annotate(white(*size), reading_of([], []), side=300).size) <= 300


def test_boxes_are_drawn_in_a_smaller_copy():
    """The boxes are in pixels of the whole picture, of which a large file gives a part."""
    reading = reading_of([(1000, 800, 200, 400)], [0.95])
    whole, copy = annotate(white(3200, 1600), reading), annotate(white(2000, 1000), reading, (3200, 1600))
    assert whole.size == copy.size and (np.asarray(whole) == np.asarray(copy)).all()


@pytest.mark.parametrize("box", [(5, 5, 1, 1), (100, 50, 2, 2), (0, 0, 400, 1), (399, 0, 1, 300)])
def test_a_tiny_box_is_drawn(box):
    for picture, size in ((white(400, 300), None), (white(40, 30), (400, 300)), (white(1, 1), (400, 300))):
        assert (np.asarray(annotate(picture, reading_of([box], [0.95]), size)) != 255).any()


def rectangles(boxes):
    return [(x, y, x + width, y + height) for x, y, width, height in boxes]


def shared(one, other):
    """The area that two rectangles share."""
    across, down = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    return max(0, across) * max(0, down)


PAGES = {
    "one": [(300, 200, 60, 90)],
    "wide apart": [(100 + 150 * i, 200, 60, 90) for i in range(4)],
    "close": [(100 + 65 * i, 200 + 7 * i, 60, 90) for i in range(7)],
    "above and below": [(100 + 30 * i, 200, 20, 90) for i in range(7)],
    "crowd": [(100 + 16 * i, 200, 12, 60) for i in range(20)],
    "lines": [(100 + 80 * i, 60 + 125 * j, 60, 90) for i in range(7) for j in range(4)],
    "at the edges": [(0, 0, 60, 90), (740, 0, 60, 90), (0, 510, 60, 90), (740, 510, 60, 90)],
    "fills the picture": [(5, 5, 790, 590)],
}


@pytest.mark.parametrize("name", PAGES)
def test_labels_cover_neither_digits_nor_each_other(name):
    """All have the same size, and all have their percentage or none has."""
    boxes = PAGES[name]
    labels = place_labels(np.array(boxes, float), ["8"] * len(boxes), ["100%"] * len(boxes), (800, 600), True)
    assert len(labels) == len(boxes)
    assert len({label.size for label in labels}) == 1 and labels[0].size >= SMALLEST_TEXT
    assert len({label.percent for label in labels}) == 1
    assert (labels[0].percent == "") == (name == "crowd")
    for i, label in enumerate(labels):
        assert all(shared(label[:4], digit) == 0 for digit in rectangles(boxes))
        assert all(shared(label[:4], other[:4]) == 0 for other in labels[:i])
        assert 0 <= label.left < label.right <= 800
        x, y, width, height = boxes[i]
        assert min(abs(label.bottom - y), abs(label.top - y - height)) < label.size, "it stands beside its digit"


def test_a_picture_without_room_grows_unless_it_must_not():
    reading = reading_of([(40, 2, 60, 196), (200, 2, 60, 196)], [0.95, 0.5])
    grown, same = (annotate(white(800, 200), reading, may_grow=may_grow) for may_grow in (True, False))
    assert same.size == (800, 200) and grown.width == 800 and grown.height > 220
    ink = [(np.asarray(image) != 255).any(axis=2) for image in (grown, same)]
    assert ink[0].any() and ink[1].any()
    more = annotate(white(800, 400), reading_of([(40, 200, 60, 90)], [0.95]))
    assert more.size == (800, 400), "where there is room, the picture keeps its size"


def test_what_is_unsure_is_drawn_as_a_question_mark():
    reading = reading_of([(100, 100, 60, 90)], [0.5])
    sure, unsure = (np.asarray(annotate(white(400, 300), reading, None, least)) for least in (0.4, 0.6))
    assert (sure != unsure).any()


def test_a_picture_without_digits_stays_as_it_is():
    picture = np.random.default_rng(1).integers(0, 255, (900, 1000, 3), np.uint8)
    assert (np.asarray(annotate(picture, reading_of([], []))) == picture).all()


def test_a_sheet_has_a_cell_for_each_panel_and_cuts_long_titles():
    panels = [Panel("a title " * (1 + 20 * (i % 2)), "a note", Image.new("RGB", (100, 50), "red")) for i in range(4)]
    sheet = np.asarray(tile(panels))
    red = (sheet == (255, 0, 0)).all(axis=2)
    assert red.sum() == 4 * 100 * 50 and sheet.shape[1] == 3 * (PANEL_SIDE + 12)
    for x in range(6 + PANEL_SIDE, sheet.shape[1], PANEL_SIDE + 12):
        assert (sheet[:, x : x + 6] == 255).all(), "a title goes on in the next column"
    font = ImageFont.load_default(20)
    assert cut_to_width("short", font, 200) == "short"
    cut = cut_to_width("too long for this width", font, 100)
    assert cut.endswith("…") and 60 < font.getlength(cut) <= 100


def test_failures_are_drawn_and_what_was_read_or_cannot_be_opened_is_not():
    rows = [{"file": name, "label": label} for name, label in (("big.png", "0"), ("big.png", "7"), ("gone.png", "0"))]
    readings = [reading_of([(50, 25, 100, 205)], [0.9]) for _ in rows[:2]] + [UserError("gone.png: missing")]
    scores = score_pictures(rows, readings)
    assert failure_sheet(scores[:1], SAMPLES) is None
    assert failure_sheet(scores[2:], SAMPLES) is None
    assert failure_sheet(scores, SAMPLES).size == failure_sheet(scores[1:2], SAMPLES).size


def test_a_picture_is_written_into_a_new_folder(tmp_path):
    save_image(Image.new("RGB", (3, 2)), tmp_path / "new" / "folder" / "x.png")
    with Image.open(tmp_path / "new" / "folder" / "x.png") as image:
        assert image.size == (3, 2)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        save_image(Image.new("RGB", (3, 2)), tmp_path / "file" / "x.png")


def test_drawings_of_different_pictures_have_different_names(tmp_path):
    """Also for a file system that takes A for a, and where a picture is called as another one's drawing would be."""
    files = ["a/x.png", "b/x.png", "c/X.jpg", "x-2.png", "d/x.webp", "x-2.jpg", *(f"{n}/same.png" for n in range(3000))]
    output = OutputNames(tmp_path / "new")
    names = [output.of(file).name for file in files]
    assert names[:6] == ["x.png", "x-2.png", "X-3.png", "x-2-2.png", "x-4.png", "x-2-3.png"]
    assert len({name.casefold() for name in names}) == len(files)


def test_of_very_many_files_only_the_first_are_named(capsys):
    with Said() as said:
        for i in range(Said.MOST + 20):
            said([f"{i}.png"])
    lines = capsys.readouterr().err.splitlines()
    assert lines[: Said.MOST] == [f"{i}.png: drawn" for i in range(Said.MOST)]
    assert lines[Said.MOST :] == ["... and 20 more pictures drawn beside them"]


def test_only_drawings_are_replaced(tmp_path):
    """Not the person's own files, and not the picture itself, even if it is a drawing."""
    shutil.copy(SAMPLES / "big.png", tmp_path / "own.png")
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    save_image(Image.new("RGB", (3, 2)), tmp_path / "drawn.png")
    names = OutputNames(tmp_path)
    assert [names.of(f"elsewhere/{name}.jpg").name for name in ("own", "damaged", "drawn", "new")] == [
        "own-2.png", "damaged-2.png", "drawn.png", "new.png",
    ]  # fmt: skip
    assert OutputNames(tmp_path).of(tmp_path / "drawn.png").name == "drawn-2.png"
    assert OutputNames(tmp_path, "-stages").of("own.jpg").name == "own-stages.png"
