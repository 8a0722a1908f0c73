"""From a picture to the 28x28 crops of its digits, in reading order. Knows nothing of networks.

    picture, size = open_to_read("digits.jpg")
    for digit in find_digits(picture, size):
        digit.crop, digit.box, digit.line

The same steps run for every picture, each a function below, in this order:

    scale_picture     every picture is brought to one size, so that lengths in pixels mean the same in all of them
    find_ink_scale    dark on light or light on dark, and how thick the strokes may be
    darkness          how much darker than the paper right there: shadows, coloured paper and desks drop out
    find_ink          which pixels are ink: two thresholds, taken from this picture's own noise and ink
    remove_rules      printed lines and squares go, the strokes that cross them stay
    find_glyphs       connected ink, without what is too small, too large, too flat or a frame
    join_strokes      the loose bar of a 5 finds its body
    split_touching    two digits that touch are cut where the bridge is thinnest
    sort_into_lines   lines from top to bottom, each from left to right, also when they slope
    normalise         each digit as MNIST was made: 20 pixels on the longest side, centre of mass in the middle
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from errors import UserError

WORKING_SIDE = 1600  # pixels on the longer side while the ink is looked for
COARSE = 4  # the search for the ink's scale works on a picture this many times smaller
BLACK_POINT = 40  # grey levels (of 255): below this much light, differences are noise and not ink
THICKEST_RULE = 16  # working pixels; thicker lines are strokes
THICKEST_STROKE = 3  # times the width of most strokes; what is thicker is no stroke
EDGE = 5  # coarse pixels; so wide, with its blur, is the edge between two surfaces
NEARBY = 31  # coarse pixels; within half of that, light on one surface does not fall below ...
SHADOW = 0.5  # ... this share, not even into a shadow
FAINTEST_INK = 0.04  # darkness; below, nothing is ink
MAX_ENLARGEMENT = 8  # of a small picture: a few pixels make no digit, however large
MAX_PIXELS = 200_000_000  # a larger picture is refused: it is more likely a trap than a photo

IMAGE_SIZE = 28  # pixels, of a crop as of an image of MNIST
DIGIT_SIDE = 20  # MNIST: the longest side of a digit inside its 28x28 image
OVERSAMPLING = 4  # digits are straightened and thickened at this many times their final size
STROKE_WIDTH = 2.6  # pixels in the 28x28 image; the median of MNIST is 2.7


class Digit(NamedTuple):
    """One digit that was found: crop (28, 28) uint8, ink bright; box (x, y, width, height) in pixels of the upright
    picture; line, counted from 0 at the top."""

    crop: np.ndarray
    box: tuple[int, int, int, int]
    line: int


@dataclass(eq=False)
class Glyph:
    """Connected ink: mask (height, width) uint8 0/1, and where its top left corner lies in the working picture."""

    x: int
    y: int
    mask: np.ndarray

    @property
    def width(self):
        return self.mask.shape[1]

    @property
    def height(self):
        return self.mask.shape[0]

    @property
    def right(self):
        return self.x + self.width

    @property
    def bottom(self):
        return self.y + self.height

    @property
    def centre(self):
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def area(self):
        return int(np.count_nonzero(self.mask))

    @property
    def size(self):
        return max(self.width, self.height)

    @cached_property
    def stroke(self):
        """Mean width of its strokes in pixels."""
        return stroke_width(self.mask)

    @property
    def length(self):
        """Length of its strokes in pixels, all together."""
        return self.area / self.stroke


# -- the picture ------------------------------------------------------------------------------------------------------


def open_picture(path):
    """Read any picture that Pillow can: (height, width, 3) uint8 RGB, upright as the camera was held (EXIF).

    Transparent parts become white paper; 16-bit greys are scaled to 8 bits. Raises UserError, naming the file and the
    cause, for anything that is not a whole picture.
    """
    return _decode(path)[0]


def open_to_read(path):
    """(picture, size) for `find_digits`: as `open_picture`, but a large JPEG comes smaller, and in half the time.

    JPEG keeps frequencies, so that leaving out the high ones decodes it at 1/2, 1/4 or 1/8 of its size. The working
    picture is smaller still. size: (width, height) that the upright picture has in full.
    """
    return _decode(path, WORKING_SIDE)


def _decode(path, enough=None):
    """(picture, full size): with `enough` pixels on the longer side if it is given and the file's format allows."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about odd metadata; only the picture matters here
            with Image.open(path) as image:
                size = image.size
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(f"{path}: {image.width}x{image.height} pixels are too many (at most {MAX_PIXELS})")
                if enough:
                    shrink = max(1, max(size) / enough)
                    image.draft(None, [max(1, int(side / shrink)) for side in size])
                image.load()
                lies_on_side = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
                return _to_rgb(ImageOps.exif_transpose(image)), size[::-1] if lies_on_side else size
    except UserError:
        raise
    except Image.UnidentifiedImageError:
        empty = _is_empty(path)
        raise UserError(f"{path}: {'an empty file' if empty else 'not a picture that can be read'}") from None
    except Image.DecompressionBombError:
        raise UserError(f"{path}: too many pixels (at most {MAX_PIXELS})") from None
    except OSError as error:
        # Pillow reports damage as an OSError without a file name; the operating system's own carry a reason
        reason = error.strerror or f"damaged picture ({error})"
        raise UserError(f"{path}: {reason}") from None
    except (SyntaxError, ValueError, EOFError, MemoryError) as error:
        raise UserError(f"{path}: damaged picture ({error})") from None


def _is_empty(path):
    with open(path, "rb") as file:
        return not file.read(1)


def _to_rgb(image):
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float32)
        full_scale = 65535 if values.max(initial=0) > 255 else 255
        return np.repeat((values * (255 / full_scale)).clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.asarray(image.convert("RGB"))


def scale_picture(picture):
    """(height, width, 3) uint8 -> grey (h, w) uint8 with WORKING_SIDE pixels on the longer side.

    The blur takes out the noise, whose grain is one pixel of the picture, however much that was enlarged.
    """
    scale = min(WORKING_SIDE / max(picture.shape[:2]), MAX_ENLARGEMENT)
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = cv2.cvtColor(cv2.resize(picture, size, interpolation=interpolation), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey, (0, 0), max(1.0, 0.5 * scale))


def coarse_picture(grey):
    """A working picture COARSE times smaller, but never without pixels."""
    size = [max(1, side // COARSE) for side in grey.shape[::-1]]
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)


# -- from light to ink ------------------------------------------------------------------------------------------------


def paper_level(grey, window):
    """The light of the paper at each pixel, as if there were no strokes on it; uint8, of a (h, w) uint8 picture.

    A closing with a square window fills whatever dark is narrower than the window, and nothing else: shadows and the
    edge between paper and desk stay where they are, as in a blurred background they would not.
    """
    margin = window // 2  # the desk goes on beyond the border of the picture
    padded = cv2.copyMakeBorder(grey, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    paper = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((window, window), np.uint8))
    return paper[margin : margin + grey.shape[0], margin : margin + grey.shape[1]]


def darkness(grey, window):
    """(dark, light): how dark each pixel is against the paper around it, 0 (paper) to 1, and its light.

    Both are float32 (h, w). Dividing by the light takes it out, so that ink is as dark in a shadow as beside it.
    """
    paper = paper_level(grey, window)
    light = paper.astype(np.float32) + BLACK_POINT
    return cv2.subtract(paper, grey) / light, light


def find_ink_scale(grey):
    """(light_on_dark, window): which way round the picture is, and a window that the strokes are narrower than.

    Widen the window step by step and watch how much ink there is. Below the width of the strokes it grows with every
    step; above, it stays as it is. Only on the right side, dark or light, does it come to rest: what lies between
    strokes has no width of its own. What touches the border is left out, for the desk grows with every window.
    """
    coarse = cv2.medianBlur(coarse_picture(grey), 3)
    sides = coarse, 255 - coarse
    windows = [9, 17, 33, 65, 129]
    amounts = np.array([[float(np.square(_inner_ink(side, window)).sum()) for window in windows] for side in sides])
    growth = np.abs(np.diff(np.log(amounts + 0.1), axis=1))  # (2 sides, 4 steps)
    growth[amounts[:, :-1] < 0.1] = np.inf  # no ink at all does not grow either, but that tells nothing
    at_rest = growth < 0.3
    first = int(np.argmax(at_rest.any(axis=0))) if at_rest.any() else int(np.argmin(growth.min(axis=0)))
    side = int(growth[1, first] < growth[0, first])
    # Small marks come to rest before thick strokes do: go on to where most of the ink is in.
    ink = amounts[side, :-1] * at_rest[side]
    step = int(np.argmax(ink > 0.5 * ink.max())) if ink.any() else first
    strokes = _inner_ink(sides[side], windows[step]) > 0
    parts = _connected(strokes.astype(np.uint8), np.ones_like(coarse), smallest=3)[0]
    width = weighted_median([stroke_width(part.mask) for part in parts], [part.area for part in parts])
    window = min(max(12 * width, windows[0]), windows[step + 1])
    return side == 1, int(window * COARSE) | 1


def _inner_ink(grey, window):
    """The darkness of what stands out clearly and does not run along the picture's border, 0 elsewhere.

    A stroke that is cut off touches the border with its width, but desks and shadows with their whole side.
    """
    dark, _ = darkness(grey, window)
    count, labels = cv2.connectedComponents((dark > 0.12).astype(np.uint8))
    area = np.bincount(labels.ravel(), minlength=count)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    inner = 8 * np.bincount(border, minlength=count) ** 2 < area
    inner[0] = False
    dark[~inner[labels]] = 0
    return dark


def find_sheet(grey, window):
    """Mask (h, w) uint8 0/1 of the surface that is written on: all but what is far darker, such as the desk around it.

    A closing fills the strokes and keeps the edges between surfaces sharp. Dark ink is written on the bright surface.
    Light fades slowly, so a sheet may end up as dark as a desk in its far corner; only where much of the light is lost
    within a short way does another surface begin. What is bright but small beside the sheet (print on the desk) is no
    sheet.
    """
    window = window // COARSE
    surface = paper_level(coarse_picture(grey), window)
    nearby = cv2.dilate(surface, np.ones((NEARBY, NEARBY), np.uint8))
    even = (surface >= SHADOW * nearby).astype(np.uint8)
    sheet = keep_strong(even, surface >= SHADOW * np.percentile(surface, 98))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(sheet)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0  # the desk
    sheet = (areas >= 0.1 * areas.max())[labels] & (sheet > 0)
    sheet = cv2.erode(sheet.astype(np.uint8), np.ones((EDGE, EDGE), np.uint8))  # the edge itself is neither
    return cv2.resize(sheet, grey.shape[::-1], interpolation=cv2.INTER_NEAREST)


def ink_thresholds(dark, light, sheet):
    """(low, high): above low a pixel may be ink, and a stroke must somewhere be above high; float32 (h, w).

    Strokes fade, so a low threshold is needed to follow them; so does the paper's texture begin, and a high one tells
    which of the connected parts are ink at all. Otsu's method finds the high one among the pixels that stand out of
    the noise; noise is measured on the paper, which is most of any picture (median absolute deviation). The sensor's
    noise is the same everywhere in grey levels: where there is little light, it is much of the darkness.
    """
    dots = slice(None, None, 3), slice(None, None, 3)
    on_sheet = sheet[dots] > 0
    sample, light_there = dark[dots][on_sheet], light[dots][on_sheet]
    if sample.size == 0:
        return np.ones_like(dark), np.ones_like(dark)
    paper = float(np.median(sample))
    noise = 1.4826 * float(np.median(np.abs(sample - paper) * light_there))  # grey levels
    floor = np.maximum(paper + 4 * noise / light, FAINTEST_INK)
    levels = (sample[sample > floor[dots][on_sheet]] * 255).astype(np.uint8)
    high = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)[0] / 255 if levels.size else 0.0
    return np.maximum(floor, np.float32(0.5 * high)), np.maximum(floor, np.float32(high))


def keep_strong(ink, strong):
    """The connected parts of an ink mask that are somewhere strong (another mask); both (h, w) uint8 0/1."""
    count, labels = cv2.connectedComponents(ink)
    kept = np.bincount(labels[strong > 0], minlength=count) > 0
    kept[0] = False
    return kept[labels].astype(np.uint8)


def remove_frames(ink):
    """An ink mask without the boxes drawn around digits: hollow, with ink along their own bounds and glyphs inside."""
    glyphs, _ = _connected(ink, np.ones_like(ink))
    for frame in (glyph for glyph in glyphs if _is_frame(glyph, glyphs, 0.0)):
        hollow = frame.mask.copy()
        rows, columns = (round(0.1 * side) for side in hollow.shape)
        hollow[rows:-rows, columns:-columns] = 0
        if hollow.sum() > 0.9 * frame.mask.sum():
            ink = ink.copy()
            ink[frame.y : frame.bottom, frame.x : frame.right] &= ~frame.mask
    return ink


def remove_rules(ink):
    """An ink mask without printed rules and squares, long underlines and frames.

    A rule is straight, thin, and longer than digits are high. Only ink no thicker across the rule than the rule itself
    is taken away: where a stroke crosses, the ink is thicker there and stays, so that digits are neither cut nor bent.
    """
    return _remove_horizontal_rules(_remove_horizontal_rules(ink).T).T.copy()


def _remove_horizontal_rules(ink):
    ink = np.ascontiguousarray(ink)
    width = ink.shape[1]
    segments = [segment for segment in _level_segments(ink) if _is_solid(ink, segment)]
    if not segments:
        return ink
    digits, _ = _connected(_erase(ink, segments), np.ones_like(ink))
    digits = [glyph for glyph in digits if glyph.size > 0.03 * width]
    size = weighted_median([glyph.size for glyph in digits], [glyph.area for glyph in digits])
    rules = []
    for segment in segments:
        start, _, end, _ = segment
        reaches_border = start < 0.01 * width or end > 0.99 * width
        if reaches_border or end - start > 2.5 * size > 0:
            rules.append(segment)
    return _erase(ink, rules)


def _level_segments(ink):
    """Nearly level and thin lines in an ink mask, the longest first: a list of (x1, y1, x2, y2), x1 < x2."""
    flat = ink & ~_thicker_than(ink, THICKEST_RULE)
    half = cv2.dilate(flat, np.ones((2, 2), np.uint8))[::2, ::2]  # half the size is enough, and four times as fast
    width = half.shape[1]
    segments = cv2.HoughLinesP(
        half, 1, np.pi / 360, threshold=max(width // 8, 1), minLineLength=0.3 * width, maxLineGap=0.06 * width
    )
    segments = (
        [] if segments is None else [tuple(2 * int(end) for end in segment) for segment in segments.reshape(-1, 4)]
    )
    level = [(x1, y1, x2, y2) for x1, y1, x2, y2 in segments if abs(y2 - y1) < 0.25 * (x2 - x1)]
    return sorted(level, key=lambda segment: segment[0] - segment[2])


def _is_solid(ink, segment):
    """Whether the segment lies on ink almost all the way: a row of digits is full of gaps."""
    strip = ink[_along(ink, segment, 2)]
    return strip[:, segment[0] : segment[2]].any(axis=0).mean() > 0.85


def _along(ink, segment, reach):
    """Indices of the pixels up to so many rows above and below a segment, which is made to cross the whole picture.

    What they pick is a strip (2 * reach + 1, width) in which the rule runs level through the middle.
    """
    x1, y1, x2, y2 = segment
    columns = np.arange(ink.shape[1])
    middle = np.round(y1 + (columns - x1) * (y2 - y1) / (x2 - x1)).astype(int)
    rows = middle + np.arange(-reach, reach + 1)[:, None]
    return rows.clip(0, ink.shape[0] - 1), np.broadcast_to(columns, rows.shape)


def _erase(ink, segments):
    """Without the thin ink along these segments; strokes that cross them stay."""
    ink = ink.copy()
    for segment in segments:
        place = _along(ink, segment, THICKEST_RULE)
        strip = ink[place]
        thin = strip & ~_thicker_than(strip, THICKEST_RULE)
        near = slice(THICKEST_RULE // 2, -THICKEST_RULE // 2)
        thickness = int(np.median(thin[near, segment[0] : segment[2]].sum(axis=0)))
        near = slice(THICKEST_RULE - thickness - 1, THICKEST_RULE + thickness + 2)
        strip[near] &= _thicker_than(strip, thickness + thickness // 2 + 1)[near]
        ink[place] = strip
    return ink


def _thicker_than(ink, thickness):
    """The ink that is more than so many pixels thick from top to bottom."""
    return cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((thickness + 1, 1), np.uint8))


# -- from ink to glyphs -----------------------------------------------------------------------------------------------


def find_glyphs(ink, sheet):
    """The connected parts of an ink mask that may be digits or parts of digits, and the typical height of a digit.

    What reaches the end of the sheet is desk, shadow or the sheet's own edge. What reaches the end of the picture may
    be a digit that was cut off: where it has the size of the others and does not run along the border, it counts.
    """
    glyphs, _ = _connected(ink, cv2.erode(sheet, np.ones((5, 5), np.uint8)))
    at_border = [glyph for glyph in glyphs if _border_distance(glyph.x, glyph.y, glyph.right, glyph.bottom, ink) < 5]
    glyphs = [glyph for glyph in glyphs if glyph not in at_border]
    glyphs = drop_slabs([glyph for glyph in glyphs if not _is_frame(glyph, glyphs)])
    height = typical_height(glyphs or at_border)
    for glyph in at_border:
        centre_distance = _border_distance(*glyph.centre, *glyph.centre, ink)
        if 0.6 * height < glyph.height < 1.4 * height > glyph.width and centre_distance > 0.2 * height:
            glyphs.append(glyph)
    return [glyph for glyph in glyphs if glyph.height < 3 * height and glyph.width < 5 * height], height


def _border_distance(left, top, right, bottom, image):
    """How far a box is from the nearest border of an image, in pixels."""
    return min(left, top, image.shape[1] - right, image.shape[0] - bottom)


def _connected(ink, inside, smallest=8):
    """The connected parts of a mask as glyphs: those wholly inside another mask, and the others."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink)
    outside = np.bincount(labels[inside == 0], minlength=count) > 0
    glyphs = [], []
    large = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) >= smallest
    for label in np.flatnonzero(large[1:]) + 1:  # label 0 is the paper
        x, y, width, height = map(int, stats[label, :4])
        mask = (labels[y : y + height, x : x + width] == label).astype(np.uint8)
        glyphs[int(outside[label])].append(Glyph(x, y, mask))
    return glyphs


def typical_height(glyphs):
    """Median height of the glyphs, each counted by its ink: specks are many, but weigh little. 0 without glyphs."""
    return weighted_median([glyph.height for glyph in glyphs], [glyph.area for glyph in glyphs])


def drop_slabs(glyphs):
    """Without what is far thicker than most strokes: a notepad's binding, a hole, a finger. One pen wrote the digits.

    Strokes are counted by their length: a slab has much ink, but is no longer than one stroke.
    """
    width = weighted_median([glyph.stroke for glyph in glyphs], [glyph.length for glyph in glyphs])
    return [glyph for glyph in glyphs if glyph.stroke < THICKEST_STROKE * width]


def weighted_median(values, weights):
    """The value below which half of the weight lies; 0 without values."""
    if len(values) == 0:
        return 0.0
    order = np.argsort(values)
    weight = np.cumsum(np.asarray(weights)[order])
    return float(np.asarray(values)[order][np.searchsorted(weight, weight[-1] / 2)])


def _is_frame(glyph, glyphs, share=0.15):
    if glyph.area > 0.2 * glyph.width * glyph.height:
        return False
    return any(
        other.height > share * glyph.height
        and glyph.x < other.x
        and glyph.y < other.y
        and other.right < glyph.right
        and other.bottom < glyph.bottom
        for other in glyphs
    )


def join_strokes(glyphs, height):
    """Give loose strokes back to the digit they belong to.

    A part no digit high belongs to what it lies above, below or inside of (the bar of a 5), or to what it all but
    touches (the hook of a 4). Of higher parts only those that lie above each other within the height of one digit.
    """
    glyphs = sorted(glyphs, key=lambda glyph: glyph.area)
    joined = []
    while glyphs:
        part = glyphs.pop(0)
        bodies = [(gap, i) for i, body in enumerate(glyphs) if (gap := _belongs(part, body, height)) is not None]
        if not bodies:
            joined.append(part)
        else:
            body = min(bodies)[1]
            glyphs[body] = _union(part, glyphs[body])
    return joined


def _belongs(part, body, height):
    """The distance in pixels between the ink of a part and of the body it may belong to; None where it cannot."""
    if part.size < 0.15 * height:
        return None
    together = max(part.bottom, body.bottom) - min(part.y, body.y)
    is_half = part.height > 0.6 * height  # a digit broken in two: whole digits would be higher together
    if together > (1.25 * height if is_half else 1.5 * max(height, body.height)):
        return None
    overlap = min(part.right, body.right) - max(part.x, body.x)
    above = max(part.y, body.y) - min(part.bottom, body.bottom)
    if -overlap > 0.25 * height or above > 0.25 * height:
        return None
    gap = _distance(part, body)
    if is_half:
        return gap if overlap > 0.5 * min(part.width, body.width) and gap < 0.25 * height else None
    stacked = overlap > 0.3 * part.width and gap < 0.25 * height
    return gap if stacked or gap < body.stroke else None


def _distance(a, b):
    """Shortest distance in pixels between the ink of two glyphs."""
    both = _union(a, b)
    without_b = np.ones_like(both.mask)
    without_b[b.y - both.y : b.bottom - both.y, b.x - both.x : b.right - both.x] -= b.mask
    distance = cv2.distanceTransform(without_b, cv2.DIST_L2, 3)
    return float(distance[a.y - both.y : a.bottom - both.y, a.x - both.x : a.right - both.x][a.mask > 0].min())


def _union(a, b):
    x, y = min(a.x, b.x), min(a.y, b.y)
    mask = np.zeros((max(a.bottom, b.bottom) - y, max(a.right, b.right) - x), np.uint8)
    for glyph in (a, b):
        mask[glyph.y - y : glyph.bottom - y, glyph.x - x : glyph.right - x] |= glyph.mask
    return Glyph(x, y, mask)


def drop_stray_marks(glyphs, height):
    """Without specks, dashes and underlines: what is far smaller than the digits, or lies flat."""
    return [glyph for glyph in glyphs if glyph.height > 0.35 * height and not (glyph.width > 3 * glyph.height)]


def split_touching(glyphs, height):
    """Cut glyphs that are too wide for one digit where the bridge between two digits is thinnest."""
    result = []
    for glyph in glyphs:
        cut = None
        if glyph.width > 1.3 * max(glyph.height, 0.8 * height) and glyph.height > 0.6 * height:
            cut = _best_cut(glyph)
        result += split_touching(cut, height) if cut else [glyph]
    return result


def _best_cut(glyph):
    """The two halves of a glyph, cut along the straight line that crosses the least ink, or None.

    The line may lean as digits do. It crosses no ink twice: that would cut through a digit, and not between two.
    """
    height, width = glyph.mask.shape
    rows = np.arange(height)[:, None] - height / 2
    columns = np.arange(width)
    margin = int(0.25 * min(width, height))
    best = 1.5 * glyph.stroke, None
    for slant in np.linspace(-0.5, 0.5, 11):
        upright = np.round(columns + slant * rows).astype(int)  # the column that each pixel moves to
        crossed = np.bincount(upright.clip(0, width - 1)[glyph.mask > 0], minlength=width)
        for cut in np.argsort(crossed[margin : width - margin])[:5] + margin:
            if crossed[cut] < best[0] and _runs(glyph.mask[upright == cut]) <= 1:
                left = upright < cut
                halves = [_trim(glyph, glyph.mask & left), _trim(glyph, glyph.mask & ~left)]
                if all(half.height > 0.6 * height and half.width > 0.1 * height for half in halves):
                    best = crossed[cut], halves
    return best[1]


def _runs(line):
    """How many runs of ink there are along a line of a mask."""
    return int(np.count_nonzero(np.diff(np.r_[0, line].astype(np.int8)) == 1))


def _trim(glyph, mask):
    x, y, width, height = cv2.boundingRect(mask)
    return Glyph(glyph.x + x, glyph.y + y, mask[y : y + height, x : x + width])


def stroke_width(mask):
    """Mean width in pixels of the strokes of a mask.

    Across a stroke of width w the distance to its edge rises from 0 to w/2 and falls again: w/4 on average.
    """
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    return max(4 * float(distance[padded > 0].mean()) - 1, 1.0)  # distances count from the first pixel outside


def sort_into_lines(glyphs):
    """Lists of glyphs, line by line from the top, each from left to right.

    Walk from left to right; each glyph goes to the line whose last glyph lies beside it, or begins a new one. A line
    may so climb or fall as it likes, as long as neighbours stand side by side.
    """
    lines = []
    for glyph in sorted(glyphs, key=lambda glyph: glyph.centre[0]):
        best = min(lines, key=lambda line: _offset(line, glyph), default=None)
        if best is not None and _offset(best, glyph) < 0.5:
            best.append(glyph)
        else:
            lines.append([glyph])
    return sorted(lines, key=lambda line: float(np.mean([glyph.centre[1] for glyph in line])))


def _offset(line, glyph):
    last = line[-1]
    return abs(last.centre[1] - glyph.centre[1]) / max(last.height, glyph.height)


# -- from glyphs to crops ---------------------------------------------------------------------------------------------


def normalise(ink):
    """Bring one digit into MNIST's form: (28, 28) uint8 from an (h, w) uint8 image, ink bright on dark.

    The digit is straightened, its strokes brought to one width, its longest side to 20 pixels with the aspect kept,
    and its centre of mass to the middle. MNIST goes through here too before training: then pen, pencil and brush, and
    every size of photo, look to the network like what it has learned. An image without ink stays empty.
    """
    strokes = _even_strokes(_straighten(ink))
    x, y, width, height = cv2.boundingRect((strokes > 0.5).astype(np.uint8))
    crop = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    if width == 0:
        return crop
    scale = DIGIT_SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    digit = cv2.resize(strokes[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)
    mass = digit.sum()
    centre = np.arange(size[0]) @ digit.sum(axis=0) / mass, np.arange(size[1]) @ digit.sum(axis=1) / mass
    left, top = (min(max(round(13.5 - middle), 0), 28 - side) for middle, side in zip(centre, size, strict=True))
    crop[top : top + size[1], left : left + size[0]] = np.round(digit * 255)
    return crop


def _straighten(ink):
    """Undo the slant, estimated from the second moments, and enlarge to OVERSAMPLING times the final size: a mask."""
    x, y, width, height = cv2.boundingRect((ink > 0.3 * ink.max(initial=0)).astype(np.uint8))
    if width == 0:
        return np.zeros((1, 1), np.uint8)
    digit = np.ascontiguousarray(ink[y : y + height, x : x + width])
    scale = DIGIT_SIDE * OVERSAMPLING / max(width, height)
    if scale < 1:  # averaging keeps thin strokes whole where the warp below would step over them
        size = max(1, round(width * scale)), max(1, round(height * scale))
        digit, scale = cv2.resize(digit, size, interpolation=cv2.INTER_AREA), 1.0
        width, height = size
    moments = cv2.moments(cv2.copyMakeBorder(digit, 1, 1, 1, 1, cv2.BORDER_CONSTANT))  # a bare column would be points
    slant = moments["mu11"] / moments["mu02"] if moments["mu02"] > 0 else 0.0
    slant = min(max(slant, -0.7), 0.7)
    margin = 2 * OVERSAMPLING * 3
    canvas = round(scale * (width + abs(slant) * height)) + margin, round(scale * height) + margin
    # x' = scale * (x - slant * y) and y' = scale * y, both around the middle
    shear = np.array([[scale, -scale * slant, 0], [0, scale, 0]])
    shear[:, 2] = (np.array(canvas) - 1) / 2 - shear[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
    straight = cv2.warpAffine(digit, shear, canvas, flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR)
    return (straight > 0.5 * straight.max()).astype(np.uint8)


def _even_strokes(mask):
    """Thicken or thin the strokes of a mask to STROKE_WIDTH by moving their outline: float32 0..1, soft at the edge."""
    if not mask.any():
        return mask.astype(np.float32)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3)
    width = stroke_width(mask)
    # Outlines moved by `shift` make strokes wider by twice that, and the digit longer, which then shrinks more.
    shift = (STROKE_WIDTH * OVERSAMPLING - width) / (2 - 2 * STROKE_WIDTH / DIGIT_SIDE)
    shift = min(max(shift, -0.35 * width), 2 * OVERSAMPLING)
    return np.clip(inside - outside + shift + 0.5, 0, 1)


# -- all of it --------------------------------------------------------------------------------------------------------


def find_digits(picture, size=None, stages=None):
    """Find the digits of a picture: a list of Digit in reading order, empty where there is none.

    picture: (height, width, 3) uint8 RGB. size: (width, height) of the full picture, in whose pixels the boxes are,
    where `picture` is a smaller copy. stages: a dict that is filled with what each step made, for --debug.
    """
    grey = scale_picture(picture)
    full_size = size or picture.shape[1::-1]
    across, down = (full / working for full, working in zip(full_size, grey.shape[::-1], strict=True))
    light_on_dark, window = find_ink_scale(grey)
    if light_on_dark:
        grey = 255 - grey
    dark, light = darkness(grey, window)
    sheet = find_sheet(grey, window)
    low, high = ink_thresholds(dark, light, sheet)
    ink = (dark > low) & sheet
    clean = keep_strong(remove_rules(remove_frames(ink)), dark > high)
    glyphs, height = find_glyphs(clean, sheet)
    glyphs = drop_stray_marks(join_strokes(glyphs, height), height)
    glyphs = split_touching(glyphs, height)
    digits = []
    for number, line in enumerate(sort_into_lines(glyphs)):
        for glyph in line:
            box = (
                round(glyph.x * across),
                round(glyph.y * down),
                max(1, round(glyph.width * across)),
                max(1, round(glyph.height * down)),
            )
            digits.append(Digit(normalise(glyph.mask * 255), box, number))
    if stages is not None:
        stages["grey"] = grey
        stages["darkness against the paper"] = dark
        stages["all that stands out"] = ink
        stages["ink, without rules and frames"] = clean
    return digits
