"""All numbers of the network on the way from one crop to its answer, as its layers in plain Python compute them.

    explanation = explain(network, crop, label=3)

The layers are those of conv_gpu.py, pool_gpu.py and softmax_gpu.py, run on one image. What they keep of it is what the
page shows.
"""

from typing import NamedTuple

import numpy as np

from cnn_cpu import CNN
from network import scale


class Explanation(NamedTuple):
    """How a network of F filters and C classes reads one crop. All float32 but for crop and kept."""

    crop: np.ndarray  # (28, 28) uint8; the network sees crop / 255 - 0.5
    filters: np.ndarray  # (F, 3, 3)
    filter_biases: np.ndarray  # (F,), used with activation "relu" only
    convolved: np.ndarray  # (26, 26, F), after the ReLU if there is one
    kept: np.ndarray  # (26, 26, F) uint8, 1 where the pooling keeps the number
    pooled: np.ndarray  # (13, 13, F)
    logits: np.ndarray  # (C,)
    probabilities: np.ndarray  # (C,)
    label: int  # the class whose logit is taken apart here, three times; each sum is this logit:
    bias: float  # this class's own number
    filter_terms: np.ndarray  # (F,): what each filter adds; logit = sum + bias
    place_terms: np.ndarray  # (13, 13): what each place after the pooling adds; logit = sum + bias
    pixel_terms: np.ndarray  # (28, 28): what each pixel adds; logit = sum + pixel_rest + bias
    pixel_rest: float  # what the biases of the filters add; 0 with activation "none"


def explain(network, crop, label=None):
    """The Explanation of a crop (28, 28) uint8, ink bright on dark, by any engine of the network.

    label: the class whose logit is taken apart; None for the class that wins.
    """
    plain = CNN(network.num_filters, network.activation, 0, network.num_classes, network.parameters)
    conv, pool, softmax = plain.conv, plain.pool, plain.softmax
    image = scale(crop)
    convolved = conv.forward(image)  # 28x28 -> 26x26xF
    pooled = pool.forward(convolved)  # -> 13x13xF
    logits = softmax.logits(pooled)  # -> C
    probabilities, _ = softmax.forward(pooled, label=0)  # the label matters for the loss only
    label = int(logits.argmax()) if label is None else label

    weights = softmax.weights[:, label].reshape(pooled.shape)
    terms = pooled * weights
    pixel_terms, pixel_rest = _terms_of_pixels(image, conv, pool.backward(weights))
    return Explanation(
        crop,
        conv.filters,
        conv.biases,
        convolved,
        (pool.backward(np.ones_like(pooled)) > 0).astype(np.uint8),  # the gradient goes where the number came from
        pooled,
        logits,
        probabilities,
        label,
        float(softmax.biases[label]),
        terms.sum(axis=(0, 1)),
        terms.sum(axis=2),
        pixel_terms,
        pixel_rest,
    )


def _terms_of_pixels(image, conv, gradient):
    """(pixel_terms, pixel_rest) of an Explanation, from the gradient (26, 26, F) of the logit at the convolution.

    Where the pooling keeps the same places and the ReLU the same signs, the logit is a weighted sum of the pixels. A
    pixel's weight is the gradient of the logit there. The biases of the filters are what depends on no pixel.
    """
    rest = 0.0
    if conv.relu:
        gradient = gradient * (conv.output > 0)
        rest = float(gradient.sum(axis=(0, 1)) @ conv.biases)
    height, width, _ = gradient.shape
    weights = np.zeros_like(image)
    for a in range(3):
        for b in range(3):  # each output saw the pixel that lies (a, b) from its own place
            weights[a : a + height, b : b + width] += gradient @ conv.filters[:, a, b]
    return image * weights, rest
