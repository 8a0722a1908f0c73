"""What was read, as text, JSON lines or CSV, and the file of results that a later run goes on with."""

import contextlib
import csv
import io
import json
import os

from errors import UserError

# -- one result -------------------------------------------------------------------------------------------------------
#
# Each takes the name of a picture and its result, a Reading or a UserError, and gives text without its last line break.


def as_text(file, result, min_confidence, headed):
    """The lines of digits of one picture; None for an error. headed: whether its name stands above them."""
    if isinstance(result, UserError):
        return None
    lines = result.lines(min_confidence) or ["no digits found"]
    return "\n".join([f"{file}:"] + [f"  {line}" for line in lines] if headed else lines)


def as_json(file, result, min_confidence):
    """One JSON object, on one line."""
    if isinstance(result, UserError):
        return json.dumps({"file": file, "error": str(result)})
    digits = [
        {"digit": int(value), "confidence": round(float(confidence), 4), "box": list(digit.box), "line": digit.line}
        for digit, value, confidence in zip(result.digits, result.values, result.confidences, strict=True)
    ]
    return json.dumps({"file": file, "lines": result.lines(min_confidence), "digits": digits})


CSV_HEADER = "file,lines,confidence,error"


def as_csv(file, result, min_confidence):
    """One row of CSV_HEADER: lines with a slash between them, and the lowest confidence of all digits."""
    if isinstance(result, UserError):
        row = [file, "", "", str(result)]
    else:
        lowest = f"{result.confidences.min():.4f}" if len(result.confidences) else ""
        row = [file, "/".join(result.lines(min_confidence)), lowest, ""]
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(row)
    return text.getvalue()


# -- the file of results ----------------------------------------------------------------------------------------------

BEGINNING = b'{"file": '  # of every result: what begins otherwise is not cut off, for it is not ours
LONGEST = 2**24  # bytes of a line that is read: a page full of digits needs far fewer


class ResultFile:
    """A file of JSON lines, one for each picture, to which results are added as soon as they are there.

        with ResultFile("results.jsonl") as kept:
            if "a.jpg" not in kept.done:
                kept.add(as_json("a.jpg", reading, 0.0))

    A killed run may have left half a line at the end. It is cut off when the file is opened. Raises UserError when
    there is a file of this name that holds something else.
    """

    def __init__(self, path):
        self.done = set()  # names of pictures
        self._path = path
        if os.path.exists(path) and not os.path.isfile(path):
            raise UserError(f"{path}: not a file")
        whole = self._read()
        self._file = open(path, "ab")  # noqa: SIM115 (closed by __exit__)
        self._file.truncate(whole)

    def _read(self):
        """Fill `done`; returns how many bytes of the file hold whole results."""
        whole = 0
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
                name = _name_in(line)
                is_half = BEGINNING.startswith(line[: len(BEGINNING)]) and not line.endswith(b"\n")
                if name is None and not is_half:
                    raise UserError(f"{self._path}: line {number} is no result of analyze.py; give another name")
                if name is not None:
                    self.done.add(name)
                    whole += len(line)
        return whole

    def add(self, line):
        """Write a result, and hand it to the operating system: it stays when this process is killed.

        Raises UserError when the disk is full.
        """
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {error.strerror}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # it closes all the same; what could not be written was told by `add`
            self._file.close()


def _name_in(line):
    """The name of the picture in a whole line, bytes, of a file of results; None if it is no such line."""
    if not line.endswith(b"\n"):
        return None
    try:
        name = json.loads(line)["file"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return name if isinstance(name, str) else None
