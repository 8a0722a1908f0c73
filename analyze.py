"""Read the handwritten digits in pictures.

    python analyze.py samples/digits.jpg                   prints the digits, line by line
    python analyze.py a.jpg b.png --output read            ... and draws what was read into copies of the pictures
    python analyze.py photo.jpg --debug stages             ... and shows how the digits were found
    python analyze.py scans --resume scans.jsonl           reads a folder, and goes on after it was stopped
    python analyze.py scans --cluster tcp://host:8786      ... by several machines
    python analyze.py --evaluate samples/manifest.tsv      scores the reader on labelled pictures

photos/segment.py finds the ink, and photos/reading.py decides with the network which pieces of it are digits. Many
pictures are read by all cores, see volume/. A bad picture does not stop the others, but the exit status is then 2.
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import contextlib
import itertools
import os
import sys
from pathlib import Path

from errors import Parser, UserError, number, run
from photos.drawing import OutputNames, Said, failure_sheet, save_image
from photos.processes import cores
from photos.scoring import read_manifest, report, score_pictures
from volume import sharing
from volume.listing import listed, pictures
from volume.results import CSV_HEADER, ResultFile, as_csv, as_json, as_text
from volume.work import DEFAULT_MODEL, Task, cached_model, model_hash

FEW = 32  # pictures: fewer are read by this process before others have started


def main(argv=None):
    args = parse_arguments(argv)
    if sys.stdout is not None:
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may have letters that the screen has not
    if args.evaluate:
        return evaluate(args.evaluate, args)
    return read_and_print(args)


def parse_arguments(argv=None):
    """The options of the command line; leaves the program with one line and status 2 when they do not fit together."""
    parser = Parser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    args = parser.parse_args(argv)
    if (bool(args.pictures) + bool(args.files_from) + bool(args.evaluate)) != 1:
        parser.error("give either pictures, --files-from LIST or --evaluate MANIFEST")
    if args.evaluate and (args.format or args.debug or args.min_confidence or args.resume):
        parser.error("--evaluate takes --model, --device, --processes, --cluster and --output, and no other option")
    if args.resume and args.format not in (None, "json"):
        parser.error("--resume writes JSON lines, and no other format")
    if args.cluster and args.processes:
        parser.error("--processes is for this machine; the workers of --cluster have theirs")
    if args.device == "cuda" and (args.cluster or (args.processes or 1) > 1):
        parser.error("--device cuda reads in one process: a second one would only wait for the GPU")
    return args


def add_arguments(parser):
    add = parser.add_argument
    add("pictures", nargs="*", metavar="PICTURE", help='pictures of any kind, folders of them, or globs like "*.jpg"')
    add("--files-from", metavar="LIST", help="read the pictures that a text file names, one a line (-: stdin)")
    add("--format", choices=("text", "json", "csv"), help="how to print what was read; json: one object a line")
    add("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    add(
        "--min-confidence",
        type=number(float, 0, "a confidence from 0 to 1", 1),
        default=0.0,
        metavar="SHARE",
        help="print ? for a digit that the network is less sure of (0 to 1)",
    )
    add("--output", metavar="DIR", help="write the pictures with boxes, digits and confidences there")
    add("--debug", metavar="DIR", help="write a sheet with every stage for each picture there")
    add(
        "--resume",
        metavar="FILE",
        help="add what was read to this file of JSON lines, instead of printing it, and leave out the pictures that "
        "are in it: the same command goes on where a stopped one was",
    )
    add("--model", metavar="PATH", help="model file (default: weights/digits.npz)")
    add(
        "--device",
        choices=("auto", "cuda", "cpu"),
        default="auto",
        help="where the network runs; auto: on the CPU, which has read a picture before a GPU is ready",
    )
    add(
        "--processes",
        type=number(int, 1, "a whole number of at least 1"),
        metavar="N",
        help="how many processes read (default: one for each core)",
    )
    add("--cluster", metavar="ADDRESS", help="let the workers of a Dask scheduler read: tcp://HOST:PORT")
    add(
        "--evaluate",
        metavar="MANIFEST",
        help="score the reader on labelled pictures (tab-separated: file, label); failures.png shows those that are "
        "not read exactly, in the folder of --output or here",
    )


# -- pictures ---------------------------------------------------------------------------------------------------------


class Complaints:
    """Prints each UserError in one line on stderr, as `errors.run` prints the others, and counts them."""

    def __init__(self):
        self.count = 0
        self.write = print

    def __call__(self, error):
        self.count += 1
        self.write(f"analyze.py: error: {' '.join(str(error).split())}", file=sys.stderr)


def read_and_print(args):
    """Read, print and draw the pictures; returns the exit status."""
    complain = Complaints()
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(ResultFile(args.resume)) if args.resume else None
        files = names_of(args, complain)
        first = list(itertools.islice(files, 2))
        files = itertools.chain(first, files)
        bar = stack.enter_context(progress_bar(args, kept, len(first)))
        complain.write = bar.write
        show = printer(args, kept, len(first) > 1, bar.write)
        said = stack.enter_context(Said(bar.write))
        for (file, *drawn), result in stack.enter_context(read_all(files, args, kept.done if kept else ())):
            if isinstance(result, UserError):
                complain(result)
            show(file, result)
            said(path for path in drawn if path and not isinstance(result, UserError))
            bar.update()
    return 2 if complain.count else 0


def names_of(args, complain):
    """The names of all pictures that the command line asks for, one by one."""
    if args.files_from:
        return listed(args.files_from)
    return pictures(args.pictures, complain, leave_out=(args.output, args.debug))


def printer(args, kept, headed, write):
    """A function that takes a picture's name and its result, and prints it, or adds it to the ResultFile `kept`.

    write: how to print a line, above the progress bar.
    """
    least = args.min_confidence
    if kept:
        return lambda file, result: kept.add(as_json(file, result, least))
    if args.format == "csv":
        print(CSV_HEADER)

    def show(file, result):
        if args.format == "json":
            text = as_json(file, result, least)
        elif args.format == "csv":
            text = as_csv(file, result, least)
        else:
            text = as_text(file, result, least, headed)
        if text is not None and sys.stdout is not None:
            write(text)
            sys.stdout.flush()

    return show


class NoBar(contextlib.nullcontext):
    """Stands in for a progress bar where none is shown: tqdm takes time to import."""

    write = staticmethod(print)

    def __enter__(self):
        return self

    def update(self):
        pass


def progress_bar(args, kept, at_least):
    """A bar on stderr for more than one picture, if a person looks at it. With the time left, if all can be counted."""
    shown = at_least > 1 and sys.stderr is not None and sys.stderr.isatty()
    if not shown:
        return NoBar()
    total = None
    if args.files_from is None or os.path.isfile(args.files_from):  # a pipe can be read only once
        done = kept.done if kept else ()
        total = sum(file not in done for file in names_of(args, lambda error: None))
    from tqdm import tqdm

    return tqdm(total=total, unit=" pictures", dynamic_ncols=True, smoothing=0.05)


@contextlib.contextmanager
def read_all(files, args, done=()):
    """The results of pictures that are not done yet, as `sharing.in_order` gives them; they are drawn, too.

        with read_all(files, args) as results:
            for (file, drawn, sheet), result in results:      # the two that are drawn of it, or None

    Few of them, or with --device cuda, are read by this process, more by several, or by a cluster.
    """
    drawn = OutputNames(args.output) if args.output and not args.evaluate else None
    sheets = OutputNames(args.debug, "-stages") if args.debug else None
    named = ((file, *(names and str(names.of(file)) for names in (drawn, sheets))) for file in files)
    ahead = (names for names in named if names[0] not in done)
    first = list(itertools.islice(ahead, FEW))
    count = args.processes or (1 if len(first) < FEW or args.device == "cuda" else cores())
    device = args.device if count == 1 and not args.cluster else "cpu"
    place = os.path.abspath if args.cluster else str  # workers stand in another folder
    model = args.model and place(args.model), model_hash(args.model or DEFAULT_MODEL), device
    cached_model(*model)  # what is wrong with it is said before others start
    tasks = (
        ((file, *outputs), Task(place(file), *(name and place(name) for name in outputs), *model, args.min_confidence))
        for file, *outputs in itertools.chain(first, ahead)
    )
    if args.cluster:
        pool = sharing.cluster(args.cluster)
    else:
        pool = sharing.processes(count) if count > 1 else sharing.this_process()
    with pool as pool:
        yield sharing.in_order(pool, tasks)


# -- labelled pictures ------------------------------------------------------------------------------------------------


def evaluate(manifest, args):
    """Score a labelled set, print the report and draw the failures; returns the exit status."""
    complain = Complaints()
    rows = read_manifest(manifest)
    folder = Path(manifest).parent
    with read_all([str(folder / row["file"]) for row in rows], args) as results:
        readings = [reading for _, reading in results]
    for reading in readings:
        if isinstance(reading, UserError):
            complain(reading)
    scores = score_pictures(rows, readings)
    print(report(scores))
    sheet = failure_sheet(scores, folder)
    if sheet:
        path = Path(args.output or ".") / "failures.png"
        save_image(sheet, path)
        print(f"\nthe failures are drawn in {path}")
    return 2 if complain.count else 0


if __name__ == "__main__":
    run(main)
