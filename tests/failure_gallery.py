"""Pages that the photo reader reads wrongly, and why: the picture docs/failures.png.

    python -m tests.failure_gallery               writes docs/failures.png
    python -m tests.failure_gallery --output DIR  ... into another folder

The pages are made, not photographed: they are six of the failures among the first 250 of tests/random_pages.py (all
kinds, at most 2,000 pixels long). What stands under a page is read when the picture is drawn. A page that is read
exactly by then is refused. The causes were found on the sheets of `analyze.py --debug`.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from errors import Parser, UserError, run
from photos.drawing import NOTE, PANEL_SIDE, Panel, annotate, one_above_the_other, save_image, tile
from photos.reading import read_picture
from tests.random_pages import digit_page, shipped_model

CAUSES = {  # seed of the page: what goes wrong
    39: "squares as thick as strokes: all is one part",
    240: "the hard shadow is taken for a desk",
    103: "too faint in the shadow",
    156: "the bar of the 7 goes with the printed rules",
    136: "small and blurred: the holes of the 8 close",
    222: "without the squares, the 2 and the 4 fall apart",
}
LONGEST = 2000  # pixels
FOLDER = Path(__file__).resolve().parent.parent / "docs"


def failure_panel(seed):
    """The Panel of a page of CAUSES. Raises UserError if the page is read exactly."""
    page = digit_page(seed, longest=LONGEST)
    reading = read_picture(page.picture, shipped_model())
    wanted, read = "/".join(page.lines), "/".join(reading.lines()) or "nothing"
    if wanted == read:
        raise UserError(f"page {seed} is read exactly: {wanted}; show another one")
    wrong = [(a, b) for a, b in zip(page.lines, reading.lines(), strict=False) if a != b]
    if len(wrong) == 1:  # one line of several
        ((wanted, read),) = wrong
    return Panel(f"{wanted} read as {read}", CAUSES[seed], annotate(page.picture, reading, side=PANEL_SIDE))


def gallery(seeds):
    """The pages of these seeds on one sheet, with small print that says what they are: a Pillow image."""
    sheet = tile([failure_panel(seed) for seed in seeds])
    foot = Image.new("RGB", (sheet.width, NOTE + 16), "white")
    words = (
        f"Made pages, not photos: tests/random_pages.py, seeds {', '.join(map(str, seeds))}; digits partly from MNIST"
    )
    font = ImageFont.load_default(NOTE - 2)
    ImageDraw.Draw(foot).text((sheet.width - 6, 8), words, "#666666", font, anchor="ra")
    return one_above_the_other(sheet, foot)


def main(argv=None):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER, metavar="DIR", help="where to (default: docs)")
    path = parser.parse_args(argv).output / "failures.png"
    save_image(gallery(CAUSES).quantize(256), path)  # a third of the bytes
    print(f"{path}: drawn")
    return 0


if __name__ == "__main__":
    run(main)
