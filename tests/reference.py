"""The network once more, in float64 and whole arrays, written another way than the engines: what they are held against.

The gradients here are themselves held against central differences, in test_layers.py.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def convolve(images, filters, biases, relu):
    """images (N, H, W) -> (N, H - 2, W - 2, F)."""
    output = np.einsum("nrcab,fab->nrcf", sliding_window_view(images, (3, 3), axis=(1, 2)), filters)
    return np.maximum(output + biases, 0) if relu else output


def convolve_gradients(images, output, relu, grad_output):
    """Gradients of filters (F, 3, 3) and biases (F,), summed over the images."""
    if relu:
        grad_output = grad_output * (output > 0)
    grad_filters = np.einsum("nrcab,nrcf->fab", sliding_window_view(images, (3, 3), axis=(1, 2)), grad_output)
    return grad_filters, grad_output.sum(axis=(0, 1, 2)) * relu


def pool_windows(pixels):
    """(N, H, W, F) -> (N, H // 2, W // 2, 4, F), each window's numbers in row-major order."""
    n, height, width, filters = pixels.shape
    cut = pixels[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, filters)
    return cut.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2, width // 2, 4, filters)


def pool(pixels):
    """(N, H, W, F) -> (N, H // 2, W // 2, F)."""
    return pool_windows(pixels).max(axis=3)


def pool_gradient(pixels, grad_output):
    """The gradient at the input: all of a window's goes to its first maximum."""
    windows = pool_windows(pixels)
    chosen = np.arange(4)[:, None] == windows.argmax(axis=3)[:, :, :, None, :]
    n, height, width, filters = pixels.shape
    gradient = (chosen * grad_output[:, :, :, None, :]).reshape(n, height // 2, width // 2, 2, 2, filters)
    result = np.zeros(pixels.shape)
    whole = gradient.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2 * 2, width // 2 * 2, filters)
    result[:, : whole.shape[1], : whole.shape[2]] = whole
    return result


def log_softmax(logits):
    """(N, C) -> (N, C)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def loss_and_gradients(parameters, images, labels, relu):
    """The summed loss of scaled images (N, 28, 28) float64, and the summed gradient for each of the parameters."""
    filters, filter_biases, weights, biases = (array.astype(np.float64) for array in parameters)
    convolved = convolve(images, filters, filter_biases, relu)
    pooled = pool(convolved)
    flat = pooled.reshape(len(images), -1)
    log_probabilities = log_softmax(flat @ weights + biases)
    chosen = np.arange(len(images)), labels
    grad_logits = np.exp(log_probabilities)
    grad_logits[chosen] -= 1
    grad_pooled = (grad_logits @ weights.T).reshape(pooled.shape)
    grad_filters, grad_filter_biases = convolve_gradients(
        images, convolved, relu, pool_gradient(convolved, grad_pooled)
    )
    gradients = grad_filters, grad_filter_biases, flat.T @ grad_logits, grad_logits.sum(axis=0)
    return -log_probabilities[chosen].sum(), gradients


def train(parameters, images, labels, orders, batch_size, learning_rate, relu):
    """Mini-batch SGD on uint8 images in these orders; returns the parameters (float64) and each epoch's loss."""
    parameters = [array.astype(np.float64) for array in parameters]
    scaled = images / 255 - 0.5
    losses = []
    for order in orders:
        losses.append(0)
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            loss, gradients = loss_and_gradients(parameters, scaled[batch], labels[batch], relu)
            losses[-1] += loss / len(order)
            parameters = [p - learning_rate / len(batch) * g for p, g in zip(parameters, gradients, strict=True)]
    return parameters, losses
