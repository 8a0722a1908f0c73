"""Read the handwritten digits in pictures.

    python analyze.py samples/digits.jpg                   prints the digits, line by line
    python analyze.py a.jpg b.png --output read            ... and draws what was read into copies of the pictures
    python analyze.py photo.jpg --debug stages             ... and shows how the digits were found
    python analyze.py --evaluate samples/manifest.tsv      scores the reader on labelled pictures

photos/segment.py finds the ink, and photos/reading.py decides with the network which pieces of it are digits, on the
GPU where there is one. A bad picture does not stop the others, but the exit status is then 2.
"""

import json
import sys
from pathlib import Path

from errors import Parser, UserError, number, run
from photos.drawing import annotate, failure_sheet, save_image, stage_sheet
from photos.opening import open_to_read
from photos.reading import Reading, read_picture, read_pictures
from photos.scoring import read_manifest, report, score_pictures

DEFAULT_MODEL = Path(__file__).parent / "weights" / "digits.npz"


def main(argv=None):
    args = parse_arguments(argv)
    model = load_model(args.model, args.device)
    if args.evaluate:
        return evaluate(args.evaluate, model, args)
    return read_and_print(args.pictures, model, args)


def parse_arguments(argv=None):
    """The options of the command line; leaves the program with one line and status 2 when they do not fit together."""
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


def load_model(path, device):
    """The network from a model file, on a device: "cuda", "cpu", or "auto" for the GPU where there is one.

    Unlike `gpu_launch.use_gpu`, this says nothing when "auto" takes the CPU. Raises UserError when the file is no
    model, or when "cuda" is asked for and there is no GPU.
    """
    if device != "cpu":
        from gpu_launch import gpu_problem  # slow to import, and not needed for "cpu"

        problem = gpu_problem()
        if problem is None:
            from cnn_gpu import CNNGPU

            return CNNGPU.load(path)
        if device == "cuda":
            raise UserError(f"--device cuda: {problem}")
    from cnn_jit import CNNJit

    return CNNJit.load(path)


# -- pictures ---------------------------------------------------------------------------------------------------------


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
    draw_all(files, readings, model, args)
    return 2 if any(isinstance(reading, UserError) for reading in readings) else 0


def complain(error):
    """A picture's UserError in one line on stderr, as `errors.run` prints the others."""
    print(f"analyze.py: error: {' '.join(str(error).split())}", file=sys.stderr)


def as_text(reading, min_confidence, headed):
    """The lines of digits of one picture. headed: whether its name stands above them, as with several pictures."""
    lines = reading.lines(min_confidence) or ["no digits found"]
    return "\n".join([f"{reading.file}:"] + [f"  {line}" for line in lines] if headed else lines)


def as_json(file, reading, min_confidence):
    """One JSON object, on one line: what was read in a picture, or the error."""
    if isinstance(reading, UserError):
        return json.dumps({"file": str(file), "error": str(reading)})
    digits = [
        {"digit": int(value), "confidence": round(float(confidence), 4), "box": list(digit.box), "line": digit.line}
        for digit, value, confidence in zip(reading.digits, reading.values, reading.confidences, strict=True)
    ]
    return json.dumps({"file": str(file), "lines": reading.lines(min_confidence), "digits": digits})


def draw_all(files, readings, model, args):
    """Write what --output and --debug ask for, for each picture that was read."""
    drawn, sheets = output_paths(files, args.output), output_paths(files, args.debug, "-stages")
    for file, reading, drawn_path, sheet_path in zip(files, readings, drawn, sheets, strict=True):
        if isinstance(reading, Reading) and (args.output or args.debug):
            picture, size = open_to_read(file)
            if args.output:
                save_image(annotate(picture, reading, size, args.min_confidence), drawn_path)
            if args.debug:
                stages = {}
                read_picture(picture, model, size, stages=stages)
                save_image(stage_sheet(picture, reading, stages, size), sheet_path)


def output_paths(files, folder, ending=""):
    """A PNG file in the folder for each picture: two never get the same, and none gets that of a picture itself.

    folder None: the present one, for nothing is written then.
    """
    taken, paths = {Path(file).resolve() for file in files}, []
    for file in files:
        stem = Path(file).stem + ending
        path, number = Path(folder or ".") / f"{stem}.png", 1
        while path.resolve() in taken:
            number += 1
            path = path.with_name(f"{stem}-{number}.png")
        taken.add(path.resolve())
        paths.append(path)
    return paths


# -- labelled pictures ------------------------------------------------------------------------------------------------


def evaluate(manifest, model, args):
    """Score a labelled set, print the report and draw the failures; returns the exit status."""
    rows = read_manifest(manifest)
    folder = Path(manifest).parent
    readings = read_pictures([folder / row["file"] for row in rows], model)
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


if __name__ == "__main__":
    run(main)
