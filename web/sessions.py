"""What belongs to one open page: the network that it reads with, and the one that it trains.

session = sessions.open()          when a page opens its event stream
session = sessions[name]           for each of its requests; the name is a secret of this page
sessions.close(session)            when the stream ends: its training ends too
"""

import asyncio
import secrets
import threading

from errors import UserError
from web.trainer import BATCH_SIZE, Trainer

MAX_SESSIONS = 16  # each may train in a process of its own, with some 300 MB
READING = threading.Lock()  # a GPU's reader and some of Numba's kinds of threads can do one thing at a time


class OneAtATime:
    """A network that several threads may read with: each waits until the one before is done."""

    def __init__(self, network):
        self.network = network
        self.num_classes = network.num_classes

    def predict(self, images):
        """As `Network.predict`."""
        with READING:
            return self.network.predict(images)


class Session:
    """One open page. Its methods are called in the thread of the event loop."""

    def __init__(self, given):
        self.name = secrets.token_urlsafe(16)
        self.events = asyncio.Queue()  # the Reports that the page is to be told of
        self.given = given  # the network of --model
        self.trainer = None
        self.state = "none"  # or as in the Reports of the trainer
        self.recipe = None
        self.points = []
        self._loop = asyncio.get_running_loop()
        self._use(given)

    def _use(self, network):
        """Read with this network from now on."""
        self.network = network
        self.reader = OneAtATime(network)

    def train_new(self, recipe, epochs):
        """Train a new network, None until it is stopped. Until its first report, the page reads with the given one."""
        self.use_given()
        self.recipe, self.points, self.state = recipe, [], "training"

        def on_report(report):  # in the trainer's thread; a late one, of a trainer that was closed, counts no more
            self._loop.call_soon_threadsafe(lambda: self.trainer is trainer and self._take(report))

        self.trainer = trainer = Trainer(type(self.given), recipe, on_report)
        trainer.train(epochs)

    def train_on(self, epochs):
        """Train so many epochs more, None until it is stopped. Raises UserError unless a training was stopped."""
        if self.trainer is None or self.state != "stopped":
            raise UserError("there is no network to train on: begin a new one")
        self.state = "training"
        self.trainer.train(epochs)

    def stop(self):
        """Stop the training, if there is one, after the present step."""
        if self.trainer:
            self.trainer.stop()

    def use_given(self):
        """End the training, and read with the network of --model again."""
        self.close()
        self.state = "none"
        self._use(self.given)

    def close(self):
        """End the training, and its process."""
        if self.trainer:
            self.trainer.close()
        self.trainer = None

    def _take(self, report):
        """Read with what was learned, and tell the page."""
        if report.parameters:
            recipe = self.recipe
            network = type(self.given)(recipe.num_filters, recipe.activation, recipe.seed, parameters=report.parameters)
            self.points += report.points
            network.epochs_trained = self.points[-1].epoch
            self._use(network)
        self.state = report.state
        self.events.put_nowait(report)
        if report.state == "failed":
            self.close()

    def save(self, path):
        """Write the network that the page reads with to a model file."""
        if self.network is self.given:
            raise UserError("train a network first")
        point = self.points[-1]
        recipe = {
            "epochs": point.epoch, "images": 60_000, "batch_size": BATCH_SIZE, "augment": False,
            "learning_rate": self.recipe.learning_rate,
        }  # fmt: skip
        self.network.save(path, engine=type(self.network).__name__, recipe=recipe, test_accuracy=point.test_accuracy)


class Sessions(dict):
    """The open pages by their names. given: the network of --model."""

    def __init__(self, given):
        super().__init__()
        self.given = given

    def open(self):
        """A new Session. Raises UserError when there are too many."""
        if len(self) >= MAX_SESSIONS:
            raise UserError(f"{MAX_SESSIONS} pages are open already: close one of them")
        session = Session(self.given)
        self[session.name] = session
        return session

    def close(self, session):
        """The page is closed: forget it."""
        del self[session.name]
        session.close()
