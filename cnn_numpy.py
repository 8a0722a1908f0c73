"""The network on NumPy alone, for reading only: the engine that reads pictures, ready as soon as NumPy is.

The compiled engines must be loaded first, and a GPU must be opened: that takes half a second and more, in which this
one has read ten thousand images.

A filter stands at four places in each window of the pooling, and together they see a patch of 4x4 pixels. For one of
the places, the pixels under the filter are a matrix: nine rows, one for each tap, and 169 columns, one for each window.
So the convolution is one matrix product for each place, (F, 9) @ (9, 169), and the pooling is the maximum of the four.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from model_file import Parameters
from network import Network, scale
from sizes import WINDOWS

PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (row, column) of a filter in its window of the pooling


class CNNNumpy(Network):
    """Conv3x3 -> MaxPool2 -> Softmax, that reads and does not learn. See `Network` for what it takes and gives."""

    predict_batch = 16  # what they need stays in the cache of a core; more at a time is slower

    def _set_parameters(self, parameters):
        filters, filter_biases, weights, biases = parameters
        self.taps = filters.reshape(-1, 9).copy()  # (F, 9)
        self.filter_biases = filter_biases.copy()
        by_filter = weights.reshape(WINDOWS, -1, self.num_classes).swapaxes(0, 1)
        self.weights = np.array(by_filter, order="C")  # (F, 169, C)
        self.biases = biases.copy()

    @property
    def parameters(self):
        weights = np.array(self.weights.swapaxes(0, 1), order="C").reshape(-1, self.num_classes)
        return Parameters(self.taps.reshape(-1, 3, 3).copy(), self.filter_biases.copy(), weights, self.biases.copy())

    def _logits(self, images):
        pooled = self._convolve_and_pool(patches(scale(images)))
        if self.activation == "relu":
            pooled += self.filter_biases[:, np.newaxis]
            np.maximum(pooled, 0, out=pooled)
        # A product for each filter is so small that NumPy's matrix library leaves it to one core. One product for all
        # filters would wake the others, which have work of their own where many pictures are read.
        return (pooled.swapaxes(0, 1) @ self.weights).sum(axis=0) + self.biases

    def _convolve_and_pool(self, pixels):
        """pixels (N, 4, 4, 169), from `patches` -> pooled (N, F, 169), before biases and ReLU."""
        largest = np.empty((len(pixels), self.num_filters, WINDOWS), np.float32)
        other = np.empty_like(largest)
        for row, column in PLACES:
            under_filter = pixels[:, row : row + 3, column : column + 3].reshape(-1, 9, WINDOWS)
            if (row, column) == PLACES[0]:
                np.matmul(self.taps, under_filter, out=largest)
            else:
                np.matmul(self.taps, under_filter, out=other)
                np.maximum(largest, other, out=largest)
        return largest


def patches(images):
    """The 4x4 pixels that each window of the pooling sees through the filters: (N, 28, 28) -> (N, 4, 4, 169)."""
    windows = sliding_window_view(images, (4, 4), axis=(1, 2))[:, ::2, ::2]  # (N, 13, 13, 4, 4)
    return windows.transpose(0, 3, 4, 1, 2).reshape(-1, 4, 4, WINDOWS)
