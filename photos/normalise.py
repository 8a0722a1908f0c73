"""Bring a digit into the form of MNIST: 28x28 pixels, straight, with strokes of one width, and centred.

    crop = normalise(ink)

The photo reader and the training set both use it. So the network meets in a photo what it was trained on.
"""

import cv2
import numpy as np

from photos.glyph import stroke_width
from sizes import IMAGE_SIZE

DIGIT_SIDE = 20  # MNIST: the longest side of a digit inside its 28x28 image
OVERSAMPLING = 4  # while a digit is straightened and its strokes get their width, it is this many times larger
STROKE_WIDTH = 2.6  # pixels in the 28x28 image; the median of MNIST is 2.7


def normalise(ink):
    """One digit in the form of MNIST: (h, w) uint8 -> (28, 28) uint8, ink bright on dark.

    The digit is straightened, its strokes get the width STROKE_WIDTH, its longest side becomes 20 pixels (the aspect
    stays), and its centre of mass moves to the middle of the image, or as near as the edge allows. Pen, pencil and
    brush, and photos of every size, then look alike to the network. An image without ink gives an empty image.
    """
    return centre(even_strokes(straighten(ink)))


def straighten(ink):
    """The first step: the digit without its slant, (h, w) uint8 -> a mask (h', w') uint8 0/1.

    It is made OVERSAMPLING times as large as it will be in the end. The slant, in columns per row, is estimated from
    the second moments: mu11 / mu02.
    """
    x, y, width, height = cv2.boundingRect((ink > 0.3 * ink.max(initial=0)).astype(np.uint8))
    if width == 0:
        return np.zeros((1, 1), np.uint8)
    digit = np.ascontiguousarray(ink[y : y + height, x : x + width])
    scale = DIGIT_SIDE * OVERSAMPLING / max(width, height)
    if scale < 1:  # averaging keeps thin strokes whole; cv2.warpAffine below would step over them
        size = max(1, round(width * scale)), max(1, round(height * scale))
        digit, scale = cv2.resize(digit, size, interpolation=cv2.INTER_AREA), 1.0
        width, height = size
    # Without a border of paper, OpenCV would take a digit of one column or row for a list of points.
    moments = cv2.moments(cv2.copyMakeBorder(digit, 1, 1, 1, 1, cv2.BORDER_CONSTANT))
    slant = moments["mu11"] / moments["mu02"] if moments["mu02"] > 0 else 0.0
    slant = min(max(slant, -0.7), 0.7)
    margin = 2 * OVERSAMPLING * 3
    canvas = round(scale * (width + abs(slant) * height)) + margin, round(scale * height) + margin
    # x' = scale * (x - slant * y) and y' = scale * y, both around the middle
    shear = np.array([[scale, -scale * slant, 0], [0, scale, 0]])
    shear[:, 2] = (np.array(canvas) - 1) / 2 - shear[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
    straight = cv2.warpAffine(digit, shear, canvas, flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR)
    return (straight > 0.5 * straight.max()).astype(np.uint8)


def even_strokes(mask):
    """The second step: the strokes of a mask (h, w) at STROKE_WIDTH, by moving their outline: (h, w) float32 0..1.

    Their edges are soft.
    """
    if not mask.any():
        return mask.astype(np.float32)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3)
    width = stroke_width(mask)
    # Moving the outline by `shift` makes strokes wider by twice that. It makes the digit longer too, so that the digit
    # shrinks more in the last step: the divisor below is a little less than 2.
    shift = (STROKE_WIDTH * OVERSAMPLING - width) / (2 - 2 * STROKE_WIDTH / DIGIT_SIDE)
    shift = min(max(shift, -0.35 * width), 2 * OVERSAMPLING)
    return np.clip(inside - outside + shift + 0.5, 0, 1)


def centre(strokes):
    """The last step: a digit (h, w) float32 0..1, at its size and in its place: (28, 28) uint8."""
    x, y, width, height = cv2.boundingRect((strokes > 0.5).astype(np.uint8))
    crop = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    if width == 0:
        return crop
    scale = DIGIT_SIDE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    digit = cv2.resize(strokes[y : y + height, x : x + width], size, interpolation=cv2.INTER_AREA)
    mass = digit.sum()
    centre = np.arange(size[0]) @ digit.sum(axis=0) / mass, np.arange(size[1]) @ digit.sum(axis=1) / mass
    half = (IMAGE_SIZE - 1) / 2
    left, top = (
        min(max(round(half - middle), 0), IMAGE_SIZE - side) for middle, side in zip(centre, size, strict=True)
    )
    crop[top : top + size[1], left : left + size[0]] = np.round(digit * 255)
    return crop
