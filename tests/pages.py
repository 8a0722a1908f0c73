"""Pictures whose digits are known, for the photo reader's tests: how they are made, and whether they were found."""

from photos.page import BLACK_INK, WHITE, Page
from photos.reading import read_pictures
from photos.scoring import read_manifest, score_pictures


def row_page(digits, text="3602485", paper=WHITE, ink=BLACK_INK, seed=1, **options):
    """A page with one row of digits, and their boxes."""
    page = Page(1000, 400, paper, seed, digits)
    return page, page.write(text, 60, 140, 110, ink, **options)


def agree(found, boxes):
    """Whether the digits that were found are those in these boxes, in this order: centres inside, sizes alike."""
    if len(found) != len(boxes):
        return False
    for digit, (x, y, width, height) in zip(found, boxes, strict=True):
        left, top, found_width, found_height = digit.box
        inside = x <= left + found_width / 2 <= x + width and y <= top + found_height / 2 <= y + height
        if not inside or not 0.6 * height < found_height < 1.5 * height:
            return False
    return True


def score_manifest(manifest, model):
    """The Score of each picture of a manifest, a Path, read with this model."""
    rows = read_manifest(manifest)
    return score_pictures(rows, read_pictures([manifest.parent / row["file"] for row in rows], model))
