"""A process that trains one network for one page, and reports what it has learned.

    trainer = Trainer(CNNJit, Recipe(num_filters=8), on_report)     starts the process
    trainer.train(epochs=3)                                         ... None for until it is stopped
    trainer.stop()                                                  after the present step; train() goes on from there
    trainer.close()                                                 ends the process, whatever it does

It is a process of its own, because training takes all the time it can get: in a thread, it would keep the interpreter's
lock from the threads that answer the page. The process ends with the page, and also when the server is killed: then its
end of the pipe is closed.
"""

import contextlib
import multiprocessing
import threading
import time
from typing import NamedTuple

import numpy as np

import interrupts
import mnist_data
from errors import UserError
from model_file import Parameters
from network import LEARNING_RATE

BATCH_SIZE = 64
INTERVAL = 0.1  # seconds between two reports, at least
FOR_EVER = 10**9  # epochs
STOP = 0  # sent instead of a number of epochs


class Recipe(NamedTuple):
    """What a page may choose."""

    num_filters: int = 8
    activation: str = "none"
    learning_rate: float = LEARNING_RATE
    seed: int = 0


class Point(NamedTuple):
    """The curves at the end of one epoch; epoch 0 is the new network."""

    epoch: int
    loss: float | None  # of the epoch's images, each before it was learned; None at epoch 0
    accuracy: float | None
    test_loss: float
    test_accuracy: float  # 0..1
    seconds: float  # that the epoch took, without the test; 0 at epoch 0


class Report(NamedTuple):
    """What is new since the last report."""

    state: str  # "training", "stopped", or "failed"
    points: list[Point]  # of the epochs that were finished
    share: float  # of the present epoch that is learned, 0..1
    parameters: Parameters | None  # None when nothing was learned
    error: str = ""  # one line, if state is "failed"


class Trainer:
    """The process, as the server sees it. on_report(report) is called in a thread of its own."""

    def __init__(self, engine, recipe, on_report):
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads or CUDA may hang
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_work, args=(theirs, engine, recipe), daemon=True)
        with interrupts.held_while_processes_start():
            self._process.start()
        theirs.close()
        self._closed = False
        threading.Thread(target=self._receive, args=(on_report,), daemon=True).start()

    def _receive(self, on_report):
        while True:
            try:
                report = self._pipe.recv()
            except (EOFError, OSError):
                if not self._closed:  # it was killed, as a system does that is out of memory
                    on_report(Report("failed", [], 0.0, None, "the process that trained has ended: train anew"))
                return
            on_report(report)

    def train(self, epochs=None):
        """Train so many epochs more; None: until it is stopped."""
        self._send(epochs or FOR_EVER)

    def stop(self):
        """Stop after the present step."""
        self._send(STOP)

    def _send(self, message):
        with contextlib.suppress(OSError):  # the process has ended, and `_receive` has reported it
            self._pipe.send(message)

    def close(self):
        """End the process and wait until it has ended."""
        self._closed = True
        self._process.terminate()
        self._process.join()
        self._pipe.close()


# -- in the process ---------------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """A message has come, so the present training ends."""


def _work(pipe, engine, recipe):
    """Serve the pipe until the server closes it. A mistake of the user is reported, and ends the process."""
    interrupts.ignore()  # Ctrl-C also reaches the server, which then ends this process
    try:
        try:
            _Worker(pipe, engine, recipe).serve()
        except UserError as error:
            pipe.send(Report("failed", [], 0.0, None, str(error)))
            pipe.recv()  # until the server has read this and closes the pipe
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the server is gone


class _Worker:
    """Trains as the messages in the pipe ask, and sends Reports."""

    def __init__(self, pipe, engine, recipe):
        self.pipe = pipe
        self.learning_rate = recipe.learning_rate
        self.network = engine(recipe.num_filters, recipe.activation, recipe.seed)
        self.data = mnist_data.load()
        self.points = []  # not reported yet
        self.learned = 0  # images of the present epoch
        self.sent = 0.0  # when the last report was

    def serve(self):
        """Report the new network, then wait for messages and do what they say, until an EOFError."""
        self.test(None)
        self.report("training")
        while True:
            epochs = self.pipe.recv()
            if epochs != STOP:
                self.fit(epochs)
                self.report("stopped")

    def fit(self, epochs):
        """Train so many epochs, or until a message comes."""
        images, labels = self.data.train_images, self.data.train_labels
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # a training that diverges ends with a UserError
                self.network.fit(
                    images, labels, epochs, BATCH_SIZE, self.learning_rate, self.progress, self.after_epoch
                )
        except _Stopped:
            self.learned = 0

    def progress(self, count, loss, correct):
        """After a step: `count` more images are learned. When the loss is not finite, nothing more is shown."""
        self.learned += count
        if loss is None or np.isfinite(loss):
            self.look()

    def after_epoch(self, epoch):
        self.test(epoch)
        self.learned = 0
        self.look()

    def test(self, epoch):
        """Add a Point to the curves: after a network.Epoch, or, with None, of the new network."""
        loss, accuracy = self.network.evaluate(self.data.test_images, self.data.test_labels)
        learned = epoch or (None, None, 0.0)
        self.points.append(Point(self.network.epochs_trained, learned[0], learned[1], loss, accuracy, learned[2]))

    def look(self):
        """Report, and end the training if a message has come; not more often than every INTERVAL."""
        if time.perf_counter() - self.sent > INTERVAL:
            self.report("training")
            if self.pipe.poll():
                self.pipe.recv()
                raise _Stopped

    def report(self, state):
        """Send what is new since the last report."""
        share = min(1.0, self.learned / len(self.data.train_images))
        self.pipe.send(Report(state, self.points, share, self.network.parameters))
        self.points = []
        self.sent = time.perf_counter()
