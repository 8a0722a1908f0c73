"""What the page shows of a network: its own numbers, whose terms add up; and the ink of a drawing."""

import json

import numpy as np
import pytest
from page_client import SIZE, drawing_of, with_arrays
from PIL import Image

from cnn_jit import CNNJit
from errors import UserError
from model_file import ACTIVATIONS
from network import scale
from photos.reading import read_ink
from photos.scoring import read_manifest
from sizes import NUM_CLASSES, PHOTO_CLASSES
from web import messages
from web.corrections import keep_correction
from web.explain import explain
from web.strokes import MAX_POINTS, MAX_SIDE, draw_ink

pytest_plugins = ["photo_fixtures"]


@pytest.fixture(params=ACTIVATIONS)
def network(request, mnist):
    """A network that has learned a little, so that its biases are not 0."""
    network = CNNJit(5, request.param, seed=2, num_classes=PHOTO_CLASSES)
    network.fit(mnist.train_images[:500], mnist.train_labels[:500], learning_rate=0.1)
    return network


# -- the numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", (None, 0, 12))
def test_the_terms_add_up_to_the_logit(network, mnist, label):
    for crop in mnist.test_images[:5]:
        found = explain(network, crop, label)
        wanted = network.logits(crop[None])[0]
        assert found.logits == pytest.approx(wanted, abs=1e-4)
        assert found.label == (wanted.argmax() if label is None else label)
        logit = pytest.approx(wanted[found.label], abs=1e-4)
        assert found.filter_terms.sum() + found.bias == logit
        assert found.place_terms.sum() + found.bias == logit
        assert found.pixel_terms.sum() + found.pixel_rest + found.bias == logit
        assert (found.pixel_rest == 0) == (network.activation == "none")


def test_the_term_of_a_pixel_is_what_the_logit_loses_without_it(network, mnist):
    """A small step towards 0 at a pixel changes the logit by that share of its term, by the engine's own arithmetic.

    Where a window's largest numbers are nearly equal, another place wins after the step: most pixels must agree.
    """
    crop = mnist.test_images[3]
    found = explain(network, crop)
    rows, columns = np.nonzero((crop > 60) & (crop < 250))
    agree = 0
    for row, column in zip(rows, columns, strict=True):
        moved = crop.copy()
        moved[row, column] -= 1
        change = float(network.logits(moved[None])[0, found.label] - found.logits[found.label])
        wanted = -found.pixel_terms[row, column] / scale(crop)[row, column] / 255
        agree += abs(change - wanted) < 2e-4
    assert len(rows) > 20 and agree > 0.8 * len(rows)


def test_the_maps_are_those_of_the_layers(network, mnist):
    crop = mnist.test_images[0]
    found, (filters, biases, *_) = explain(network, crop), network.parameters
    image = scale(crop).astype(np.float64)
    for row, column, f in ((0, 0, 0), (9, 14, 3), (25, 25, 4)):
        value = (image[row : row + 3, column : column + 3] * filters[f]).sum()
        if network.activation == "relu":
            value = max(value + biases[f], 0)
        assert found.convolved[row, column, f] == pytest.approx(value, abs=1e-5)
    windows = found.convolved.reshape(13, 2, 13, 2, 5).transpose(0, 2, 4, 1, 3).reshape(13, 13, 5, 4)
    kept = found.kept.reshape(13, 2, 13, 2, 5).transpose(0, 2, 4, 1, 3).reshape(13, 13, 5, 4)
    assert (found.pooled == windows.max(axis=3)).all()
    assert (kept == np.eye(4)[windows.argmax(axis=3)]).all()
    assert found.probabilities == pytest.approx(network.predict(crop[None])[0], abs=1e-5)


def test_an_explanation_is_sent_whole(network, mnist):
    found = explain(network, mnist.test_images[0])
    sent = with_arrays(messages.explanation(found, {"lines": ["7"]}))
    assert sent["lines"] == ["7"] and sent["label"] == found.label and sent["bias"] == found.bias
    for name in ("convolved", "kept", "pooled"):
        array = getattr(found, name)
        back = sent[name].reshape(5, *array.shape[:2])
        assert (back == np.moveaxis(array, 2, 0)).all() and back.dtype == array.dtype
    for name in ("crop", "filters", "filter_biases", "logits", "probabilities", "filter_terms", "pixel_terms"):
        assert (sent[name] == getattr(found, name).reshape(-1)).all(), name
    assert json.loads(messages.explanation(None, {"a": 1})[4:]) == {"a": 1, "arrays": []}


# -- a drawing --------------------------------------------------------------------------------------------------------


def test_a_drawing_is_read_wherever_it_is(shipped):
    """Also at the border, where a photo's digits may be cut off. The boxes are those of the strokes."""
    drawing = drawing_of("375")
    reading = read_ink(draw_ink(drawing), shipped)
    assert reading.lines() == ["375"] and reading.confidences.min() > 0.9
    for digit, stroke in zip(reading.digits, drawing["strokes"], strict=True):
        x, y, width, height = digit.box
        assert (x, y) == pytest.approx((min(stroke[::2]), min(stroke[1::2])), abs=10)
        assert (x + width, y + height) == pytest.approx((max(stroke[::2]), max(stroke[1::2])), abs=10)
    seven = drawing["strokes"][1]  # its bar would run along the border, as only the edge of a sheet does in a photo
    left, top = min(seven[::2]), min(seven[1::2])
    corner = [value - (top if i % 2 else left) for i, value in enumerate(seven)]
    (digit,) = read_ink(draw_ink({**drawing, "strokes": [corner]}), shipped).digits
    assert max(map(abs, digit.box[:2])) <= 1
    assert read_ink(np.zeros((50, 60), np.uint8), shipped).lines() == []


def test_strokes_become_ink():
    ink = draw_ink({"size": [60, 40], "pen": 5, "strokes": [[10, 20, 50, 20], [30, 35], []]})
    assert ink.shape == (40, 60) and ink[20, 10:51].all() and not ink[10].any()
    assert ink[35, 30] and 9 < ink[30:].sum() < 40
    outside = draw_ink({"size": [60, 40], "pen": 5, "strokes": [[-1e300, 20, 1e300, float("nan")]]})
    assert outside.shape == (40, 60)


@pytest.mark.parametrize(
    "drawing",
    [
        {},
        {"size": [60, 40], "pen": 5},
        {"size": [60], "pen": 5, "strokes": []},
        {"size": [60, 40], "pen": "x", "strokes": []},
        {"size": [60, 40], "pen": 5, "strokes": [[1, 2, 3]]},
        {"size": [60, 40], "pen": 5, "strokes": 7},
        {"size": [60, 40], "pen": 5, "strokes": [["a", "b"]]},
        {"size": [60, 40], "pen": 0, "strokes": []},
        {"size": [0, 40], "pen": 5, "strokes": []},
        {"size": [MAX_SIDE + 1, 40], "pen": 5, "strokes": []},
        {"size": [float("inf"), 40], "pen": 5, "strokes": []},
        {"size": [60, 40], "pen": 5, "strokes": [[1] * (2 * MAX_POINTS + 2)]},
    ],
)
def test_what_is_no_drawing_is_refused(drawing):
    with pytest.raises(UserError):
        draw_ink(drawing)


def test_the_digit_that_one_points_at_is_shown(shipped):
    reading = read_ink(draw_ink(drawing_of("375")), shipped)
    middles = [(digit.box[0] + digit.box[2] / 2, digit.box[1] + digit.box[3] / 2) for digit in reading.digits]
    assert [messages.nearest(reading, middle) for middle in middles] == [0, 1, 2]
    assert messages.nearest(reading, (SIZE[0], 0)) == 2
    assert messages.nearest(reading, None) == messages.nearest(reading, "ab") == 2
    assert messages.nearest(read_ink(np.zeros((50, 60), np.uint8), shipped), (1, 1)) is None


# -- what was read wrong ----------------------------------------------------------------------------------------------


def test_corrections_are_a_labelled_set(mnist, in_process, tmp_path):
    """That --evaluate takes. The same crop again gets its new label, and no file is left half-written."""
    folder = tmp_path / "corrections"
    images, labels = mnist.test_images[:6], mnist.test_labels[:6]
    counts = [
        keep_correction(folder, image, str(label), "0", "photo") for image, label in zip(images, labels, strict=True)
    ]
    assert counts == [1, 2, 3, 4, 5, 6]
    assert keep_correction(folder, images[0], "1", "7", "drawing") == 6
    assert keep_correction(folder, images[0], str(labels[0]), "1", "drawing") == 6
    rows = read_manifest(folder / "manifest.tsv")
    assert [row["label"] for row in rows] == [str(label) for label in (*labels[1:], labels[0])]
    assert rows[-1]["read"] == "1" and rows[-1]["kind"] == "drawing"
    with Image.open(folder / rows[-1]["file"]) as image:
        assert (np.asarray(image) == images[0]).all()
    assert {path.name for path in folder.iterdir()} == {"manifest.tsv", *(row["file"] for row in rows)}
    out, err, status = in_process(
        "analyze.py", "--evaluate", folder / "manifest.tsv", "--device", "cpu", "--output", tmp_path
    )
    assert (status, err) == (0, "") and f"{'all':12}{6:9}{6:8}" in out
    assert "5/6" in out or "6/6" in out


def test_a_folder_that_cannot_be_written_to_is_one_line(mnist, tmp_path):
    (tmp_path / "corrections").touch()
    with pytest.raises(UserError, match="cannot be written"):
        keep_correction(tmp_path / "corrections", mnist.test_images[0], "7", "1", "photo")


# -- what the page may ask for ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [None, {}, [8], *({"filters": 8, "activation": "none", "learning_rate": 0.2} | wrong for wrong in (
        {"filters": 0}, {"filters": 1025}, {"filters": True}, {"filters": 8.0}, {"activation": "tanh"},
        {"learning_rate": 0}, {"learning_rate": float("nan")}, {"learning_rate": "1"},
    ))],
)  # fmt: skip
def test_a_bad_recipe_is_refused(recipe):
    with pytest.raises(UserError):
        messages.recipe(recipe)


def test_bad_numbers_are_refused():
    assert messages.epochs({}) is None and messages.epochs({"epochs": 3}) == 3
    for wrong in (0, -1, 1001, 2.0, True, "3"):
        with pytest.raises(UserError):
            messages.epochs({"epochs": wrong})
    for wrong in ({}, {"crop": 7}, {"crop": "%%%"}, {"crop": "AAAA"}):
        with pytest.raises(UserError):
            messages.crop(wrong)
    assert [messages.label({"label": asked}, NUM_CLASSES) for asked in (None, 9, 10, -1, "1")] == [None, 9, *[None] * 3]


def test_a_file_name_is_shown_and_nothing_else():
    assert messages.file_name("a\n\x1b[31mb.jpg") == "a[31mb.jpg"
    assert messages.file_name("") == "the picture" and len(messages.file_name("x" * 999)) == 80
