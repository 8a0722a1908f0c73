"""What was read, as text, JSON lines or CSV, and the file of results that a later run goes on with."""

import csv
import io
import json

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
        whole = self._read(path)
        self._file = open(path, "ab")  # noqa: SIM115 (closed by __exit__)
        self._file.truncate(whole)

    def _read(self, path):
        """Fill `done`; returns how many bytes of the file hold whole results."""
        whole = 0
        try:
            with open(path, "rb") as lines:
                for number, line in enumerate(lines, 1):
                    name = _name_in(line)
                    if name is None and not (BEGINNING.startswith(line[:9]) and not line.endswith(b"\n")):
                        raise UserError(f"{path}: line {number} is no result of analyze.py; give another name")
                    if name is not None:
                        self.done.add(name)
                        whole += len(line)
        except FileNotFoundError:
            pass
        return whole

    def add(self, line):
        """Write a result, and hand it to the operating system: it stays when this process is killed."""
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
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
