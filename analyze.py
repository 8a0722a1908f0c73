"""Read the handwritten digits in pictures.

    python analyze.py samples/digits.jpg                   prints the digits, line by line
    python analyze.py a.jpg b.png --output read            ... and draws what was read into copies of the pictures
    python analyze.py photo.jpg --debug stages             ... and shows how the digits were found
    python analyze.py --evaluate samples/manifest.tsv      scores the reader on labelled pictures

`segment.py` finds the digits and brings them into MNIST's form; the network reads them all in one batch, on the GPU
where there is one. One bad picture does not stop the others; the exit status is 2 then.
"""

import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from errors import Parser, UserError, number, run
from files import replacing
from segment import IMAGE_SIZE, Digit, find_digits, open_picture, open_to_read

DEFAULT_MODEL = Path(__file__).parent / "weights" / "digits.npz"
DRAWN_SIDE = 1600  # pixels: pictures that are drawn for people are made no larger
MOVES = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))  # where in a crop with a margin of one pixel a reading begins
BINS = 10  # of confidence, in the calibration table


class Reading(NamedTuple):
    """What was read in one picture: the digits that were found, which each is, and how sure the network is (0..1)."""

    file: str
    digits: list[Digit]
    values: np.ndarray  # (N,) int
    confidences: np.ndarray  # (N,) float

    def lines(self, min_confidence=0.0):
        """The digits as text, a string for each line of the picture; `?` where the confidence is too low."""
        lines = {}
        for digit, value, confidence in zip(self.digits, self.values, self.confidences, strict=True):
            lines.setdefault(digit.line, []).append(str(value) if confidence >= min_confidence else "?")
        return ["".join(line) for _, line in sorted(lines.items())]


# -- reading ----------------------------------------------------------------------------------------------------------


def load_model(path, device):
    """The network from a model file on the wanted device: "cuda", "cpu", or "auto" for the GPU where there is one."""
    if device != "cpu":
        from gpu_launch import gpu_problem  # CUDA is imported only where it may be used: it takes its time

        problem = gpu_problem()
        if problem is None:
            from cnn_gpu import CNNGPU

            return CNNGPU.load(path)
        if device == "cuda":
            raise UserError(f"--device cuda: {problem}")
    from cnn_jit import CNNJit

    return CNNJit.load(path)


def read_pictures(files, model):
    """Read pictures in one batch. Returns a list with a Reading, or the UserError, for each file."""
    found = []
    for file in files:
        try:
            found.append(find_digits(*open_to_read(file)))
        except UserError as error:
            found.append(error)
    crops = [digit.crop for digits in found if isinstance(digits, list) for digit in digits]
    values, confidences = classify(model, crops)
    readings, start = [], 0
    for file, digits in zip(files, found, strict=True):
        if isinstance(digits, UserError):
            readings.append(digits)
            continue
        mine = slice(start, start + len(digits))
        readings.append(Reading(str(file), digits, values[mine], confidences[mine]))
        start = mine.stop
    return readings


def classify(model, crops):
    """Crops (28, 28) uint8 -> digits (N,) int and confidences (N,) float, all in one batch.

    Each is read five times: as it is, and moved by a pixel to each side, so that the 2x2 windows of the pooling fall
    differently on its strokes. The mean of the five is right more often than the one, and knows better how sure it is.
    """
    if not crops:
        return np.zeros(0, int), np.zeros(0)
    padded = np.pad(np.stack(crops), ((0, 0), (1, 1), (1, 1)))
    moved = [padded[:, y : y + IMAGE_SIZE, x : x + IMAGE_SIZE] for x, y in MOVES]
    probabilities = model.predict(np.concatenate(moved)).reshape(len(MOVES), len(crops), -1).mean(axis=0)
    return probabilities.argmax(axis=1), probabilities.max(axis=1)


# -- results as text --------------------------------------------------------------------------------------------------


def as_text(reading, min_confidence, headed):
    """What is printed for a picture; headed: below its name, for there are several."""
    lines = reading.lines(min_confidence) or ["no digits found"]
    return "\n".join([f"{reading.file}:"] + [f"  {line}" for line in lines] if headed else lines)


def as_json(file, reading, min_confidence):
    """One JSON object, on one line."""
    if isinstance(reading, UserError):
        return json.dumps({"file": str(file), "error": str(reading)})
    digits = [
        {"digit": int(value), "confidence": round(float(confidence), 4), "box": list(digit.box), "line": digit.line}
        for digit, value, confidence in zip(reading.digits, reading.values, reading.confidences, strict=True)
    ]
    return json.dumps({"file": str(file), "lines": reading.lines(min_confidence), "digits": digits})


# -- results as pictures ----------------------------------------------------------------------------------------------


def shrink(picture, side=DRAWN_SIDE):
    """An RGB picture as a Pillow image with at most so many pixels on the longer side, and the scale."""
    image = Image.fromarray(picture)
    scale = min(1.0, side / max(image.size))
    size = [max(1, round(length * scale)) for length in image.size]
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0), scale


def annotate(picture, reading, min_confidence=0.0):
    """The picture with each digit in a box and, on a tab above it, what it is and how sure the network is."""
    image, scale = shrink(picture)
    draw = ImageDraw.Draw(image, "RGBA")
    heights = [digit.box[3] * scale for digit in reading.digits]
    text_size = float(np.clip(0.3 * np.median(heights), 11, 40)) if heights else 11
    font = ImageFont.load_default(text_size)
    small = ImageFont.load_default(0.6 * text_size)
    for digit, value, confidence in zip(reading.digits, reading.values, reading.confidences, strict=True):
        colour = confidence_colour(confidence)
        x, y, width, height = (side * scale for side in digit.box)
        gap = 0.15 * text_size
        draw.rounded_rectangle(
            (x - gap, y - gap, x + width + gap, y + height + gap),
            radius=2 * gap,
            fill=(*colour, 36),
            outline=(*colour, 255),
            width=max(2, round(text_size / 12)),
        )
        text = str(value) if confidence >= min_confidence else "?"
        percent = f"{100 * confidence:.0f}%"
        tab_width = draw.textlength(text, font) + draw.textlength(percent, small) + 4 * gap
        if tab_width > room_beside(digit, reading.digits) * scale:  # in a crowd the colour must do
            percent, tab_width = "", draw.textlength(text, font) + 2 * gap
        left = float(np.clip(x + width / 2 - tab_width / 2, 0, max(0, image.width - tab_width)))
        top = max(0.0, y - gap - 1.25 * text_size)
        draw.rounded_rectangle(
            (left, top, left + tab_width, top + 1.2 * text_size), radius=2 * gap, fill=(*colour, 235)
        )
        middle = top + 0.6 * text_size
        draw.text((left + gap, middle), text, "white", font, anchor="lm")
        draw.text((left + tab_width - gap, middle), percent, "white", small, anchor="rm")
    return image


def room_beside(digit, digits):
    """Pixels from the middle of a digit to the middle of its nearest neighbour in the line."""
    middles = [other.box[0] + other.box[2] / 2 for other in digits if other.line == digit.line and other is not digit]
    return min((abs(digit.box[0] + digit.box[2] / 2 - middle) for middle in middles), default=float("inf"))


def confidence_colour(confidence):
    """Green when sure, amber when not so sure, red when it is a guess."""
    if confidence >= 0.9:
        return 22, 140, 84
    return (208, 135, 0) if confidence >= 0.6 else (205, 45, 45)


def montage(picture, reading):
    """Every stage of one picture on one sheet, and below it the crops as the network sees them."""
    stages = {}
    find_digits(picture, stages=stages)
    panels = [("the picture", shrink(picture, 480)[0])]
    for name, stage in stages.items():
        if stage.dtype != np.uint8 or stage.max(initial=0) == 1:
            stage = (255 * stage / max(stage.max(initial=0), 1e-6)).astype(np.uint8)
        panels.append((name, shrink(stage, 480)[0]))
    panels.append(("what was read", annotate(np.asarray(shrink(picture, 480)[0]), scaled(reading, picture))))
    sheet = tile(panels, columns=3)
    crops = crop_row(reading, sheet.width)
    both = Image.new("RGB", (sheet.width, sheet.height + crops.height), "white")
    both.paste(sheet, (0, 0))
    both.paste(crops, (0, sheet.height))
    return both


def scaled(reading, picture, side=480):
    """The reading with its boxes in pixels of the picture shrunk to this side."""
    scale = min(1.0, side / max(picture.shape[:2]))
    digits = [digit._replace(box=tuple(scale * length for length in digit.box)) for digit in reading.digits]
    return reading._replace(digits=digits)


def tile(panels, columns):
    """Titled images side by side, in rows of so many."""
    cell_width = max(image.width for _, image in panels) + 12
    cell_height = max(image.height for _, image in panels) + 34
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (cell_width * min(columns, len(panels)), cell_height * rows), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (title, image) in enumerate(panels):
        x, y = cell_width * (i % columns) + 6, cell_height * (i // columns) + 28
        draw.text((x, y - 22), title, "black", ImageFont.load_default(16))
        sheet.paste(image, (x, y))
    return sheet


def crop_row(reading, width, zoom=2):
    """The 28x28 crops, each with what it was read as, in as many rows as they need."""
    cell_width, cell_height = 28 * zoom + 6, 28 * zoom + 22
    columns = max(1, width // cell_width)
    rows = -(-len(reading.digits) // columns)
    sheet = Image.new("RGB", (width, cell_height * rows + 6), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (digit, value, confidence) in enumerate(
        zip(reading.digits, reading.values, reading.confidences, strict=True)
    ):
        x, y = cell_width * (i % columns) + 3, cell_height * (i // columns) + 3
        sheet.paste(Image.fromarray(digit.crop).resize((28 * zoom, 28 * zoom), Image.Resampling.NEAREST), (x, y))
        label = f"{value}  {100 * confidence:.0f}%" if zoom > 1 else str(value)
        draw.text((x + 14 * zoom, y + 28 * zoom + 9), label, confidence_colour(confidence), anchor="mm")
    return sheet


def save_image(image, path):
    """Write an image, whole or not at all, into a folder that is made where it is missing."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            image.save(file, "PNG")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def output_names(files):
    """A PNG file name for each picture; pictures of the same name in different folders do not overwrite each other."""
    seen, names = Counter(), []
    for file in files:
        stem = Path(file).stem
        seen[stem] += 1
        names.append(f"{stem}.png" if seen[stem] == 1 else f"{stem}-{seen[stem]}.png")
    return names


# -- scoring ----------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """How one labelled picture was read. pairs: (wanted, read) characters; None stands for missed, or for too many."""

    row: dict
    reading: Reading
    wanted: str
    read: str
    pairs: list[tuple[str | None, str | None]]

    @property
    def wrong(self):
        """Edit distance, at most the number of digits."""
        return min(sum(wanted != read for wanted, read in self.pairs), len(self.wanted))


def align(wanted, read):
    """Pair two strings with the fewest edits (Levenshtein distance): a list of (wanted, read), None for a gap."""
    table = np.zeros((len(wanted) + 1, len(read) + 1), int)
    table[:, 0], table[0] = range(len(wanted) + 1), range(len(read) + 1)
    for i, a in enumerate(wanted, 1):
        for j, b in enumerate(read, 1):
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (a != b))
    pairs, i, j = [], len(wanted), len(read)
    while i or j:
        if i and j and table[i, j] == table[i - 1, j - 1] + (wanted[i - 1] != read[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((wanted[i], read[j]))
        elif i and table[i, j] == table[i - 1, j] + 1:
            i -= 1
            pairs.append((wanted[i], None))
        else:
            j -= 1
            pairs.append((None, read[j]))
    return pairs[::-1]


def read_manifest(path):
    """The rows of a labelled set: tab-separated with a header that has at least `file` and `label`."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not rows or not all(row.get("file") and digits_of(row.get("label") or "") for row in rows):
        raise UserError(f"{path}: not a manifest: tab-separated columns `file` and `label`, digits in every label")
    return rows


def digits_of(label):
    """The digits of a label; lines may be separated by anything."""
    return "".join(character for character in label if character in "0123456789")


def score_pictures(rows, readings):
    """A Score for each row of a manifest; a picture that could not be read counts as read empty."""
    scores = []
    for row, reading in zip(rows, readings, strict=True):
        if isinstance(reading, UserError):
            reading = Reading(row["file"], [], np.zeros(0, int), np.zeros(0))
        wanted, read = digits_of(row["label"]), "".join(map(str, reading.values))
        scores.append(Score(row, reading, wanted, read, align(wanted, read)))
    return scores


def calibration(scores):
    """(bins, error): for each bin of confidence (digits, mean confidence, share right), and the expected error.

    The expected calibration error is the difference between confidence and share right, averaged over all digits.
    """
    right = [wanted == read for score in scores for wanted, read in score.pairs if read is not None]
    confidences = np.concatenate([score.reading.confidences for score in scores])
    right, bin_of = np.array(right, bool), np.minimum((confidences * BINS).astype(int), BINS - 1)
    bins = []
    for i in range(BINS):
        mine = bin_of == i
        if mine.any():
            bins.append((int(mine.sum()), float(confidences[mine].mean()), float(right[mine].mean())))
    total = sum(count for count, _, _ in bins)
    return bins, sum(count * abs(sure - share) for count, sure, share in bins) / total if total else 0.0


def report(scores):
    """The score of a labelled set as text."""
    lines = [f"{'':12}{'pictures':>9}{'digits':>8}{'digit accuracy':>16}{'exact':>14}"]
    groups = {"all": scores}
    for column in ("difficulty", "kind"):
        for score in scores:
            if score.row.get(column):
                groups.setdefault(score.row[column], []).append(score)
    for name, group in groups.items():
        digits = sum(len(score.wanted) for score in group)
        accuracy = 1 - sum(score.wrong for score in group) / digits
        exact = sum(score.wanted == score.read for score in group)
        share = f"{exact}/{len(group)} = {exact / len(group):.1%}"
        lines.append(f"{name:12}{len(group):9}{digits:8}{accuracy:16.1%}{share:>18}")
    failures = [score for score in scores if score.wanted != score.read]
    if failures:
        lines += ["", "not read exactly:"]
        lines += [
            f"  {score.row['file']}: {score.row['label']} read as {'/'.join(score.reading.lines()) or 'nothing'}"
            for score in failures
        ]
        mistakes = Counter(pair for score in scores for pair in score.pairs if pair[0] != pair[1])
        lines += ["", "mistakes:"]
        lines += [f"  {describe(*pair)}: {count}" for pair, count in mistakes.most_common()]
    bins, error = calibration(scores)
    lines += ["", f"{'confidence':>12}{'right':>8}{'digits':>8}"]
    lines += [f"{sure:12.1%}{share:8.1%}{count:8}" for count, sure, share in bins]
    lines.append(f"expected calibration error {error:.3f}")
    return "\n".join(lines)


def describe(wanted, read):
    if wanted is None:
        return f"a {read} that is not there"
    return f"{wanted} missed" if read is None else f"{wanted} read as {read}"


def failure_sheet(scores, folder):
    """The pictures that were not read exactly, annotated, with their crops; None when there is none."""
    panels = []
    for score in scores:
        if score.wanted != score.read:
            try:
                picture = open_picture(folder / score.row["file"])
            except UserError:
                continue  # it was reported when it was read
            image = annotate(np.asarray(shrink(picture, 480)[0]), scaled(score.reading, picture))
            crops = crop_row(score.reading, 480, zoom=1)
            panel = Image.new("RGB", (480, image.height + crops.height), "white")
            panel.paste(image, (0, 0))
            panel.paste(crops, (0, image.height))
            title = f"{score.row['file'][:18]}: {score.row['label'][:14]} read {'/'.join(score.reading.lines())[:14]}"
            panels.append((title, panel))
    return tile(panels, columns=3) if panels else None


# -- the command ------------------------------------------------------------------------------------------------------


def parse_arguments(argv):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="pictures of handwritten digits, of any kind")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="PATH", help="model file (default: weights/digits.npz)"
    )
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto", help="where the network runs")
    parser.add_argument("--json", action="store_true", help="print one JSON object per picture, each on a line")
    parser.add_argument(
        "--min-confidence",
        type=number(float, 0, "a confidence from 0 to 1", 1),
        default=0.0,
        metavar="SHARE",
        help="print ? for a digit that the network is less sure of (0 to 1)",
    )
    parser.add_argument("--output", metavar="DIR", help="write the pictures with boxes, digits and confidences there")
    parser.add_argument("--debug", metavar="DIR", help="write a sheet with every stage for each picture there")
    parser.add_argument(
        "--evaluate",
        metavar="MANIFEST",
        help="score the reader on labelled pictures (tab-separated: file, label); failures.png shows those that are "
        "not read exactly, in the folder of --output or here",
    )
    args = parser.parse_args(argv)
    if bool(args.pictures) == bool(args.evaluate):
        parser.error("give either pictures or --evaluate MANIFEST")
    if args.evaluate and (args.json or args.debug or args.min_confidence):
        parser.error("--evaluate takes --model, --device and --output, and no other option")
    return args


def read_and_print(files, model, args):
    """Read, print and draw the pictures; returns the exit status."""
    readings = read_pictures(files, model)
    for file, reading in zip(files, readings, strict=True):
        if isinstance(reading, UserError):
            complain(reading)
        if args.json:
            print(as_json(file, reading, args.min_confidence))
        elif isinstance(reading, Reading):
            print(as_text(reading, args.min_confidence, headed=len(files) > 1))
    draw_all(files, readings, args)
    return 2 if any(isinstance(reading, UserError) for reading in readings) else 0


def draw_all(files, readings, args):
    for file, name, reading in zip(files, output_names(files), readings, strict=True):
        if isinstance(reading, Reading) and (args.output or args.debug):
            picture = open_picture(file)
            if args.output:
                save_image(annotate(picture, reading, args.min_confidence), Path(args.output) / name)
            if args.debug:
                save_image(montage(picture, reading), Path(args.debug) / f"{Path(name).stem}-stages.png")


def evaluate(manifest, model, args):
    """Score a labelled set, print the report and write the sheet of failures; returns the exit status."""
    rows = read_manifest(manifest)
    folder = Path(manifest).parent
    files = [folder / row["file"] for row in rows]
    readings = read_pictures(files, model)
    bad = [reading for reading in readings if isinstance(reading, UserError)]
    for error in bad:
        complain(error)
    scores = score_pictures(rows, readings)
    print(report(scores))
    sheet = failure_sheet(scores, folder)
    if sheet:
        path = Path(args.output or ".") / "failures.png"
        save_image(sheet, path)
        print(f"\nthe failures are drawn in {path}")
    return 2 if bad else 0


def complain(error):
    print(f"analyze.py: error: {' '.join(str(error).split())}", file=sys.stderr)


def main(argv=None):
    args = parse_arguments(argv)
    model = load_model(args.model, args.device)
    if args.evaluate:
        return evaluate(args.evaluate, model, args)
    return read_and_print(args.pictures, model, args)


if __name__ == "__main__":
    run(main)
