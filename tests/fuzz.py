"""Damaged pictures, models and IDX files: each is read, or refused in one line, soon, and nothing else is printed.

    python -m tests.fuzz --pictures 20000 --models 5000 --idx 1000        by hand; test_fuzz.py tries a few hundred
    python -m tests.fuzz --pictures 1 --first 1234                        case 1234 once more

The seed and the number of a case decide what it is. What fails is kept and named. If a case hangs for a minute, or ends
the whole process, its file is the last one in the folder.
"""

import contextlib
import faulthandler
import gzip
import io
import os
import struct
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

import mnist_data
from cnn_jit import CNNJit
from errors import Parser, UserError, number
from photos.reading import Reading, read_pictures
from sizes import PHOTO_CLASSES

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 10  # that a case may take
HANGS = 60  # seconds after which the program gives up
MEMORY = 3 * 2**29  # bytes that all cases may add to what the process needs
SEED = 14

# -- what is damaged: {name: bytes} of whole files --------------------------------------------------------------------


def page():
    """A little picture with a few digits, (60, 100, 3) uint8."""
    paper = np.full((60, 100, 3), 230, np.uint8)
    cv2.putText(paper, "407", (8, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (40, 30, 60), 3)
    return Image.fromarray(paper)


EXIF = Image.Exif()
EXIF[0x0112] = 6  # the camera lay on its side
FRAMES = {"save_all": True, "append_images": [Image.new("L", (100, 60), 128)] * 2}
WAYS = [  # (format, mode, options of Pillow's save)
    *(("PNG", mode, {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("TIFF", "RGB", {"compression": way}) for way in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
    *(("TIFF", mode, {}) for mode in ("L", "F", "I;16", "CMYK")),
    ("TIFF", "1", {"compression": "group4"}), ("TIFF", "RGB", {"big_tiff": True, "exif": EXIF}),
    *(("JPEG", mode, {}) for mode in ("L", "RGB", "CMYK")),
    ("JPEG", "RGB", {"progressive": True, "exif": EXIF}), ("PNG", "RGB", {"exif": EXIF}),
    ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True, "exif": EXIF}), ("WEBP", "L", FRAMES),
    ("GIF", "L", FRAMES), ("GIF", "P", {"transparency": 0}),
    *(("BMP", mode, {}) for mode in ("1", "L", "P", "RGB")),
    *((kind, "RGB", {}) for kind in ("AVIF", "HEIF", "JPEG2000", "DIB", "ICO", "PCX", "PPM", "QOI")),
    ("TGA", "RGBA", {"compression": "tga_rle"}), ("PPM", "1", {}), ("PPM", "L", {}), ("MPO", "RGB", {}),
    # What is refused: no decoder should run.
    *((kind, "RGB", {}) for kind in ("EPS", "PDF", "SGI", "ICNS", "DDS")), ("SPIDER", "F", {}), ("MSP", "1", {}),
]  # fmt: skip
OTHERS = {
    "EMF": struct.pack("<II8i", 1, 108, 0, 0, 0, 0, 0, 0, 0, 0) + b" EMF" + bytes(66),
    "WMF": b"\xd7\xcd\xc6\x9a" + bytes(40),
    "PSD": b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 60, 100, 8, 3) + bytes(200),
    "FITS": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(80),
    "GRIB": b"GRIB" + bytes(3) + b"\x01" + bytes(40),
    "text": b"these are no digits\n" * 20,
}


def pictures():
    Image.init()
    found = dict(OTHERS)
    for kind, mode, options in WAYS:
        if kind in Image.SAVE:
            image = page().convert("L")
            image = Image.fromarray(np.uint16(image) * 257) if mode == "I;16" else image.convert(mode)
            with io.BytesIO() as file:
                image.save(file, kind, **options)
                found[" ".join([kind, mode, *map(str, options)])] = file.getvalue()
    return found


def models():
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for activation, classes in (("none", 10), ("relu", PHOTO_CLASSES)):
            CNNJit(1, activation, num_classes=classes).save(Path(folder, "model.npz"))
            found[activation] = Path(folder, "model.npz").read_bytes()
    return found


LABELS = "t10k-labels-idx1-ubyte.gz"  # the smallest file of the set


def idx_files():
    return {"labels": (mnist_data.DATA_DIR / LABELS).read_bytes()}


# -- how it is damaged: functions of the bytes, random numbers, and the bytes of another file --------------------------


def change_bytes(content, random, other):
    for place in random.integers(0, len(content), random.integers(1, 20)):
        content[place] = random.integers(256)
    return content


def change_head(content, random, other):
    place = random.integers(0, min(len(content), 200))
    content[place] = random.integers(256)
    return content


def change_number(content, random, other):
    """One that may be a size, an offset or a count."""
    value = random.choice([0, 1, 2, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1])
    packed = struct.pack(random.choice(["<", ">"]) + ("I" if value >= 2**16 or random.random() < 0.5 else "H"), value)
    place = random.integers(0, min(len(content), random.choice([64, 10**9])))
    content[place : place + len(packed)] = packed
    return content


def cut_off(content, random, other):
    return content[: random.integers(0, len(content))]


def cut_out(content, random, other):
    first, end = sorted(random.integers(0, len(content), 2))
    return content[:first] + content[end:]


def clear(content, random, other):
    first = random.integers(0, len(content))
    count = min(random.integers(1, 200), len(content) - first)
    content[first : first + count] = bytes([random.choice([0, 255])]) * count
    return content


def put_in(content, random, other):
    place = random.integers(0, len(content))
    return content[:place] + random.bytes(random.integers(1, 200)) + content[place:]


def repeat(content, random, other):
    first, end = sorted(random.integers(0, len(content), 2))
    return content[:end] + content[first:end] * random.integers(1, 4) + content[end:]


def join(content, random, other):
    return content[: random.integers(0, len(content))] + other[random.integers(0, len(other)) :]


def leave(content, random, other):
    return content


WHOLE_FILE = change_bytes, change_head, change_number, cut_off, cut_out, clear, put_in, repeat, join, leave


def with_right_sums(content):
    """A PNG file whose chunks have the checksums of what is in them now, so that the damage gets further."""
    place = 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        end = place + 8 + length
        if end + 4 > len(content):
            break
        content[end : end + 4] = struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return content


def damaged_picture(content, damage):
    content = damage(content)
    return with_right_sums(content) if content.startswith(b"\x89PNG") and len(content) % 2 else content


def damaged_model(content, damage):
    """The archive, or one of its members inside a whole archive."""
    if len(content) % 2:
        return damage(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with io.BytesIO() as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, damage(bytearray(member)))
        archive.close()
        return bytearray(file.getvalue())


def damaged_idx(content, damage):
    """The compressed file, or what is in it."""
    changed = damage(bytearray(content))
    return changed if len(changed) % 2 else gzip.compress(bytes(damage(bytearray(gzip.decompress(content)))), 1)


# -- what must come of it ---------------------------------------------------------------------------------------------


def read_picture(path, network):
    (reading,) = read_pictures([path], network)
    if isinstance(reading, UserError):
        raise reading
    assert isinstance(reading, Reading) and np.isfinite(reading.confidences).all()
    assert all(side >= 0 for digit in reading.digits for side in digit.box)


def read_model(path, _):
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28), np.uint8)
    with np.errstate(over="raise", invalid="raise"):
        assert np.isfinite(CNNJit.load(path).predict(images)).all()


def read_idx(path, _):
    array, problem = mnist_data.read_checked(path, LABELS)
    if problem:
        raise UserError(f"{path}: {problem}")
    assert array.shape == (10_000,)


class Kind(NamedTuple):
    """One kind of input."""

    whole: object  # () -> {name: bytes}
    damaged: object  # (bytes, damage(bytes)) -> bytes
    read: object  # (path, network): raises UserError if the file is refused


KINDS = {
    "pictures": Kind(pictures, damaged_picture, read_picture),
    "models": Kind(models, damaged_model, read_model),
    "idx": Kind(idx_files, damaged_idx, read_idx),
}


# -- the cases --------------------------------------------------------------------------------------------------------


class Result(NamedTuple):
    """What came of one case."""

    name: str
    refused: bool  # by one line
    problem: str  # "" if all is as it should be
    seconds: float


def case(kind, whole, seed, which):
    """(name, bytes) of case number `which`."""
    random = np.random.default_rng([seed, list(KINDS).index(kind), which])
    name, other = random.choice(sorted(whole), 2)
    damages = [WHOLE_FILE[random.integers(len(WHOLE_FILE))] for _ in range(random.integers(1, 3))]

    def damage(content):
        for one in damages:
            content = bytearray(one(content, random, whole[other])) if content else content
        return content

    content = KINDS[kind].damaged(bytearray(whole[name]), damage)
    return f"{which} {name}: {', '.join(one.__name__ for one in damages)}", bytes(content)


@contextlib.contextmanager
def printed():
    """What is printed in the block, also by libraries in C: a list that gets it, as bytes, at the end."""
    found = []
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    with tempfile.TemporaryFile() as file:
        try:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            yield found
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, before in zip((1, 2), kept, strict=True):
                os.dup2(before, stream)
                os.close(before)
            file.seek(0)
            found.append(file.read())


def attempt(read, path, network):
    """(refused in one line, problem, seconds) of reading one file."""
    refused, problem = False, ""
    start = time.perf_counter()
    with printed() as text:
        try:
            read(path, network)
        except UserError as error:
            refused = True
            if "\n" in str(error) or str(path) not in str(error):
                problem = f"no line that names the file: {error}"
        except Exception:
            problem = traceback.format_exc()
    seconds = time.perf_counter() - start
    if text[0]:
        problem += f"printed: {text[0][:500]}"
    if seconds > SECONDS:
        problem += f"took {seconds:.1f} s"
    return refused, problem, seconds


def run_cases(kind, numbers, folder, seed=SEED):
    """The Result of each case; those with a problem leave their file in the folder."""
    whole = KINDS[kind].whole()
    network = CNNJit.load(ROOT / "weights" / "digits.npz")
    for which in numbers:
        name, content = case(kind, whole, seed, which)
        path = Path(folder, f"{kind}-{seed}-{which}")
        path.write_bytes(content)
        refused, problem, seconds = attempt(KINDS[kind].read, path, network)
        if not problem:
            path.unlink()
        yield Result(name, refused, problem, seconds)


def memory():
    """The most bytes that this process ever had in memory."""
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def summary(kind, results, added):
    bad = sum(bool(result.problem) for result in results)
    refused = sum(result.refused for result in results)
    longest = max(results, key=lambda result: result.seconds)
    grown = f"memory grew by {added / 2**20:.0f} MiB"
    return (
        f"{kind}: {len(results):,} tried, {len(results) - refused - bad:,} read, {refused:,} refused in one line, "
        f"{bad} problems; {grown}; the longest took {longest.seconds:.2f} s: {longest.name}"
    )


def main(argv=None):
    parser = Parser(description=__doc__.splitlines()[0])
    from_zero = number(int, 0, "a whole number from 0")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=from_zero, default=0, metavar="N", help="how many")
    parser.add_argument("--first", type=from_zero, default=0, metavar="N", help="the number of the first case")
    parser.add_argument("--seed", type=from_zero, default=SEED, metavar="N")
    args = parser.parse_args(argv)
    tqdm.monitor_interval = 0  # its thread would print while a case is tried
    folder = tempfile.mkdtemp(prefix="fuzz-")
    print(f"what fails is kept in {folder}")
    problems = 0
    for kind in [kind for kind in KINDS if getattr(args, kind)]:
        before, results = memory(), []
        faulthandler.dump_traceback_later(HANGS, exit=True)
        cases = range(args.first, args.first + getattr(args, kind))
        for result in run_cases(kind, tqdm(cases, desc=kind, mininterval=5), folder, args.seed):
            faulthandler.dump_traceback_later(HANGS, exit=True)  # its time begins anew
            results.append(result)
            if result.problem:
                tqdm.write(f"{kind} {result.name}\n{result.problem}\n")
        print(summary(kind, results, memory() - before))
        problems += any(result.problem for result in results) + (memory() - before > MEMORY)
    faulthandler.cancel_dump_traceback_later()
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
