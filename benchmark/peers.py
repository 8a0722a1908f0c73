"""The same network in PyTorch and JAX, for `python bench.py --peers`: what a user could pick instead.

Same data, start, order, batch size and update rule as the engines of this project: x/255 - 0.5, a 3x3 convolution
without padding or bias, 2x2 max-pooling, a dense layer with bias, cross-entropy, SGD on the batch's mean gradient.
Images, labels and weights stay on the device; the order of an epoch is drawn and copied inside the clock, as in
`Network.fit`. All settings of the libraries have their default values, except that JAX must not reserve most of the
GPU's memory for itself.

| peer          | what it is                                                                                       |
|---------------|--------------------------------------------------------------------------------------------------|
| torch-cpu     | PyTorch on the CPU: the loop over batches that its tutorials write                               |
| torch-eager   | the same on the GPU: every operation a launch of its own                                         |
| torch-graph   | one step captured in a CUDA graph, replayed for every batch                                      |
| torch-compile | torch.compile fuses the operations of a step, and one CUDA graph replays the whole epoch of them |
| jax           | jit of lax.scan: XLA compiles the whole epoch, the loop over the batches included                |
| jax-cpu       | the same on the CPU, only where there is no GPU                                                  |

    python -m benchmark.peers NAME JOB    measures one peer; JOB is a `Job` as a JSON list. bench.py starts this

Each runs in a process of its own, so that neither a crash nor a library's threads disturb the next measurement.
PyTorch and JAX are not in requirements.txt; a peer that is not installed is left out with a line that says so.
"""

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

import mnist_data
from cnn_jit import CNNJit
from interrupts import end_with_parent
from model_file import Parameters
from network import epoch_order, initial_parameters
from sizes import POOLED_SIZE

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 240  # seconds for one peer, its imports and its compilation included


class Job(NamedTuple):
    """What a peer does: it trains `epochs` epochs as the engines do, and at least `repeats` after the first are timed.

    images, test_images: how many of the training set and of the test set.
    """

    epochs: int
    repeats: int
    batch_size: int
    learning_rate: float
    filters: int
    seed: int
    images: int
    test_images: int


class TorchEager:
    """PyTorch's usual training loop: every operation is launched by Python, one after the other."""

    library = "torch"

    def __init__(self, job, data, start, device):
        import torch

        self.torch, self.job, self.device = torch, job, torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no CUDA GPU")
        move = {"device": self.device}
        self.images = torch.as_tensor(data.train_images[: job.images], **move)
        self.labels = torch.as_tensor(data.train_labels[: job.images], dtype=torch.int64, **move)
        self.test_images = torch.as_tensor(data.test_images[: job.test_images], **move)
        # PyTorch flattens (filter, row, column), this project (row, column, filter).
        dense = start.weights.reshape(POOLED_SIZE, POOLED_SIZE, job.filters, 10).transpose(3, 2, 0, 1)
        arrays = start.filters[:, None], dense.reshape(10, -1), start.biases
        self.weights = [torch.tensor(array, requires_grad=True, **move) for array in arrays]
        self.optimizer = torch.optim.SGD(self.weights, lr=job.learning_rate)
        self.total_loss = torch.zeros((), **move)
        self.prepare()

    def prepare(self):
        """What is compiled or captured once, before the first epoch."""

    def logits(self, images):  # Nx28x28 -> Nx10
        filters, dense, biases = self.weights
        functional = self.torch.nn.functional
        pixels = images.unsqueeze(1).float() / 255 - 0.5
        pooled = functional.max_pool2d(functional.conv2d(pixels, filters), 2)
        return functional.linear(pooled.flatten(1), dense, biases)

    def loss(self, batch):
        """Mean cross-entropy of the images with these indices."""
        return self.torch.nn.functional.cross_entropy(self.logits(self.images[batch]), self.labels[batch])

    def step(self, batch):
        self.optimizer.zero_grad()
        loss = self.loss(batch)
        loss.backward()
        self.optimizer.step()
        self.total_loss += loss.detach() * len(batch)

    def train_epoch(self, order):
        """Learn every image once in this order; return the summed loss, which waits for the device."""
        self.total_loss.zero_()
        for batch in self.torch.as_tensor(order, dtype=self.torch.int64, device=self.device).split(self.job.batch_size):
            self.step(batch)
        return self.total_loss.item()

    def read_test(self):
        """The answers to the test images, which are on the device already; waits until they are there."""
        with self.torch.no_grad():
            answers = self.logits(self.test_images).argmax(1)
        self.synchronize()
        return answers

    def synchronize(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    @property
    def parameters(self):
        filters, dense, biases = (weight.detach().cpu().numpy() for weight in self.weights)
        dense = dense.reshape(10, self.job.filters, POOLED_SIZE, POOLED_SIZE).transpose(2, 3, 1, 0)
        return as_parameters(filters[:, 0], dense.reshape(-1, 10), biases)

    def capture(self, work):
        """A CUDA graph of work(). PyTorch wants it run on a side stream before; afterwards the weights are put back."""
        torch = self.torch
        before = [weight.detach().clone() for weight in self.weights]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        with torch.no_grad():
            for weight, value in zip(self.weights, before, strict=True):
                weight.copy_(value)
        return graph


class TorchGraph(TorchEager):
    """One step captured in a CUDA graph: a batch costs one copy of its indices and one replay."""

    def prepare(self):
        sizes = {min(self.job.batch_size, self.job.images), self.job.images % self.job.batch_size} - {0}
        self.batches = {size: self.torch.zeros(size, dtype=self.torch.int64, device=self.device) for size in sizes}
        self.graphs = {size: self.capture(lambda batch=batch: self.step(batch)) for size, batch in self.batches.items()}
        self.capture_reading()

    def capture_reading(self):
        with self.torch.no_grad():
            self.reading = self.capture(self.answer)

    def answer(self):
        self.answers = self.logits(self.test_images).argmax(1)

    def train_epoch(self, order):
        self.total_loss.zero_()
        for batch in self.torch.as_tensor(order, dtype=self.torch.int64, device=self.device).split(self.job.batch_size):
            self.batches[len(batch)].copy_(batch)
            self.graphs[len(batch)].replay()
        return self.total_loss.item()

    def read_test(self):
        self.reading.replay()
        self.synchronize()
        return self.answers


class TorchCompile(TorchGraph):
    """torch.compile fuses the operations of a step; one CUDA graph holds all the steps of an epoch."""

    def prepare(self):
        self.loss = self.torch.compile(self.loss, dynamic=False)
        self.logits = self.torch.compile(self.logits, dynamic=False)
        self.optimizer.step = self.torch.compile(self.optimizer.step)
        self.order = self.torch.arange(self.job.images, device=self.device)
        self.epoch = self.capture(self.all_steps)
        self.capture_reading()

    def all_steps(self):
        self.total_loss.zero_()
        for batch in self.order.split(self.job.batch_size):
            self.step(batch)

    def train_epoch(self, order):
        self.order.copy_(self.torch.as_tensor(order))
        self.epoch.replay()
        return self.total_loss.item()


class Jax:
    """JAX: one jit-compiled function is a whole epoch, lax.scan its loop over the batches."""

    library = "jax"

    def __init__(self, job, data, start, device):
        # Without this JAX takes most of the GPU's memory for itself, which the engines of this run still use.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import jax

        if device == "cuda" and jax.default_backend() != "gpu":
            raise RuntimeError("JAX finds no CUDA GPU (is jax[cuda12] or jax[cuda13] installed?)")
        self.jax, self.job = jax, job
        self.images = jax.device_put(data.train_images[: job.images])
        self.labels = jax.device_put(data.train_labels[: job.images].astype(np.int32))
        self.test_images = jax.device_put(data.test_images[: job.test_images])
        filters = start.filters.transpose(1, 2, 0)[:, :, None]  # (3, 3, 1, F)
        self.weights = tuple(jax.device_put(array) for array in (filters, start.weights, start.biases))
        self.epoch = jax.jit(self.all_steps, donate_argnums=0)
        self.answers = jax.jit(lambda weights, images: self.logits(weights, images).argmax(1))

    def logits(self, weights, images):  # Nx28x28 -> Nx10
        filters, dense, biases = weights
        pixels = images[..., None].astype("float32") / 255 - 0.5
        layout = "NHWC", "HWIO", "NHWC"
        output = self.jax.lax.conv_general_dilated(pixels, filters, (1, 1), "VALID", dimension_numbers=layout)
        windows = output.reshape(len(images), POOLED_SIZE, 2, POOLED_SIZE, 2, -1)
        return windows.max((2, 4)).reshape(len(images), -1) @ dense + biases

    def all_steps(self, weights, images, labels, order):
        """The weights after an epoch, and the summed loss."""

        def loss(weights, batch):
            log_probabilities = self.jax.nn.log_softmax(self.logits(weights, images[batch]))
            return -self.jax.numpy.take_along_axis(log_probabilities, labels[batch][:, None], 1).mean()

        def step(weights, batch):
            value, gradients = self.jax.value_and_grad(loss)(weights, batch)
            updated = self.jax.tree.map(lambda one, slope: one - self.job.learning_rate * slope, weights, gradients)
            return updated, value * len(batch)

        whole = len(order) // self.job.batch_size * self.job.batch_size
        weights, losses = self.jax.lax.scan(step, weights, order[:whole].reshape(-1, self.job.batch_size))
        total = losses.sum()
        if whole < len(order):  # the last batch is smaller
            weights, last = step(weights, order[whole:])
            total += last
        return weights, total

    def train_epoch(self, order):
        self.weights, total = self.epoch(self.weights, self.images, self.labels, order)
        return float(total)

    def read_test(self):
        return self.answers(self.weights, self.test_images).block_until_ready()

    @property
    def parameters(self):
        filters, dense, biases = (np.array(weight) for weight in self.weights)
        return as_parameters(filters[:, :, 0].transpose(2, 0, 1), dense, biases)


class Peer(NamedTuple):
    """A class of this file, the device that it runs on ("cpu" or "cuda"), and its name in tables."""

    engine: type
    device: str
    title: str


PEERS = {
    "torch-cpu": Peer(TorchEager, "cpu", "PyTorch, CPU"),
    "torch-eager": Peer(TorchEager, "cuda", "PyTorch, eager"),
    "torch-graph": Peer(TorchGraph, "cuda", "PyTorch, step graph"),
    "torch-compile": Peer(TorchCompile, "cuda", "PyTorch, compiled epoch"),
    "jax-cpu": Peer(Jax, "cpu", "JAX, CPU"),
    "jax": Peer(Jax, "cuda", "JAX, jit of scan"),
}


def as_parameters(filters, weights, biases):
    """A peer's arrays as Parameters, so that an engine of this project can be tested with them."""
    arrays = filters, np.zeros(len(filters)), weights, biases
    return Parameters(*(np.array(array, np.float32, order="C") for array in arrays))  # copies: training goes on


def names(has_gpu):
    """The peers to measure: with a GPU all but JAX on the CPU, without one those on the CPU."""
    return [name for name, peer in PEERS.items() if (name != "jax-cpu" if has_gpu else peer.device == "cpu")]


def measure(name, job):
    """Train and time one peer in this process. Returns a dict that JSON can hold; all times are in seconds.

    first_seconds: preparing and the first epoch, most of which is compilation. epoch_seconds: one for each epoch after
    it. reading_seconds: reading the test images, which are on the device already. loss, test_accuracy: after job.epochs
    epochs.
    """
    engine, device, _ = PEERS[name]
    data = mnist_data.load()
    begin = time.perf_counter()
    library = import_module(engine.library)
    imported = time.perf_counter()
    peer = engine(job, data, initial_parameters(job.filters, job.seed), device)
    seconds, parameters = [], None
    for epoch in range(max(job.epochs, 1 + job.repeats)):
        start = time.perf_counter() if epoch else imported
        loss = peer.train_epoch(epoch_order(job.seed, epoch, job.images))
        seconds.append(time.perf_counter() - start)
        if epoch + 1 == job.epochs:
            parameters, final_loss = peer.parameters, loss / job.images
    peer.read_test()
    reading = []
    for _ in range(4 * job.repeats):
        start = time.perf_counter()
        peer.read_test()
        reading.append(time.perf_counter() - start)
    reader = CNNJit(job.filters, "none", job.seed, parameters=parameters)
    tests = data.test_images[: job.test_images], data.test_labels[: job.test_images]
    return {
        "version": library.__version__,
        "import_seconds": imported - begin,
        "first_seconds": seconds[0],
        "epoch_seconds": seconds[1:],
        "reading_seconds": reading,
        "loss": final_loss,
        "test_accuracy": reader.evaluate(*tests)[1],
    }


def measure_apart(name, job):
    """`measure` in a process of its own. Returns its dict, or {"problem": why there is none, in one line}."""
    module = PEERS[name].engine.library
    command = [sys.executable, "-m", "benchmark.peers", name, json.dumps(job)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return {"problem": f"took more than {TIMEOUT} seconds"}
    lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
    if f"No module named '{module}'" in lines[-1]:
        return {"problem": f"{module} is not installed"}
    if done.returncode != 0:
        return {"problem": lines[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    end_with_parent()  # or it would go on training when bench.py is killed
    print(json.dumps(measure(sys.argv[1], Job(*json.loads(sys.argv[2])))))
