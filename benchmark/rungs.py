"""The ways to train, from plain Python to one launch for an epoch, and how each of them is trained and timed.

`LADDER` lists them. `ladder` says which of them this machine allows. `train` trains one network in one of these ways.
"""

from typing import NamedTuple

import cnn_gpu
from benchmark.timing import REPEATS
from cnn_cpu import CNN
from cnn_gpu import CNNGPU
from cnn_jit import CNNJit
from gpu_launch import SIMULATED, gpu_problem
from network import LEARNING_RATE
from training import Bar


class Settings(NamedTuple):
    """What is trained, and how long."""

    epochs: int = 5  # the engines are compared after so many
    images: int = 1000  # the engines are compared on so many
    batch_size: int = 64
    filters: int = 8
    seed: int = 0
    repeats: int = REPEATS  # so many epochs at least are timed, after one that warms up


class Rung(NamedTuple):
    """A way to train: its name in tables, its engine, CNNGPU's path, and what changed since the rung before."""

    name: str
    engine: type
    path: str | None
    change: str

    def network(self, settings, **options):
        """A new network that trains in this way; options go to the engine."""
        path = {"path": self.path} if self.path else {}
        return self.engine(settings.filters, "none", settings.seed, **path, **options)


PLAIN = Rung("plain Python", CNN, None, "one thread, one image, one place of the window at a time")
THREADS = Rung("Numba threads", CNNJit, None, "compiled; the images of a batch shared out over the CPU's threads")
NAIVE = Rung(
    "GPU naive", CNNGPU, "naive", "one kernel for each layer; an image at a time, copied in and out at every call"
)
LAYERS = Rung("GPU layers", CNNGPU, "layers", "whole batches, and everything stays on the GPU")
GRAPH = Rung("GPU graph", CNNGPU, "graph", "the same kernels, captured once and replayed: no launch from Python")
EPOCH = Rung("GPU epoch", CNNGPU, "epoch", "one launch for a whole epoch; the blocks wait for each other on the GPU")
LADDER = (PLAIN, THREADS, NAIVE, LAYERS, GRAPH, EPOCH)
SLOW = (PLAIN, NAIVE)  # an epoch of all images would take minutes


def ladder(num_filters):
    """(the rungs that this machine allows for so many filters, one line for each thing left out)."""
    problem = "the CUDA simulator is on, which is not a GPU to time" if SIMULATED else gpu_problem()
    if problem:
        missing = "the GPU rungs, full MNIST on the GPU, block shapes, copies and inference on the GPU"
        return [PLAIN, THREADS], [f"left out without a CUDA GPU: {missing} ({problem})"]
    rungs, left_out = [], []
    for rung in LADDER:
        problem = cnn_gpu.path_problem(rung.path, num_filters) if rung.path else None
        if problem:
            left_out.append(f"left out: {rung.name}: {problem}")
        else:
            rungs.append(rung)
    return rungs, left_out


def on_gpu(rungs):
    """Those of the rungs that run on the GPU."""
    return [rung for rung in rungs if rung.path]


def learning_rate(batch_size):
    """The default learning rate; for fewer than 64 images a batch it is smaller in proportion.

    Goyal et al. 2017 call this "the linear scaling rule".
    """
    return LEARNING_RATE * min(1, batch_size / 64)


class Trained(NamedTuple):
    """What a training of some epochs gave. For its times it may have gone on after them."""

    history: list  # the `network.Epoch` of each of these epochs
    parameters: tuple  # the Parameters after them
    seconds: list  # of each epoch that was timed
    images: int  # that one epoch learns from


def epochs_to_train(epochs, settings, warm_up):
    """These epochs, or more: after one that warms up there must be `settings.repeats` to time."""
    return max(epochs, 1 + settings.repeats) if warm_up else epochs


def train(rung, data, settings, epochs=None, batch_size=None, progress=None, warm_up=True, **options):
    """Train a new network on data (images, labels).

    epochs, batch_size: the settings' unless given. warm_up: whether the first epoch only warms up and is not timed;
    then at least `settings.repeats` timed epochs follow, even if that makes more than `epochs`. options go to the
    engine. Returns Trained.
    """
    epochs, batch_size = epochs or settings.epochs, batch_size or settings.batch_size
    network = rung.network(settings, **options)
    learned = []

    def after_epoch(epoch):
        if network.epochs_trained == epochs:
            learned.append(network.parameters)

    total = epochs_to_train(epochs, settings, warm_up)
    history = network.fit(*data, total, batch_size, learning_rate(batch_size), progress, after_epoch)
    seconds = [epoch.seconds for epoch in history]
    return Trained(history[:epochs], learned[0], seconds[1:] if warm_up else seconds, len(data[0]))


def train_all(rungs, data, settings):
    """Train every rung on the same few images, with a progress bar each: {name: Trained}, plain Python's first."""
    trained = {}
    for rung in rungs:
        warm_up = rung is not PLAIN  # plain Python has nothing to compile or to load, and each epoch takes seconds
        epochs = epochs_to_train(settings.epochs, settings, warm_up)
        with Bar(f"{rung.name:13}", epochs * len(data[0])) as bar:
            trained[rung.name] = train(rung, data, settings, progress=bar, warm_up=warm_up)
    return trained
