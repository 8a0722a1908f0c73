"""The network on the threads of a CPU, compiled to machine code by Numba: the engine for those without a GPU.

    python cnn_jit.py --epoch 3          trains on all of MNIST and saves model.npz

Two loops run in parallel in every step. First each image of the batch is learned by one thread, which leaves its
activations, its gradient at the logits and its gradient of the filters (`learn_image`). Then each thread takes a share
of the weights and sums the batch's gradient for it (`update_weights`). No two threads ever add to the same number, so
the result depends neither on their speed nor on how many there are.

Inner loops run over filters or weights that lie side by side in memory, so that the compiler can do eight or sixteen at
once; for that the filters are held as (9, F) and the weights as (10, K).
"""

import math

import numba
import numpy as np
from numba import float32, njit, prange

from errors import run
from network import IMAGE_SIZE, NUM_CLASSES, POOLED_SIZE, Network, Parameters
from training import train_script, training_parser

# Sums may be reordered and multiplications fused with additions, which vector units need; NaN and infinity keep their
# meaning, so that a training that diverges is noticed.
FAST = {"contract", "reassoc", "nsz", "arcp"}
SHARE = 169  # weights of a class that a thread updates at a time: 10 x 169 sums stay in the fastest cache


@njit(fastmath=FAST, cache=True)
def forward_image(image, taps, filter_biases, relu, pixels, pooled, winners):
    """image (28, 28) uint8 -> pixels (28, 28), pooled (K,) and winners (K,), each window's first maximum, 0..3."""
    for row in range(IMAGE_SIZE):
        for column in range(IMAGE_SIZE):
            pixels[row, column] = float32(image[row, column]) / float32(255) - float32(0.5)
    filters = taps.shape[1]
    for row in range(POOLED_SIZE):
        for column in range(POOLED_SIZE):
            patch = pixels[2 * row : 2 * row + 4, 2 * column : 2 * column + 4]  # all that a 2x2 window's filters see
            start = (row * POOLED_SIZE + column) * filters
            out, won = pooled[start : start + filters], winners[start : start + filters]
            for f in range(filters):
                largest = convolve(patch, taps, f, 0)
                winner = np.int32(0)
                for place in range(1, 4):
                    total = convolve(patch, taps, f, place)
                    if total > largest:
                        largest = total
                        winner = np.int32(place)
                if relu:
                    largest = max(largest + filter_biases[f], float32(0))
                out[f] = largest
                won[f] = winner


@njit(fastmath=FAST, cache=True)
def convolve(patch, taps, f, place):
    """Filter f at one place, 0..3, of a 4x4 patch."""
    total = float32(0)
    for tap in range(9):
        total += patch[place // 2 + tap // 3, place % 2 + tap % 3] * taps[tap, f]
    return total


@njit(fastmath=FAST, cache=True)
def dense_forward(pooled, weights, biases, logits):
    """pooled (K,), weights (10, K) -> logits (10,)."""
    for c in range(NUM_CLASSES):
        total = float32(0)
        for k in range(pooled.shape[0]):
            total += pooled[k] * weights[c, k]
        logits[c] = total + biases[c]


@njit(fastmath=FAST, cache=True)
def cross_entropy(logits, label, grad_logits):
    """logits (10,) -> grad_logits (10,), probabilities - onehot. Returns (loss, 1 if read right)."""
    largest = logits.max()
    total = float32(0)
    for c in range(NUM_CLASSES):
        grad_logits[c] = math.exp(logits[c] - largest)
        total += grad_logits[c]
    for c in range(NUM_CLASSES):
        grad_logits[c] /= total
    grad_logits[label] -= float32(1)
    return math.log(total) + largest - logits[label], int(logits.argmax() == label)


@njit(fastmath=FAST, cache=True)
def backward_image(pixels, pooled, winners, grad_logits, weights, relu, grad_pooled, grad_taps):
    """Fill grad_pooled (K,), from the weights before their update, and this image's grad_taps (10, F): 9 taps, bias."""
    for k in range(pooled.shape[0]):
        total = float32(0)
        for c in range(NUM_CLASSES):
            total += grad_logits[c] * weights[c, k]
        grad_pooled[k] = total if pooled[k] > 0 or not relu else float32(0)
    grad_taps[:] = 0
    filters = grad_taps.shape[1]
    for row in range(POOLED_SIZE):
        for column in range(POOLED_SIZE):
            patch = pixels[2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
            start = (row * POOLED_SIZE + column) * filters
            gradients, won = grad_pooled[start : start + filters], winners[start : start + filters]
            for f in range(filters):
                grad_taps[9, f] += gradients[f]
                for place in range(4):
                    gradient = gradients[f] if won[f] == place else float32(0)
                    for tap in range(9):
                        grad_taps[tap, f] += gradient * patch[place // 2 + tap // 3, place % 2 + tap % 3]


@njit(fastmath=FAST, cache=True)
def learn_image(image, label, taps, filter_biases, relu, weights, biases, pooled, grad_logits, grad_taps):
    """Forward and backward with one image: pooled (K,), grad_logits (10,), grad_taps (10, F). Returns (loss, hit)."""
    pixels = np.empty((IMAGE_SIZE, IMAGE_SIZE), np.float32)
    winners = np.empty(pooled.shape, np.int32)
    grad_pooled = np.empty(pooled.shape, np.float32)
    logits = np.empty(NUM_CLASSES, np.float32)
    forward_image(image, taps, filter_biases, relu, pixels, pooled, winners)
    dense_forward(pooled, weights, biases, logits)
    loss, hit = cross_entropy(logits, label, grad_logits)
    backward_image(pixels, pooled, winners, grad_logits, weights, relu, grad_pooled, grad_taps)
    return loss, hit


@njit(fastmath=FAST, cache=True)
def update_weights(first, last, pooled, grad_logits, step, weights):
    """Sum the batch's gradient for weights (10, first..last) and step down it. pooled (N, K), grad_logits (N, 10)."""
    sums = np.zeros((NUM_CLASSES, last - first), np.float32)
    for n in range(pooled.shape[0]):
        inputs = pooled[n, first:last]
        for c in range(NUM_CLASSES):
            gradient = grad_logits[n, c]
            for k in range(last - first):
                sums[c, k] += gradient * inputs[k]
    weights[:, first:last] -= step * sums


@njit(fastmath=FAST, cache=True, parallel=True)
def learn_batch(images, labels, batch, learning_rate, taps, filter_biases, relu, weights, biases, work):
    """One step of SGD on images[batch]. Returns the summed loss and how many were read right."""
    pooled, grad_logits, grad_taps, losses, hits = work
    count = len(batch)
    step = float32(learning_rate / count)
    for n in prange(count):
        losses[n], hits[n] = learn_image(
            images[batch[n]], labels[batch[n]], taps, filter_biases, relu, weights, biases,
            pooled[n], grad_logits[n], grad_taps[n],
        )  # fmt: skip
    for share in prange(-(-weights.shape[1] // SHARE)):
        first = share * SHARE
        last = min(first + SHARE, weights.shape[1])
        update_weights(first, last, pooled[:count], grad_logits[:count], step, weights)
    for n in range(count):
        for c in range(NUM_CLASSES):
            biases[c] -= step * grad_logits[n, c]
        for f in range(taps.shape[1]):
            for tap in range(9):
                taps[tap, f] -= step * grad_taps[n, tap, f]
            if relu:
                filter_biases[f] -= step * grad_taps[n, 9, f]
    return losses[:count].sum(), hits[:count].sum()


@njit(fastmath=FAST, cache=True, parallel=True)
def all_logits(images, taps, filter_biases, relu, weights, biases, logits):
    """images (N, 28, 28) uint8 -> logits (N, 10)."""
    for n in prange(len(images)):
        pixels = np.empty((IMAGE_SIZE, IMAGE_SIZE), np.float32)
        pooled = np.empty(weights.shape[1], np.float32)
        winners = np.empty(weights.shape[1], np.int32)
        forward_image(images[n], taps, filter_biases, relu, pixels, pooled, winners)
        dense_forward(pooled, weights, biases, logits[n])


class CNNJit(Network):
    """Conv3x3 -> MaxPool2 -> Softmax on CPU threads. See `Network` for what it takes and gives."""

    def _set_parameters(self, parameters):
        filters, filter_biases, weights, biases = parameters
        self.taps = np.array(filters.reshape(-1, 9).T, order="C")  # (9, F)
        self.filter_biases = filter_biases.copy()
        self.weights = np.array(weights.T, order="C")  # (10, K)
        self.biases = biases.copy()

    @property
    def parameters(self):
        filters = np.array(self.taps.T, order="C").reshape(-1, 3, 3)
        return Parameters(filters, self.filter_biases.copy(), np.array(self.weights.T, order="C"), self.biases.copy())

    @property
    def _state(self):
        return self.taps, self.filter_biases, self.activation == "relu", self.weights, self.biases

    def _train_epoch(self, data, order, batch_size, learning_rate, progress):
        work = (
            np.empty((batch_size, self.weights.shape[1]), np.float32),  # pooled
            np.empty((batch_size, NUM_CLASSES), np.float32),  # grad_logits
            np.empty((batch_size, 10, self.num_filters), np.float32),  # grad_taps
            np.empty(batch_size, np.float64),  # losses
            np.empty(batch_size, np.int64),  # hits
        )
        total_loss = total_correct = 0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            loss, correct = learn_batch(*data, batch, learning_rate, *self._state, work)
            total_loss += loss
            total_correct += correct
            progress(len(batch), loss, correct)
        return lambda: (total_loss, total_correct)

    def _logits(self, images):
        logits = np.empty((len(images), NUM_CLASSES), np.float32)
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
