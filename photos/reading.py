"""From picture files to the digits that a network reads in them.

readings = read_pictures(["a.jpg", "b.png"], model)      a Reading, or a UserError, for each file

What cannot be seen from the ink is decided by reading. The ink may be dark or light; a piece of it may be a digit, a
part of one, several or none; the picture may lie on its side. The network reads what each of these would mean, and what
it reads best is taken.
"""

from typing import NamedTuple

import numpy as np

from errors import UserError
from photos.cutting import cut
from photos.glyph import Glyph
from photos.grouping import BORDER, sort_into_lines, unions
from photos.ink import ink_scales, scale_picture
from photos.lattice import best_cover
from photos.normalise import normalise
from photos.opening import open_to_read
from photos.segment import Parts, drawn_parts, find_parts
from photos.weighing import LARGE, Candidate, digit_weights, mark_weights, one_weights, writing_of
from sizes import IMAGE_SIZE, NUM_CLASSES

# -- pictures ---------------------------------------------------------------------------------------------------------


class Digit(NamedTuple):
    """Where one digit was found."""

    crop: np.ndarray  # (28, 28) uint8, ink bright on dark: what the network saw
    box: tuple[int, int, int, int]  # x, y, width, height in pixels of the whole upright picture
    line: int  # from 0 at the top


class Reading(NamedTuple):
    """What was read in one picture: the N digits that were found, which digits they are, and how sure that is."""

    file: str
    digits: list[Digit]  # in reading order
    values: np.ndarray  # (N,) int, 0..9
    confidences: np.ndarray  # (N,) float, 0..1: the probability that it is this digit, and not another one or none

    def lines(self, min_confidence=0.0):
        """The digits as text, one string for each line of the picture; `?` where the confidence is lower than this."""
        lines = {}
        for digit, value, confidence in zip(self.digits, self.values, self.confidences, strict=True):
            lines.setdefault(digit.line, []).append(str(value) if confidence >= min_confidence else "?")
        return ["".join(line) for _, line in sorted(lines.items())]


def read_pictures(files, model):
    """Read pictures: a list with one entry for each file, its Reading, or the UserError if it cannot be opened.

    files: paths. model: any engine of the network; its first ten classes are the digits, the others are no digits.
    """
    readings = []
    for file in files:
        try:
            picture, size = open_to_read(file)
            readings.append(read_picture(picture, model, size, file))
        except UserError as error:
            readings.append(error)
    return readings


SURE = 0.9  # a reading with this mean confidence is not doubted, and nothing else is tried


def read_picture(picture, model, size=None, file=""):
    """The Reading of a picture, (height, width, 3) uint8 RGB.

    size: (width, height) of the whole picture, for the boxes, if `picture` is a smaller copy. file: its name.
    """
    return read_page(picture, model).reading(*(size or picture.shape[1::-1]), file)


def read_page(picture, model):
    """The Page of a picture, (height, width, 3) uint8 RGB: what was read, and all that `--debug` shows of the way."""
    grey = scale_picture(picture)
    page = _read_grey(grey, model)
    turns = _quarter_turns(page, model)
    if turns:
        turned = _read_grey(np.ascontiguousarray(np.rot90(grey, turns)), model)
        # Letters on their head may look more like digits: where there is nothing to be read, a turn must be sure.
        if turned.evidence > page.evidence and (page.lines or turned.confidence > SURE):
            page = turned._replace(turns=turns)
    return page


def read_ink(ink, model):
    """The Reading of ink that is known, such as strokes on a screen: (h, w) uint8, 1 where there is ink.

    As `read_picture`, but no ink has to be found first, and it lies upright: this takes milliseconds.
    """
    margin = BORDER  # nothing is cut off at the border, as it may be in a photo
    page = _read_parts(drawn_parts(np.pad(ink, margin)), model)
    reading = page.reading(*page.found.dark.shape[::-1])
    digits = [
        digit._replace(box=(digit.box[0] - margin, digit.box[1] - margin, *digit.box[2:])) for digit in reading.digits
    ]
    return reading._replace(digits=digits)


# -- one picture, as it lies ------------------------------------------------------------------------------------------


class Page(NamedTuple):
    """What was read in a working picture, which may have been turned before."""

    lines: list[list[Glyph]]  # the N digits, in reading order
    crops: dict[Glyph, np.ndarray]  # what the network saw of each
    probabilities: np.ndarray  # (N, 10), of the digits in this order
    found: Parts  # where they were found
    pieces: list[Glyph]  # the smallest pieces of ink that were looked at
    candidates: list[Candidate]  # all that might have been a digit
    turns: int = 0  # quarter turns against the clock that it took to lie so

    @property
    def confidence(self):
        """The mean confidence of the digits; 0 without any."""
        return float(self.probabilities.max(axis=1).mean()) if len(self.probabilities) else 0.0

    @property
    def evidence(self):
        """For this reading of the picture and against another one."""
        return _evidence(self.probabilities)

    def box(self, glyph, width, height):
        """(x, y, width, height) of a glyph in a picture of this width and height, as it was before the turns."""
        x, y, across, down = glyph.x, glyph.y, glyph.width, glyph.height
        rows, columns = self.found.dark.shape
        for _ in range(self.turns):  # back: what was the top is the right side now
            x, y, across, down = rows - y - down, x, down, across
            rows, columns = columns, rows
        wide, high = width / columns, height / rows
        return round(x * wide), round(y * high), max(1, round(across * wide)), max(1, round(down * high))

    def reading(self, width, height, file=""):
        """The Reading, with boxes in the pixels of a picture of this width and height."""
        digits = [
            Digit(self.crops[glyph], self.box(glyph, width, height), number)
            for number, line in enumerate(self.lines)
            for glyph in line
        ]
        sure = self.probabilities.max(axis=1, initial=0)
        return Reading(str(file), digits, self.probabilities.argmax(axis=1), sure)


def _evidence(probabilities):
    """The sum of the log-odds of digits from their probabilities (N, 10). One digit adds from -3 to 3."""
    sure = np.clip(probabilities.max(axis=1, initial=0), 0.05, 0.95)
    return float(np.log(sure / (1 - sure)).sum())


def _read_grey(grey, model):
    """The Page of a working picture (h, w) uint8. Whether the ink is dark or light is decided by reading both."""
    best = None
    for scale in ink_scales(grey):
        page = _read_parts(find_parts(grey, scale), model)
        if best is None or page.evidence > best.evidence:
            best = page
        if best.confidence > SURE:
            break
    return best


BAR = 1  # any bar or wave that lies flat becomes this digit when it is turned, and shows nothing
TURN_GAIN = 2.0, 1.5  # the reading of a turned picture needs more evidence, and so many times more


def _quarter_turns(page, model):
    """How many quarter turns make the parts of a page much better to read, 0 to 3.

    A turn makes many digits into shapes that are none. But 0, 1, 6, 8 and 9 stay digits when they stand on their head:
    the gain must be clear.
    """
    parts = [part for part in page.found.parts if part.size > LARGE * page.found.height]
    if page.confidence > SURE or not parts:
        return 0
    best, most = 0, TURN_GAIN[0] + TURN_GAIN[1] * max(0.0, page.evidence)
    for turns in (1, 2, 3):
        crops = [normalise(np.rot90(part.mask, turns) * 255) for part in parts]
        probabilities = classify(model, crops)[:, :NUM_CLASSES]
        evidence = _evidence(probabilities[probabilities.argmax(axis=1) != BAR])
        if evidence > most:
            best, most = turns, evidence
    return best


# -- which pieces of ink are digits -----------------------------------------------------------------------------------


def _read_parts(found, model):
    """The Page of the Parts of a picture."""
    glyphs = GlyphReader(model)
    pieces, candidates = _make_candidates(found.parts, found.height, glyphs)
    probabilities = glyphs.read([candidate.glyph for candidate in candidates])
    nothing = not found.parts or is_text(found, glyphs)
    chosen = [] if nothing else _choose(candidates, pieces, probabilities, found)
    lines = sort_into_lines([candidates[i].glyph for i in chosen])
    in_order = [glyph for line in lines for glyph in line]
    crops = {glyph: glyphs.crops[glyph] for glyph in in_order}
    return Page(lines, crops, glyphs.read(in_order)[:, :NUM_CLASSES], found, pieces, candidates)


def _make_candidates(parts, height, glyphs):
    """(pieces, candidates): the smallest pieces of ink that are looked at, and all that may be a digit.

    height: of a digit in pixels. glyphs: a GlyphReader. Parts that are read without doubt are not cut.
    """
    pieces, whole = [], {}
    confidences = glyphs.read(parts)[:, :NUM_CLASSES].max(axis=1, initial=0)
    for part, confidence in zip(parts, confidences, strict=True):
        is_wide = part.width > 1.1 * max(part.height, 0.8 * height)
        is_large = part.height > 0.6 * height and part.width > 0.4 * height
        cuts = cut(part, height) if is_large and (is_wide or confidence < SURE) else [part]
        whole[(1 << len(cuts)) - 1 << len(pieces)] = part
        pieces += cuts
    joined = unions(pieces, height) | whole
    return pieces, [Candidate(members, glyph, members in whole) for members, glyph in joined.items()]


MANY, MOST_DOUBTFUL = 15, 0.4  # of parts that may be digits: fewer tell little; and how many of them may be doubtful


def is_text(found, glyphs):
    """Whether the Parts of a picture are letters rather than digits. glyphs: a GlyphReader.

    Of a page of digits the network is sure, of most of them at least, and just as sure of what is none, such as the
    rest of a rule. Letters are neither: one looks like a digit, the next somewhat. A network of ten classes is never
    sure that something is no digit: its doubts tell nothing.
    """
    if glyphs.model.num_classes == NUM_CLASSES:
        return False
    large = [part for part in found.parts if part.size > LARGE * found.height]
    sure = glyphs.read(large)[:, :NUM_CLASSES].max(axis=1, initial=0)
    may_be_digits = sure[sure > 1 - SURE]
    return len(may_be_digits) >= MANY and (may_be_digits < SURE).mean() > MOST_DOUBTFUL


LIKE_MARKS = 0.6, 0.3, 1.0  # the classes part, several and mark: what is several digits is seldom a mark to leave out
MARKS, FROM_THINGS = 0.07, 10  # before a page is read, so many of the large things are marks, as on a page of so many
ROUNDS = 10
MOST_MARKS = 4  # to each digit; a page with more is print or a pattern, and what looks like a digit there is none


def _choose(candidates, pieces, probabilities, found):
    """Indices of the candidates that are digits: the likeliest way to explain all ink as digits and marks.

    On a page of text, of which half is read as marks, a letter that looks like a digit is still a letter. So the share
    of marks on the page is estimated from what was read, and the page is read again (expectation maximisation).
    """
    writing = writing_of(found.parts, found.height, found.dark)
    others = probabilities[:, NUM_CLASSES:]
    rejected = others @ LIKE_MARKS if others.shape[1] == len(LIKE_MARKS) else others.sum(axis=1)
    as_one = one_weights(probabilities)
    as_digits = np.log(np.maximum(probabilities[:, :NUM_CLASSES].max(axis=1), 1e-6)) + as_one
    as_digits += digit_weights(candidates, pieces, writing, found.dark)
    marks = [i for i, candidate in enumerate(candidates) if candidate.is_part or candidate.members.bit_count() == 1]
    is_large = [candidate.glyph.size > LARGE * writing.height for candidate in candidates]
    sets = [candidate.members for candidate in candidates]
    sets += [sets[i] for i in marks]
    share = MARKS
    for _ in range(ROUNDS):
        as_marks = mark_weights(candidates, rejected, writing.height, share) + as_one
        chosen = best_cover(sets, [*(as_digits + np.log(1 - share)), *as_marks[marks]])
        picked = [i for i in chosen if i < len(candidates)]
        large_marks = sum(is_large[marks[i - len(candidates)]] for i in chosen if i >= len(candidates))
        share = (large_marks + MARKS * FROM_THINGS) / (large_marks + len(picked) + FROM_THINGS)
    return picked if large_marks <= MOST_MARKS * len(picked) else []


# -- the network ------------------------------------------------------------------------------------------------------


class GlyphReader:
    """Brings glyphs into the form of MNIST and has the network read them, each glyph only once."""

    def __init__(self, model):
        self.model = model
        self.crops = {}  # glyph -> (28, 28) uint8
        self._probabilities = {}

    def read(self, glyphs):
        """The probabilities (N, C) of N glyphs."""
        new = [glyph for glyph in glyphs if glyph not in self.crops]
        self.crops |= {glyph: normalise(glyph.mask * 255) for glyph in new}
        read = classify(self.model, [self.crops[glyph] for glyph in new])
        self._probabilities |= dict(zip(new, read, strict=True))
        return np.array([self._probabilities[glyph] for glyph in glyphs]).reshape(len(glyphs), self.model.num_classes)


# Each crop gets a margin of one pixel and is read five times. These are the (x, y) of the top left corner of the 28x28
# pixels that are read: in the middle, and one pixel to each side.
CORNERS = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))


def classify(model, crops):
    """The probabilities of the model's C classes for each crop: a list of N (28, 28) uint8 -> (N, C) float.

    Each crop is read five times: as it is, and moved by one pixel to each side. The 2x2 windows of the pooling then
    fall differently on its strokes. The mean of the five probabilities is right more often than a single one, and its
    confidence is nearer to the share of digits that are right.
    """
    if not crops:
        return np.zeros((0, model.num_classes))
    views = shifted_views(crops)
    return model.predict(np.concatenate(views)).reshape(len(views), len(crops), -1).mean(axis=0)


def shifted_views(crops):
    """The five places in which a crop is read: N (28, 28) uint8 -> a list of five (N, 28, 28) uint8."""
    padded = np.pad(np.stack(crops), ((0, 0), (1, 1), (1, 1)))
    return [padded[:, y : y + IMAGE_SIZE, x : x + IMAGE_SIZE] for x, y in CORNERS]
