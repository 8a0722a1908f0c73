"""What was read, drawn: boxes, labels and sheets, at the size that a person looks at."""

import shutil

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image

from errors import UserError
from photos.drawing import (
    DRAWN_SIDE,
    PANEL_SIDE,
    OutputNames,
    annotate,
    confidence_colour,
    failure_sheet,
    save_image,
    stage_sheet,
)
from photos.opening import open_picture
from photos.reading import Digit, Reading, read_picture
from photos.scoring import score_pictures
from sizes import IMAGE_SIZE

pytest_plugins = ["photo_fixtures"]

CROP = np.zeros((28, 28), np.uint8)


def reading_of(boxes, confidences):
    digits = [Digit(CROP, box, 0) for box in boxes]
    return Reading("x.png", digits, np.arange(len(boxes)), np.array(confidences, float))


def sheet_of(picture, model):
    stages = {}
    return stage_sheet(picture, read_picture(picture, model, stages=stages), stages)


def white(width, height):
    return np.full((height, width, 3), 255, np.uint8)


@pytest.mark.parametrize(("side", "scale"), [(DRAWN_SIDE, 0.5), (PANEL_SIDE, 0.15)])
def test_boxes_shrink_with_the_picture(side, scale):
    """The ink of the drawing, but for the label above it, is around the box; the colour tells the confidence."""
    image = annotate(white(3200, 1600), reading_of([(1000, 800, 200, 400)], [0.95]), side=side)
    assert image.size == (side, side // 2)
    drawn = (np.asarray(image) == confidence_colour(0.95)).all(axis=2)
    rows = np.flatnonzero(drawn[:, round(1100 * scale)])
    columns = np.flatnonzero(drawn[round(1150 * scale)])
    assert columns.min() == pytest.approx(1000 * scale, abs=10) and columns.max() == pytest.approx(1200 * scale, abs=10)
    assert rows.max() == pytest.approx(1200 * scale, abs=10)


def test_boxes_are_drawn_in_a_smaller_copy():
    """The boxes are in pixels of the whole picture, of which a large file gives a part."""
    reading = reading_of([(1000, 800, 200, 400)], [0.95])
    whole, copy = annotate(white(3200, 1600), reading), annotate(white(2000, 1000), reading, (3200, 1600))
    assert whole.size == copy.size and (np.asarray(whole) == np.asarray(copy)).all()


@pytest.mark.parametrize("box", [(5, 5, 1, 1), (100, 50, 2, 2), (0, 0, 400, 1), (399, 0, 1, 300)])
def test_a_tiny_box_is_drawn(box):
    for picture, size in ((white(400, 300), None), (white(40, 30), (400, 300)), (white(1, 1), (400, 300))):
        assert (np.asarray(annotate(picture, reading_of([box], [0.95]), size)) != 255).any()


def test_a_crowd_leaves_the_percentage_out():
    """The neighbour is nearer than the label is wide: fewer pixels get the colour of the label."""
    alone = annotate(white(400, 200), reading_of([(100, 100, 20, 40)], [0.95]))
    crowd = annotate(white(400, 200), reading_of([(100, 100, 20, 40), (125, 100, 20, 40)], [0.95, 0.95]))
    label = (slice(80, 95), slice(60, 111))
    assert (np.asarray(crowd)[label] != 255).any(axis=2).sum() < (np.asarray(alone)[label] != 255).any(axis=2).sum()


def test_what_is_unsure_is_drawn_as_a_question_mark():
    reading = reading_of([(100, 100, 60, 90)], [0.5])
    sure, unsure = (np.asarray(annotate(white(400, 300), reading, None, least)) for least in (0.4, 0.6))
    assert (sure != unsure).any()


def test_a_picture_without_digits_stays_as_it_is(shipped):
    picture = white(300, 200)
    assert (np.asarray(annotate(picture, reading_of([], []))) == picture).all()
    assert min(sheet_of(picture, shipped).size) > 200


def test_a_sheet_shows_the_stages_and_one_crop_for_each_digit(shipped):
    """The crops stand below the panels: with them the sheet is higher than that of a picture without digits."""
    picture = open_picture(SAMPLES / "touching.png")
    sheet, empty = sheet_of(picture, shipped), sheet_of(np.full_like(picture, 255), shipped)
    assert sheet.width == empty.width and sheet.height > empty.height + IMAGE_SIZE
    crops = np.asarray(sheet)[empty.height : empty.height + 2 * IMAGE_SIZE]
    dark_columns = (crops < 40).all(axis=2).mean(axis=0) > 0.3
    assert (dark_columns[1:] & ~dark_columns[:-1]).sum() == 5


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
