"""The sample pictures are those that make_samples.py makes."""

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image

from errors import UserError
from photos.make_samples import main, write_picture


def test_samples_are_what_make_samples_makes(tmp_path):
    main(["--output", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SAMPLES.iterdir()}
    assert (tmp_path / "manifest.tsv").read_bytes() == (SAMPLES / "manifest.tsv").read_bytes()
    for path in tmp_path.glob("*.[jp][pn]g"):
        with Image.open(path) as made, Image.open(SAMPLES / path.name) as kept:
            assert np.abs(np.asarray(made).astype(int) - np.asarray(kept)).mean() < 1


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_picture_that_cannot_be_written_is_said(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: the picture cannot be written there"):
        write_picture(tmp_path / "missing" / name, np.zeros((8, 8, 3), np.uint8))
