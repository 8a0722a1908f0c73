"""The sheet of --debug: a panel for each stage that photos/segment.py lists, under the same name."""

import re

import numpy as np
import pytest
from conftest import SAMPLES

import photos.segment
from photos import ink, normalise
from photos.drawing import PANEL_SIDE
from photos.opening import open_picture
from photos.reading import read_page, read_picture, shifted_views
from photos.stages import stage_panels, stage_sheet

pytest_plugins = ["photo_fixtures"]

ROWS = re.findall(r"^    (.{16})(\w+)\.(\w+)  ", photos.segment.__doc__, re.M)  # name or blank, module, function
NAMES = [name.strip() for name, _, _ in ROWS if name.strip()]


@pytest.fixture(scope="module")
def ruled(shipped):
    picture = open_picture(SAMPLES / "ruled.jpg")
    return picture, read_page(picture, shipped)


def test_the_docstring_lists_what_is_there():
    assert len(NAMES) == 10 and len(ROWS) > 15
    for _, module, function in ROWS:
        assert callable(getattr(__import__(f"photos.{module}", fromlist=["photos"]), function)), function


def test_the_panels_are_the_stages_in_their_order(ruled):
    panels = stage_panels(ruled[1])
    assert [panel.title for panel in panels] == NAMES
    assert all(max(panel.image.size) <= PANEL_SIDE and panel.note for panel in panels)
    assert len({panel.image.tobytes() for panel in panels}) == len(panels), "two show the same"


def test_a_page_without_digits_has_no_crop(shipped):
    picture = np.full((200, 300, 3), 255, np.uint8)
    page = read_page(picture, shipped)
    assert [panel.title for panel in stage_panels(page)] == [
        name for name in NAMES if name not in ("crop", "views", "probabilities")
    ]
    assert min(stage_sheet(picture, page).size) > 200


def test_the_notes_count_what_is_drawn(ruled):
    notes = {panel.title: panel.note for panel in stage_panels(ruled[1])}
    assert notes["parts"].startswith("10 ") and notes["lines"] == "10 digits chosen, in 2 lines"
    pieces, candidates = map(int, re.findall(r"\d+", notes["candidates"]))
    assert pieces == len(ruled[1].pieces) and candidates == len(ruled[1].candidates) > pieces >= 10
    doubtful = ruled[1].probabilities.max(axis=1).argmin()
    assert f"digit {doubtful + 1}," in notes["probabilities"]


def test_a_sheet_shows_one_crop_for_each_digit(shipped):
    """At its foot."""
    picture = open_picture(SAMPLES / "touching.png")
    sheet = np.asarray(stage_sheet(picture, read_page(picture, shipped)))
    margin = sheet[-83:-80]  # of the crops, above their ink
    dark_columns = (margin < 40).all(axis=(0, 2))
    assert (dark_columns[1:] & ~dark_columns[:-1]).sum() == 5


def test_the_steps_of_a_crop_make_the_crop(ruled):
    """What is drawn step by step is what the network has seen."""
    glyph, crop = next(iter(ruled[1].crops.items()))
    steps = normalise.centre(normalise.even_strokes(normalise.straighten(glyph.mask * 255)))
    np.testing.assert_array_equal(steps, crop)
    views = shifted_views([crop])
    assert len(views) == 5 and (views[0][0] == crop).all()
    assert all((view[0] != crop).any() for view in views[1:])


def test_a_page_gives_the_reading(ruled, shipped):
    picture, page = ruled
    whole = read_picture(picture, shipped, (2200, 1040), "x.jpg")
    assert page.reading(2200, 1040, "x.jpg").lines() == whole.lines() == ["57721", "56649"]
    assert [digit.box for digit in whole.digits] == [digit.box for digit in page.reading(2200, 1040).digits]
    assert page.found.stages["grey"].shape == ink.scale_picture(picture).shape
