"""Picture files of every kind are opened alike; what is no picture is named, with the cause."""

import os
import sys

import numpy as np
import pytest
from pages import agree
from PIL import Image, ImageOps

from errors import UserError
from photos import opening
from photos.opening import open_picture, open_to_read
from photos.page import CREAM, Page

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


@pytest.mark.parametrize("scale", (1, 255, 65535))
def test_greys_with_fractions(tmp_path, scale):
    """A TIFF of floats may go from 0 to 1, and hold what is no number."""
    values = np.linspace(0, scale, 2400, dtype=np.float32).reshape(40, 60)
    values[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(values).save(tmp_path / "float.tif")
    if scale == 1:
        values[0, 1] = 1
        Image.fromarray(values).save(tmp_path / "float.tif")
        assert np.abs(open_picture(tmp_path / "float.tif")[1:, :, 0] - values[1:] * 255).max() <= 1
    assert open_picture(tmp_path / "float.tif").shape == (40, 60, 3)


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
    """Also of a format with a limit of its own, and of one whose decoder is slow."""
    Image.fromarray(gradient_picture()).save(tmp_path / "bomb.png")
    monkeypatch.setattr(opening, "MAX_PIXELS", 1000)
    monkeypatch.setitem(opening.MAX_PIXELS_OF, "WEBP", 100)
    monkeypatch.setattr(opening, "MAX_PIXELS_SLOWLY", 10)
    Image.fromarray(gradient_picture()).resize((20, 20)).save(tmp_path / "bomb.webp")
    (tmp_path / "bomb.ppm").write_text("P2 4 4 255 " + "9 " * 16)
    for name, most in (
        ("bomb.png", "1,000"),
        ("bomb.webp", "100 in this kind of WEBP"),
        ("bomb.ppm", "10 in this kind"),
    ):
        with pytest.raises(UserError, match=f"{name}.*too many .at most {most}"):
            open_picture(tmp_path / name)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n{} loop\n", "EPS"),
        (b"8BPS\x00\x01" + bytes(60), "PSD"),
        (b"\x01\x00\x00\x00" + bytes(36) + b" EMF" + bytes(60), "WMF"),
        (b"SIMPLE  =                    T" + bytes(60), "FITS"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_holds_no_photo_is_refused_by_the_name_of_its_format(tmp_path, start, name):
    """Before any decoder runs: the EPS here would run for ever."""
    (tmp_path / "photo.jpg").write_bytes(start)
    with pytest.raises(UserError, match=f"photo.jpg: {name} is no format of photos"):
        open_picture(tmp_path / "photo.jpg")


# EXIF data whose orientation is the text "6", and not the number.
TEXT = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\x02\x00\x00\x006\x00\x00\x00\x00\x00\x00\x00"


@pytest.mark.parametrize("orientation", (0, 1, 9, 77, TEXT), ids=lambda value: "text" if value == TEXT else value)
def test_an_orientation_that_means_nothing_is_ignored(tmp_path, orientation):
    exif = orientation
    if exif is not TEXT:
        exif = Image.Exif()
        exif[0x0112] = orientation
    Image.fromarray(gradient_picture()).save(tmp_path / "odd.png", exif=exif)
    picture, size = open_to_read(tmp_path / "odd.png")
    assert np.array_equal(picture, gradient_picture()) and size == (60, 40)


def test_every_orientation_is_undone(tmp_path):
    """Held against Pillow's own."""
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(gradient_picture()).save(tmp_path / "turned.png", exif=exif)
        picture, size = open_to_read(tmp_path / "turned.png")
        with Image.open(tmp_path / "turned.png") as image:
            wanted = np.asarray(ImageOps.exif_transpose(image))
        assert np.array_equal(picture, wanted) and size == wanted.shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ("heic", "avif", "jpg", "webp"))
def test_photos_of_phones_are_upright(tmp_path, kind, orientation):
    """A HEIC or AVIF keeps the orientation in a box of its own, too: the picture must be turned once, not twice."""
    corners = np.kron([[[0], [90]], [[160], [250]]], np.ones((64, 80, 3))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corners).save(tmp_path / f"a.{kind}", exif=exif.tobytes(), quality=90)
    Image.fromarray(corners).save(tmp_path / "a.png", exif=exif.tobytes())
    picture, size = open_to_read(tmp_path / f"a.{kind}")
    wanted, wanted_size = open_to_read(tmp_path / "a.png")
    assert size == wanted_size and picture.shape == wanted.shape
    assert np.abs(picture.astype(int) - wanted).mean() < 8


def test_metadata_that_is_broken_costs_no_picture(tmp_path):
    path = tmp_path / "broken.png"
    broken = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x02\x01\x12"
    Image.fromarray(gradient_picture()).save(path, exif=broken)
    assert np.array_equal(open_picture(path), gradient_picture())


# -- damage -----------------------------------------------------------------------------------------------------------

EXIF = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
KINDS = {
    "bmp": {}, "gif": {}, "ico": {}, "jp2": {}, "pcx": {}, "png": {}, "ppm": {}, "tga": {}, "webp": {}, "avif": {},
    "heic": {},
    "jpg": {}, "progressive.jpg": {"progressive": True}, "exif.jpg": {"exif": EXIF}, "tif": {},
    "deflate.tif": {"compression": "tiff_adobe_deflate"}, "lzw.tif": {"compression": "tiff_lzw"},
    "jpeg.tif": {"compression": "jpeg"},
}  # fmt: skip
DAMAGED = 300


def damage(content, random):
    """The content cut, with bytes changed, with a stretch of zeros, or with a stretch repeated."""
    content = bytearray(content)
    kind = random.integers(4)
    first = int(random.integers(len(content)))
    length = int(random.integers(1, 64))
    if kind == 0:
        return bytes(content[:first])
    if kind == 1:
        for place in random.integers(0, min(len(content), 400), length // 8 + 1):  # headers break most
            content[place] = random.integers(256)
    elif kind == 2:
        content[first : first + length] = bytes(length)
    else:
        content[first:first] = content[first : first + length]
    return bytes(content)


def test_damaged_pictures_are_read_or_named_in_one_line(tmp_path, capfd):
    """And nothing else appears on the screen, whatever a library in C has to say."""
    whole = {}
    for kind, options in KINDS.items():
        path = tmp_path / f"whole.{kind}"
        Image.fromarray(gradient_picture()).save(path, **options)
        whole[kind] = path.read_bytes()
    random = np.random.default_rng(14)
    read = refused = 0
    for number in range(DAMAGED):
        kind = list(KINDS)[number % len(KINDS)]
        path = tmp_path / f"damaged.{kind}"
        path.write_bytes(damage(whole[kind], random))
        try:
            picture, _ = open_to_read(path)
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
            read += 1
        except UserError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            refused += 1
    assert read > DAMAGED / 10 and refused > DAMAGED / 5, "both must occur"
    assert capfd.readouterr() == ("", "")


def test_what_a_library_prints_by_itself_is_dropped(tmp_path, monkeypatch, capfd):
    Image.fromarray(gradient_picture()).save(tmp_path / "a.png")
    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", lambda image: (os.write(2, b"libtiff: odd tag\n"), load(image))[1])
    open_picture(tmp_path / "a.png")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_a_picture_is_opened_where_stderr_is_closed(tmp_path, monkeypatch):
    Image.fromarray(gradient_picture()).save(tmp_path / "a.png")
    monkeypatch.setattr(sys, "stderr", None)
    assert np.array_equal(open_picture(tmp_path / "a.png"), gradient_picture())


def test_an_error_that_no_decoder_should_raise_is_one_line(tmp_path, monkeypatch):
    Image.fromarray(gradient_picture()).save(tmp_path / "a.png")

    def fail(*_):
        raise ZeroDivisionError("float division\nby zero")

    monkeypatch.setattr(Image.Image, "draft", fail)
    with pytest.raises(UserError, match=r"a.png: damaged picture \(float division by zero\)"):
        open_to_read(tmp_path / "a.png")


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
def test_boxes_are_in_pixels_of_the_whole_picture(large_jpeg, find_digits, name):
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


@pytest.mark.parametrize("mode", ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"))
def test_a_large_picture_is_made_smaller_strip_by_strip(tmp_path, monkeypatch, mode):
    """As if it were made smaller as a whole; the last strip and the last columns are narrower than the others."""
    monkeypatch.setattr(opening, "STRIP", 50_000)
    grey = np.linspace(0, 255, 3301 * 247).reshape(247, 3301).astype(np.uint8)
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey)
    image = image if mode == "I;16" else image.convert("RGB").convert(mode)
    path = tmp_path / ("large.tif" if mode == "CMYK" else "large.png")
    image.save(path)
    picture, size = open_to_read(path)
    assert size == (3301, 247) and picture.shape == (124, 1651, 3)
    wanted = np.asarray(Image.fromarray(open_picture(path)).reduce(2))
    assert np.abs(picture.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (40, 60), (3200, 30)])
def test_odd_shapes_are_opened(tmp_path, find_digits, shape):
    Image.fromarray(np.full((*shape, 3), 200, np.uint8)).save(tmp_path / "odd.jpg")
    picture, size = open_to_read(tmp_path / "odd.jpg")
    assert size == shape[::-1]
    assert max(picture.shape) >= min(max(shape), 1600)
    assert find_digits(picture, size) == []
