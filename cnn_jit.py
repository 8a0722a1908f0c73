"""The network on the threads of a CPU, compiled to machine code by Numba: the engine for people without a GPU.

    python cnn_jit.py                                          trains the network for photos and saves model.npz
    python cnn_jit.py --activation none --save articles.npz    trains the network of the articles on MNIST as it is

Every step has two parallel loops. In the first one a thread learns one image of the batch (`learn_image`): it leaves
the image's activations, its gradient at the logits and its gradient of the filters. In the second one a thread has one
filter (`update_filter`): it sums the batch's gradient for this filter and for the dense weights on its outputs. No two
threads ever add to the same number, so the result depends neither on their speed nor on how many there are.

The vector units of a CPU multiply eight or sixteen numbers at once, if these lie side by side in memory (SIMD). So the
innermost loops run over the 169 windows of the pooling. `split_columns` lays out the pixels so that what neighbouring
windows see at the same place lies side by side, and the activations and weights of a filter lie together: pooled
(F, 169), weights (C, F, 169).

    tap      one of the nine numbers of a filter, 0..8, row by row; taps (F, 9) float32 are those of all filters
    window   one of the 169 windows (2x2) of the pooling, 0..168, row by row
    place    one of the four positions that a filter has in a window, 0..3, row by row
    classes  the tuple (0, ..., C-1); the length of a tuple is part of its type, so the compiler unrolls loops over it
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import math

import numba
import numpy as np
from numba import float32, int32, njit, prange

import kernel_cache  # noqa: F401 (where the compiled functions are kept)
from errors import run
from model_file import Parameters
from network import Network
from sizes import IMAGE_SIZE, POOLED_SIZE, WINDOWS
from training import train_script, training_parser

# What the compiler may do for speed. ORDERED: fuse multiplications with additions ("contract"), ignore the sign of a
# zero ("nsz"), and multiply by 1/x instead of dividing by x ("arcp"). FAST: also reorder sums ("reassoc"), so that a
# vector unit can add several parts of a long sum at once. NaN and infinity keep their meaning, so that a training that
# diverges is noticed. With NumPy's error model no division first checks for zero.
ORDERED = {"fastmath": {"contract", "nsz", "arcp"}, "error_model": "numpy", "cache": True}
FAST = ORDERED | {"fastmath": {"contract", "nsz", "arcp", "reassoc"}}


@njit(**FAST)
def split_columns(image, columns):
    """image (28, 28) uint8 -> columns (2, 4, 14 * 13) float32, the pixels scaled to x/255 - 0.5.

    columns[parity, first] holds every second row, from row `parity` on, and of each 13 pixels: every second one, from
    column `first` on. The 3x3 filters at the four places of a window together see a patch of 4x4 pixels. The patch of
    the next window begins two rows or columns further. Pixel (row, column) of all patches is columns[row % 2, column],
    from 13 * (row // 2) on.
    """
    for parity in range(2):
        for row in range(IMAGE_SIZE // 2):
            for first in range(2):
                for column in range(POOLED_SIZE + 1):
                    pixel = float32(image[2 * row + parity, 2 * column + first]) * float32(1 / 255) - float32(0.5)
                    if column < POOLED_SIZE:
                        columns[parity, first, POOLED_SIZE * row + column] = pixel
                    if column > 0:  # the pixel before, of those from two columns further on
                        columns[parity, first + 2, POOLED_SIZE * row + column - 1] = pixel


@njit(**FAST)
def pixel_under(columns, window, place, tap):
    """The pixel under this tap of a filter that is at this place of a window."""
    row, column = place // 2 + tap // 3, place % 2 + tap % 3
    return columns[row % 2, column, window + POOLED_SIZE * (row // 2)]


@njit(**ORDERED)
def convolve(columns, window, place, taps, f):
    """The output of filter f at one place of a window. taps: (F, 9) float32.

    Every place adds in the same order. So places that see equal pixels get equal numbers, and the first of them can
    win.
    """
    total = float32(0)
    for tap in range(9):
        total += pixel_under(columns, window, place, tap) * taps[f, tap]
    return total


@njit(**ORDERED)
def convolve_and_pool(columns, taps, filter_biases, relu, pooled, winners):
    """columns -> pooled (F, 169) and winners (F, 169), the place of each window's first maximum, 0..3."""
    for f in range(len(taps)):
        for window in range(WINDOWS):
            largest = convolve(columns, window, 0, taps, f)
            winner = int32(0)
            for place in range(1, 4):
                total = convolve(columns, window, place, taps, f)
                if total > largest:
                    largest = total
                    winner = int32(place)
            if relu:
                largest = max(largest + filter_biases[f], float32(0))
            pooled[f, window] = largest
            winners[f, window] = winner


@njit(**FAST)
def dense_forward(inputs, weights, biases, logits):
    """inputs (K,), weights (C, K) -> logits (C,)."""
    for c in range(len(weights)):
        total = float32(0)
        for k in range(len(inputs)):
            total += inputs[k] * weights[c, k]
        logits[c] = total + biases[c]


@njit(**FAST)
def dense_backward(grad_logits, weights, classes, grad_inputs):
    """grad_logits (C,), weights (C, K) -> grad_inputs (K,)."""
    for k in range(len(grad_inputs)):
        total = float32(0)
        for c in range(len(classes)):
            total += grad_logits[c] * weights[c, k]
        grad_inputs[k] = total


@njit(**FAST)
def cross_entropy(logits, label, classes, grad_logits):
    """logits (C,) -> grad_logits (C,), probabilities - onehot. Returns (loss, 1 if read right)."""
    largest = logits.max()
    total = float32(0)
    for c in range(len(classes)):
        grad_logits[c] = math.exp(logits[c] - largest)
        total += grad_logits[c]
    for c in range(len(classes)):
        grad_logits[c] /= total
    grad_logits[label] -= float32(1)
    return math.log(total) + largest - logits[label], int(logits.argmax() == label)


@njit(**FAST)
def filter_gradient(columns, pooled, winners, relu, grad_pooled, grad_taps):
    """Fill grad_taps (10,), 9 taps and the bias of one filter, from its pooled, winners and grad_pooled, (169,) each.

    Ten variables, not an array, because the compiler keeps variables in registers.
    """
    g0 = g1 = g2 = g3 = g4 = g5 = g6 = g7 = g8 = bias = float32(0)
    for window in range(WINDOWS):
        passed = grad_pooled[window] if pooled[window] > 0 or not relu else float32(0)
        bias += passed
        for place in range(4):
            gradient = passed if winners[window] == place else float32(0)
            g0 += gradient * pixel_under(columns, window, place, 0)
            g1 += gradient * pixel_under(columns, window, place, 1)
            g2 += gradient * pixel_under(columns, window, place, 2)
            g3 += gradient * pixel_under(columns, window, place, 3)
            g4 += gradient * pixel_under(columns, window, place, 4)
            g5 += gradient * pixel_under(columns, window, place, 5)
            g6 += gradient * pixel_under(columns, window, place, 6)
            g7 += gradient * pixel_under(columns, window, place, 7)
            g8 += gradient * pixel_under(columns, window, place, 8)
    for index, total in enumerate((g0, g1, g2, g3, g4, g5, g6, g7, g8, bias)):
        grad_taps[index] = total


@njit(**FAST)
def learn_image(image, label, taps, filter_biases, relu, weights, biases, classes, pooled, grad_logits, grad_taps):
    """Forward and backward with one image: fill pooled (F, 169), grad_logits (C,) and grad_taps (F, 10).

    Returns (loss, 1 if read right).
    """
    columns = np.empty((2, 4, IMAGE_SIZE // 2 * POOLED_SIZE), np.float32)
    winners = np.empty(pooled.shape, np.int32)
    grad_pooled = np.empty(pooled.shape, np.float32)
    logits = np.empty(len(classes), np.float32)
    flat_weights = weights.reshape(len(classes), -1)
    split_columns(image, columns)
    convolve_and_pool(columns, taps, filter_biases, relu, pooled, winners)
    dense_forward(pooled.reshape(-1), flat_weights, biases, logits)
    loss, hit = cross_entropy(logits, label, classes, grad_logits)
    dense_backward(grad_logits, flat_weights, classes, grad_pooled.reshape(-1))
    for f in range(len(taps)):
        filter_gradient(columns, pooled[f], winners[f], relu, grad_pooled[f], grad_taps[f])
    return loss, hit


@njit(**FAST)
def weight_gradient(f, pooled, grad_logits, sums):
    """Add the batch's gradient for the weights on the output of filter f to sums (C, 169).

    pooled (N, F, 169), grad_logits (N, C). Four images at a time: so a sum is read and written once for four products.
    """
    fours = len(pooled) // 4 * 4
    for n in range(0, fours, 4):
        for c in range(sums.shape[0]):
            g0, g1, g2, g3 = grad_logits[n, c], grad_logits[n + 1, c], grad_logits[n + 2, c], grad_logits[n + 3, c]
            for window in range(WINDOWS):
                first_two = g0 * pooled[n, f, window] + g1 * pooled[n + 1, f, window]
                sums[c, window] += first_two + g2 * pooled[n + 2, f, window] + g3 * pooled[n + 3, f, window]
    for n in range(fours, len(pooled)):
        for c in range(sums.shape[0]):
            for window in range(WINDOWS):
                sums[c, window] += grad_logits[n, c] * pooled[n, f, window]


@njit(**FAST)
def update_filter(f, pooled, grad_logits, grad_taps, step, taps, filter_biases, relu, weights):
    """Sum the batch's gradient for filter f and for the weights on its output, and take one step against it.

    pooled (N, F, 169), grad_logits (N, C), grad_taps (N, F, 10). step: learning rate / number of images.
    """
    sums = np.zeros((len(weights), WINDOWS), np.float32)
    weight_gradient(f, pooled, grad_logits, sums)
    for n in range(len(pooled)):
        for tap in range(9):
            taps[f, tap] -= step * grad_taps[n, f, tap]
        if relu:
            filter_biases[f] -= step * grad_taps[n, f, 9]
    for c in range(len(weights)):
        for window in range(WINDOWS):
            weights[c, f, window] -= step * sums[c, window]


@njit(**FAST)
def finish_step(grad_logits, losses, hits, step, biases):
    """Take one step against the gradient of the biases. Returns the sums of losses and hits.

    grad_logits (N, C), losses (N,), hits (N,).
    """
    total_loss, total_hits = 0.0, 0
    for n in range(len(losses)):
        for c in range(len(biases)):
            biases[c] -= step * grad_logits[n, c]
        total_loss += losses[n]
        total_hits += hits[n]
    return total_loss, total_hits


@njit(parallel=True, **FAST)
def learn_batch(images, labels, batch, learning_rate, taps, filter_biases, relu, weights, biases, classes, work):
    """One step of SGD on images[batch]. Returns the summed loss and how many were read right.

    work: arrays for what the images leave, of at least as many as there are in the batch; see `CNNJit._train_epoch`.
    """
    pooled, grad_logits, grad_taps, losses, hits = work
    count = len(batch)
    step = float32(learning_rate / count)
    for n in prange(count):
        losses[n], hits[n] = learn_image(
            images[batch[n]], labels[batch[n]], taps, filter_biases, relu, weights, biases, classes,
            pooled[n], grad_logits[n], grad_taps[n],
        )  # fmt: skip
    for f in prange(len(taps)):
        update_filter(
            f, pooled[:count], grad_logits[:count], grad_taps[:count], step, taps, filter_biases, relu, weights
        )
    return finish_step(grad_logits[:count], losses[:count], hits[:count], step, biases)


@njit(parallel=True, **FAST)
def all_logits(images, taps, filter_biases, relu, weights, biases, logits):
    """images (N, 28, 28) uint8 -> logits (N, C)."""
    for n in prange(len(images)):
        columns = np.empty((2, 4, IMAGE_SIZE // 2 * POOLED_SIZE), np.float32)
        pooled = np.empty((len(taps), WINDOWS), np.float32)
        winners = np.empty(pooled.shape, np.int32)
        split_columns(images[n], columns)
        convolve_and_pool(columns, taps, filter_biases, relu, pooled, winners)
        dense_forward(pooled.reshape(-1), weights.reshape(len(weights), -1), biases, logits[n])


class CNNJit(Network):
    """Conv3x3 -> MaxPool2 -> Softmax on CPU threads. See `Network` for what it takes and gives."""

    def _set_parameters(self, parameters):
        self.classes = tuple(range(self.num_classes))
        filters, filter_biases, weights, biases = parameters
        self.taps = filters.reshape(-1, 9).copy()  # (F, 9)
        self.filter_biases = filter_biases.copy()
        self.weights = np.array(weights.reshape(WINDOWS, -1, self.num_classes).T, order="C")  # (C, F, 169)
        self.biases = biases.copy()

    @property
    def parameters(self):
        weights = np.array(self.weights.T, order="C").reshape(-1, self.num_classes)
        return Parameters(self.taps.reshape(-1, 3, 3).copy(), self.filter_biases.copy(), weights, self.biases.copy())

    def compile(self, batch_size, augment):
        """Compile what `fit` and `logits` need, or load it from the cache, with another network of the same form."""
        blank = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        twin = CNNJit(1, self.activation, num_classes=self.num_classes)
        twin.fit(blank, np.zeros(1, np.int32), batch_size=1, learning_rate=0.0, augment=augment)
        twin.logits(blank)

    @property
    def _state(self):
        return self.taps, self.filter_biases, self.activation == "relu", self.weights, self.biases

    def _train_epoch(self, data, order, batch_size, learning_rate, progress):
        work = (  # for each image of a batch
            np.empty((batch_size, self.num_filters, WINDOWS), np.float32),  # pooled
            np.empty((batch_size, self.num_classes), np.float32),  # grad_logits
            np.empty((batch_size, self.num_filters, 10), np.float32),  # grad_taps
            np.empty(batch_size, np.float64),  # losses
            np.empty(batch_size, np.int64),  # hits
        )
        total_loss = total_correct = 0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            loss, correct = learn_batch(*data, batch, learning_rate, *self._state, self.classes, work)
            total_loss += loss
            total_correct += correct
            progress(len(batch), loss, correct)
        return lambda: (total_loss, total_correct)

    def _logits(self, images):
        logits = np.empty((len(images), self.num_classes), np.float32)
        all_logits(images, *self._state, logits)
        return logits


def main(argv=None):
    return train_on_threads(training_parser(__doc__).parse_args(argv))


def train_on_threads(args):
    """`train_script` with CNNJit, after a line that says on how many threads."""
    print(f"training on {numba.get_num_threads()} CPU threads", flush=True)
    return train_script(CNNJit, args)


if __name__ == "__main__":
    run(main)
