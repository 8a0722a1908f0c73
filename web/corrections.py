"""Keeps the crops that were read wrong, with the right digits: a labelled set for `analyze.py --evaluate`.

corrections/manifest.tsv    tab-separated: file, label, kind ("drawing" or "photo") and read, what it was read as
corrections/*.png           the crops, 28x28, ink bright on dark as in MNIST
"""

import csv
import hashlib
import io
from pathlib import Path

from PIL import Image

from errors import UserError
from files import replacing
from photos.drawing import save_image
from photos.scoring import read_manifest

COLUMNS = "file", "label", "kind", "read"
KINDS = "drawing", "photo"


def keep_correction(folder, crop, label, read, kind):
    """Keep a crop (28, 28) uint8 and the digit that it is; returns how many are in the folder now.

    label, read: one digit each, as text: the right one, and what was read. kind: one of KINDS. A crop that is corrected
    again gets the new label. Raises UserError when the folder cannot be written to.
    """
    folder = Path(folder)
    manifest = folder / "manifest.tsv"
    rows = read_manifest(manifest) if manifest.exists() else []
    name = f"{hashlib.sha256(crop.tobytes()).hexdigest()[:16]}.png"
    rows = [row for row in rows if row["file"] != name] + [{"file": name, "label": label, "kind": kind, "read": read}]
    save_image(Image.fromarray(crop), folder / name)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    try:
        with replacing(manifest) as file:
            file.write(text.getvalue().encode())
    except OSError as error:
        raise UserError(f"{manifest}: cannot be written: {error.strerror}") from None
    return len(rows)
