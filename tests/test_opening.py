"""Picture files of every kind are opened alike; what is no picture is named, with the cause."""

import numpy as np
import pytest
from pages import agree
from PIL import Image

from errors import UserError
from photos import opening
from photos.opening import open_picture, open_to_read
from photos.page import CREAM, Page
from photos.segment import find_digits

pytest_plugins = ["photo_fixtures"]


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
    monkeypatch.setattr(opening, "MAX_PIXELS", 1000)
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
