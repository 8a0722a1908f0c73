"""The sample pictures are those that make_samples.py makes."""

import numpy as np
from conftest import SAMPLES
from PIL import Image

from photos.make_samples import main


def test_samples_are_what_make_samples_makes(tmp_path):
    main(["--output", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in SAMPLES.iterdir()}
    assert (tmp_path / "manifest.tsv").read_bytes() == (SAMPLES / "manifest.tsv").read_bytes()
    for path in tmp_path.glob("*.[jp][pn]g"):
        with Image.open(path) as made, Image.open(SAMPLES / path.name) as kept:
            assert np.abs(np.asarray(made).astype(int) - np.asarray(kept)).mean() < 1
