"""The gallery of failures tells the truth: its pages are read wrongly, and what it says is what is read."""

import numpy as np
import pytest
from conftest import ROOT

from errors import UserError
from tests import failure_gallery
from tests.failure_gallery import CAUSES, failure_panel, gallery

FIRST = next(iter(CAUSES))


def test_a_page_that_is_read_exactly_is_refused(monkeypatch):
    monkeypatch.setitem(CAUSES, 0, "no cause")
    with pytest.raises(UserError, match="page 0 is read exactly"):
        failure_panel(0)


def test_a_panel_says_what_is_read(monkeypatch):
    page = failure_gallery.digit_page(FIRST, longest=failure_gallery.LONGEST)
    panel = failure_panel(FIRST)
    assert panel.title == f"{'/'.join(page.lines)} read as nothing" and panel.note == CAUSES[FIRST]
    monkeypatch.setattr(failure_gallery, "digit_page", lambda *_, **__: page._replace(lines=["123"]))
    assert failure_panel(FIRST).title == "123 read as nothing"


def test_the_gallery_has_a_foot_and_is_written_where_it_is_asked_for(in_process, monkeypatch, tmp_path):
    monkeypatch.setattr(failure_gallery, "CAUSES", {FIRST: CAUSES[FIRST]})
    sheet = np.asarray(gallery([FIRST]))
    assert (sheet[-30:] != 255).any()
    out, err, status = in_process("tests/failure_gallery.py", "--output", tmp_path)
    assert (out, err, status) == (f"{tmp_path / 'failures.png'}: drawn\n", "", 0)


def test_it_is_the_picture_of_the_report():
    assert len(CAUSES) == 6 and (ROOT / "docs" / "failures.png").exists()
