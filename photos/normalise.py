"""NORMALISE."""

import cv2
import numpy as np

from photos.glyph import stroke_width
from sizes import IMAGE_SIZE

DIGIT_SIDE = 20  # MNIST: the longest side of a digit inside its 28x28 image
OVERSAMPLING = 4  # digits are straightened and thickened at this many times their final size
STROKE_WIDTH = 2.6  # pixels in the 28x28 image; the median of MNIST is 2.7


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
