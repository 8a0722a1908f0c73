"""What all engines of the network share: the initial parameters, the order of the images, and the training loop.

    image 28x28 -> Conv3x3 (F filters) -> 26x26xF -> MaxPool2 -> 13x13xF -> Softmax (dense 13*13*F -> C)

The classes are the ten digits, C = 10, unless the network is made with more (up to 32): the others are no digits.

`Network` is the base of `CNN` (plain Python), `CNNJit` (CPU threads), `CNNGPU` (CUDA), and `CNNNumpy`, which only
reads. An engine adds only how it holds its parameters, how it trains one epoch and how it computes the logits of a
batch. So two engines with the same seed learn the same from the same images, up to rounding: every engine adds up in an
order of its own.
"""

import time
from typing import NamedTuple

import numpy as np

from errors import UserError
from model_file import ACTIVATIONS, MAX_LOGIT, Parameters, largest_logit, read_model, write_model
from sizes import IMAGE_SIZE, MAX_CLASSES, NUM_CLASSES, POOLED_SIZE

MAX_BATCH = 65535  # the third dimension of a CUDA grid, which counts the images, goes no further
LEARNING_RATE = 0.2


class Epoch(NamedTuple):
    """What one epoch of training gave.

    Loss and accuracy are means over the epoch's images, each read before the step that learns from it.
    """

    loss: float  # cross-entropy, in nats
    accuracy: float  # 0..1
    seconds: float  # from its start until its loss is known; meanwhile the next epoch is prepared


def initial_parameters(num_filters, seed, num_classes=NUM_CLASSES):
    """The initial parameters, the same for every engine: random numbers that the seed decides, and biases 0.

    filters ~ N(0, 1) / 9 and weights ~ N(0, 1) / fan_in, where fan_in = 13*13*F is the number of inputs of a logit.
    """
    random = np.random.default_rng(seed)
    fan_in = POOLED_SIZE * POOLED_SIZE * num_filters
    filters = random.standard_normal((num_filters, 3, 3)) / 9
    weights = random.standard_normal((fan_in, num_classes)) / fan_in
    return Parameters(
        filters.astype(np.float32),
        np.zeros(num_filters, np.float32),
        weights.astype(np.float32),
        np.zeros(num_classes, np.float32),
    )


def epoch_order(seed, epoch, count):
    """The order in which epoch number `epoch` (from 0) takes its images: (count,) int32, the same for every engine."""
    return np.random.default_rng([seed, epoch]).permutation(count).astype(np.int32)


def scale(images):
    """uint8 images, 0..255, as the network takes them: float32, x/255 - 0.5."""
    return images.astype(np.float32) / np.float32(255) - np.float32(0.5)


class Network:
    """The base of the engines. Images are uint8 (N, 28, 28), ink bright on dark; labels are integers 0..C-1, (N,).

    num_filters: how many 3x3 filters, F.
    activation: "none", the network of the articles, or "relu": a bias for each filter, and a ReLU.
    seed: decides the initial parameters, and the order and the distortions of every epoch.
    num_classes: C, 10 to 32; the first ten are the digits.
    parameters: the Parameters to begin with, of these sizes, instead of the initial ones.
    """

    predict_batch = 1024  # images at a time through predict and evaluate

    def __init__(self, num_filters=8, activation="none", seed=0, num_classes=NUM_CLASSES, parameters=None):
        if num_filters < 1:
            raise ValueError(f"num_filters must be at least 1, not {num_filters}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, not {activation!r}")
        if not NUM_CLASSES <= num_classes <= MAX_CLASSES:
            raise ValueError(f"num_classes must be {NUM_CLASSES} to {MAX_CLASSES}, not {num_classes}")
        self.num_filters = num_filters
        self.num_classes = num_classes
        self.activation = activation
        self.seed = seed
        self.epochs_trained = 0
        self.meta = {}
        self._set_parameters(parameters or initial_parameters(num_filters, seed, num_classes))

    # What an engine must add.

    def _set_parameters(self, parameters):
        """Replace the engine's parameters with copies of these."""
        raise NotImplementedError

    @property
    def parameters(self):
        """The present Parameters, as NumPy arrays; changing these does not change the network."""
        raise NotImplementedError

    def _train_epoch(self, data, order, batch_size, learning_rate, progress):
        """Learn every image once, in this order.

        data: what `_place` or `_distort` returned; order: (N,) int32, from `epoch_order`; progress: see `fit`. Of an
        epoch's batches only the last one may be smaller than batch_size.

        Returns a function that waits until that is done and gives (sum of the losses, number read right): an engine
        that only starts the work leaves time to prepare the next epoch meanwhile.
        """
        raise NotImplementedError

    def _logits(self, images):
        """Logits (N, C) float32 of at most `predict_batch` uint8 images."""
        raise NotImplementedError

    def _place(self, images, labels):
        """Move the training set to where the engine needs it, once; returns the data of `_train_epoch`."""
        return images, labels

    def _distort(self, data, epoch):
        """The data of `_train_epoch` for an epoch that distorts every image. data: what `_place` returned."""
        from distortion import distort_images, draw_distortions  # compiled, and who only reads waits for no compiler

        images, labels = data
        return distort_images(images, draw_distortions(len(images), self.seed, epoch)), labels

    # An engine that compiles for seconds may have a method compile(batch_size, augment), which does so ahead of time.
    compile = None

    # What all engines do alike.

    def fit(
        self,
        images,
        labels,
        epochs=1,
        batch_size=64,
        learning_rate=LEARNING_RATE,
        progress=None,
        after_epoch=None,
        augment=False,
        schedule=None,
    ):
        """Train with mini-batch SGD on the mean gradient of each batch; the last batch of an epoch may be smaller.

        progress(count, loss, correct) is called during training: `count` more images are learned; their summed loss and
        how many were read right are None if the engine does not know yet. after_epoch(epoch) is called with each
        Epoch. augment: whether every epoch distorts each image anew, as the seed decides (distortion.py).
        schedule(done): the factor of the learning rate after `done` epochs of this call.

        Returns the list of Epochs. Raises UserError when the loss, or what was learned, is no longer finite.
        """
        images, labels = check_images(images), check_labels(labels, len(images), self.num_classes)
        batch_size = check_training(len(images), epochs, batch_size, learning_rate)
        placed = self._place(images, labels)

        def prepare():
            """(data, order) of the coming epoch, as `_train_epoch` takes them."""
            data = self._distort(placed, self.epochs_trained) if augment else placed
            return data, epoch_order(self.seed, self.epochs_trained, len(images))

        history = []
        ready = None
        for done in range(epochs):
            start = time.perf_counter()
            data, order = ready or prepare()
            rate = learning_rate * schedule(done) if schedule else learning_rate
            finish = self._train_epoch(data, order, batch_size, rate, progress or _no_progress)
            self.epochs_trained += 1
            ready = prepare() if done + 1 < epochs else None
            loss, correct = finish()
            seconds = time.perf_counter() - start
            check_finite(loss, "the loss is", learning_rate, self.epochs_trained)
            history.append(Epoch(loss / len(images), correct / len(images), seconds))
            if after_epoch:
                after_epoch(history[-1])
        if history:  # the last step may have been the first one that went too far
            largest = largest_logit(self.parameters)
            check_finite(
                largest if largest <= MAX_LOGIT else np.inf, "the weights are", learning_rate, self.epochs_trained
            )
        return history

    def logits(self, images, progress=None):
        """Logits (N, C) float32 of uint8 images (N, 28, 28), in batches; progress as in fit."""
        images = check_images(images)
        logits = np.empty((len(images), self.num_classes), np.float32)
        for first in range(0, len(images), self.predict_batch):
            batch = images[first : first + self.predict_batch]
            logits[first : first + len(batch)] = self._logits(batch)
            (progress or _no_progress)(len(batch), None, None)
        return logits

    def predict(self, images, progress=None):
        """Probabilities (N, C) float32 of uint8 images (N, 28, 28)."""
        logits = self.logits(images, progress)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    def evaluate(self, images, labels, progress=None, among=None):
        """(mean cross-entropy in nats, accuracy 0..1) on labelled images.

        among: decide between the first `among` classes only, such as the ten digits, as if there were no others.
        """
        images, labels = check_images(images), check_labels(labels, len(images), among or self.num_classes)
        logits = self.logits(images, progress)[:, :among].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
        return float(losses.mean()), float((logits.argmax(axis=1) == labels).mean())

    def save(self, path, **recipe):
        """Write the model file (see model_file.py); `recipe` goes into its meta. Never leaves a half-written file."""
        state = {"activation": self.activation, "seed": self.seed, "epochs_trained": self.epochs_trained}
        write_model(path, self.parameters, {**self.meta, **state, **recipe})

    @classmethod
    def load(cls, path, /, **options):
        """A network from a model file; `options` go to the engine (such as block=(8, 8) for CNNGPU).

        Raises UserError when there is no such file, or it is not a model of this network.
        """
        parameters, meta = read_model(path)
        num_filters, num_classes = len(parameters.filters), len(parameters.biases)
        network = cls(num_filters, meta["activation"], meta.get("seed", 0), num_classes, parameters, **options)
        network.epochs_trained = meta.get("epochs_trained", 0)
        network.meta = meta
        return network


def check_images(images):
    """The images as an array; ValueError unless they are uint8 (N, 28, 28)."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise ValueError(f"images must be uint8 (N, 28, 28), not {images.dtype} {images.shape}")
    return images


def check_labels(labels, count, num_classes):
    """The labels as an int32 array; ValueError unless there are `count` whole numbers below num_classes, from 0."""
    labels = np.asarray(labels)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be {count} whole numbers, not {labels.dtype} {labels.shape}")
    if count and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(f"labels must be 0..{num_classes - 1}, not {labels.min()}..{labels.max()}")
    return labels.astype(np.int32)


def check_training(count, epochs, batch_size, learning_rate):
    """The size of a batch: batch_size, or `count` if that is smaller.

    Raises ValueError when no training on `count` images is possible with these numbers.
    """
    if epochs < 0 or batch_size < 1 or not 0 <= learning_rate < float("inf"):
        raise ValueError(f"cannot train {epochs} epochs at batch size {batch_size}, learning rate {learning_rate}")
    if count == 0:
        raise ValueError("there is no image to train on")
    batch_size = min(batch_size, count)
    if batch_size > MAX_BATCH:
        raise ValueError(f"the batch size must be at most {MAX_BATCH}, not {batch_size}")
    return batch_size


def check_finite(value, what, learning_rate, epoch):
    """UserError, with what to try, when a value is not finite. what: "the loss is", or what else it stands for."""
    if not np.isfinite(value):
        raise UserError(
            f"{what} no longer finite in epoch {epoch}: the learning rate {learning_rate:g} is too high here, "
            f"try {min(learning_rate / 4, LEARNING_RATE):.2g}"
        )


def _no_progress(count, loss, correct):
    pass
