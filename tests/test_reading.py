"""Pictures are read: each digit in five places, and whole sets of pictures by the shipped model."""

import cv2
import numpy as np
import pytest
from conftest import SAMPLES
from pages import agree, row_page, score_manifest
from PIL import Image

from cnn_cpu import CNN
from cnn_jit import CNNJit
from model_file import Parameters
from photos.ink import ink_scales, scale_picture
from photos.opening import open_to_read
from photos.page import Page
from photos.reading import classify, read_picture, read_pictures
from sizes import NUM_CLASSES, PHOTO_CLASSES

pytest_plugins = ["photo_fixtures"]


@pytest.mark.parametrize("num_classes", (NUM_CLASSES, PHOTO_CLASSES))
def test_a_digit_is_read_in_five_places(mnist, num_classes):
    """An ink that fills the crop, whose moves must bring in paper, and not the other side's ink."""
    model = CNN(num_filters=2, activation="relu", seed=3, num_classes=num_classes)
    crop = np.arange(1, 28 * 28 + 1).reshape(28, 28).astype(np.uint8)
    wanted = model.predict(crop[None])[0]
    for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
        moved = np.roll(crop, by, axis)
        edge = 0 if by > 0 else -1
        moved[(edge, slice(None)) if axis == 0 else (slice(None), edge)] = 0
        wanted = wanted + model.predict(moved[None])[0]
    for crops in ([crop], [mnist.test_images[0], crop]):
        probabilities = classify(model, crops)
        assert probabilities.shape == (len(crops), model.num_classes)
        assert probabilities[-1] == pytest.approx(wanted / 5, rel=1e-5)
    assert classify(model, []).shape == (0, model.num_classes)


# -- what is decided by reading ----------------------------------------------------------------------------------------


def test_a_picture_and_its_negative_are_read_the_same(digits, shipped):
    """Also where only reading tells which side is the ink: a card of white digits in a white frame."""
    card = Page(600, 300, (20, 20, 20), 1, digits)
    card.write("482", 100, 90, 110, (250, 250, 250))
    card = cv2.copyMakeBorder(card.expose(), 300, 300, 300, 300, cv2.BORDER_CONSTANT, value=(235, 235, 235))
    for picture in (row_page(digits)[0].expose(), card):
        one, other = read_picture(picture, shipped), read_picture(255 - picture, shipped)
        assert one.lines() == other.lines() and len(one.digits) > 2
        assert [digit.box for digit in one.digits] == [digit.box for digit in other.digits]
        assert one.confidences == pytest.approx(other.confidences, abs=0.05)
    assert len(ink_scales(scale_picture(card))) == 2


def test_a_network_of_ten_classes_reads_too(digits, shipped):
    """Only that it cannot tell a mark by its shape."""
    parameters = shipped.parameters
    ten = Parameters(
        *parameters[:2], parameters.weights[:, :NUM_CLASSES].copy(), parameters.biases[:NUM_CLASSES].copy()
    )
    ten = CNNJit(shipped.num_filters, shipped.activation, parameters=ten)
    assert (shipped.num_classes, ten.num_classes) == (PHOTO_CLASSES, NUM_CLASSES)
    page, boxes = row_page(digits)
    page.specks(20)
    for model in (shipped, ten):
        found = read_picture(page.expose(), model)
        assert agree(found.digits, boxes) and found.lines() == ["3602485"]
        assert found.confidences.shape == (7,) and found.values.dtype.kind == "i"
        nothing = read_picture(np.full((90, 120, 3), 200, np.uint8), model)
        assert nothing.lines() == [] and nothing.values.shape == nothing.confidences.shape == (0,)


def test_the_confidence_is_that_of_the_digit_against_all_else(digits, shipped):
    page, _ = row_page(digits)
    found = read_picture(page.expose(), shipped)
    alone = classify(shipped, [digit.crop for digit in found.digits])
    assert found.values.tolist() == alone[:, :NUM_CLASSES].argmax(axis=1).tolist()
    assert found.confidences == pytest.approx(alone[:, :NUM_CLASSES].max(axis=1), abs=1e-6)


# -- the shipped model -------------------------------------------------------------------------------------------------


def test_samples_are_read_without_an_error(shipped):
    scores = score_manifest(SAMPLES / "manifest.tsv", shipped)
    assert len(scores) >= 10
    assert [(score.row["file"], score.read) for score in scores if score.wanted != score.read] == []
    for score in scores:
        assert "/".join(score.reading.lines()) == score.row["label"]


@pytest.mark.parametrize("held", ("upright", "turned"))
def test_a_large_jpeg_is_read_the_same_from_fewer_pixels(shipped, tmp_path, held):
    with Image.open(SAMPLES / "large.jpg") as picture:
        exif = Image.Exif()
        if held == "turned":
            exif[0x0112] = 6  # the camera lay on its side
            picture = picture.rotate(90, expand=True)
        picture.save(tmp_path / "large.jpg", exif=exif, quality=85)
    assert open_to_read(tmp_path / "large.jpg")[0].nbytes < 0.3 * 4000 * 3000 * 3
    (reading,) = read_pictures([tmp_path / "large.jpg"], shipped)
    assert reading.lines() == ["2236", "0679"]
    assert all(700 < digit.box[0] < 2600 and 200 < digit.box[3] < 320 for digit in reading.digits)
