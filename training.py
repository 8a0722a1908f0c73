"""What `python cnn_cpu.py`, `cnn_jit.py` and `cnn_gpu.py` have in common: train on MNIST, test, save a model.

    parser = training_parser("...")             the options; cnn_gpu.py adds --block, --device and --path
    train_script(CNNJit, parser.parse_args())   all that the script does; returns its exit status

Ctrl-C during training saves what was learned so far. With --plots, what was learned is also drawn (plots.py).
"""

import argparse
import contextlib
import functools
import math
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

import mnist_data
from errors import Parser, UserError, number
from files import check_replaceable, make_folder
from interrupts import held_until_progress
from model_file import ACTIVATIONS
from network import LEARNING_RATE, MAX_BATCH
from photos.training_set import make_sets, whole_sets
from sizes import NUM_CLASSES, PHOTO_CLASSES

# -- the options ------------------------------------------------------------------------------------------------------


class Recipe(NamedTuple):
    """What a training script does if the options do not say otherwise."""

    filters: int
    epochs: int
    learning_rate: float
    augment: bool


RECIPES = {  # by activation
    # For photos. weights/digits.npz has twice as many filters and epochs.
    "relu": Recipe(filters=32, epochs=20, learning_rate=0.4, augment=True),
    # The network of the articles.
    "none": Recipe(filters=8, epochs=3, learning_rate=LEARNING_RATE, augment=False),
}


def training_parser(description, images=60_000, activation="relu"):
    """The parser of a training script. images, activation: the defaults of these two options.

    What a recipe decides is None in the parsed arguments if the option is not given; `make_network` fills it in.
    """
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(default_activation=activation)
    other = "none" if activation == "relu" else "relu"
    own, others = RECIPES[activation], RECIPES[other]
    decaying, steady = RECIPES["relu"].learning_rate, RECIPES["none"].learning_rate
    texts = {  # those that do not fit on the line of their option
        "epochs": f"default: {own.epochs}; {others.epochs} with --activation {other}",
        "rate": f"default: {decaying} with --augment, which lets it decay to 0; {steady} without",
        "filters": f"default: {own.filters}; {others.filters} with --activation {other}; GPUs take at most 256",
        "activation": f"relu: the recipe for photos; none: the network of the articles (default: {activation})",
        "augment": "train for photos, on normalised, varied and distorted digits; default: with relu only",
        "save": "where to save the model (default: %(default)s)",
        "plots": "draw learning curves, filters, confusions and mistakes there; reads the test set after every epoch",
        "seed": "decides the initial weights, the order and the augmentation (default: 0)",
        "target": "exit with status 1 when the test accuracy is lower",
    }
    from_zero = number(int, 0, "a whole number from 0")
    in_set = number(int, 1, "a whole number from 1 to 60000", 60_000)
    in_batch = number(int, 1, f"a whole number from 1 to {MAX_BATCH}", MAX_BATCH)
    rate = number(float, 0, "a number from 0")
    filters = number(int, 1, "a whole number from 1 to 1024", 1024)
    percent = number(float, 0, "a percentage", 100)

    add = parser.add_argument
    add("--epoch", "--epochs", dest="epochs", type=from_zero, metavar="N", help=texts["epochs"])
    add("--images", type=in_set, default=images, metavar="N", help="train on the first N (default: %(default)s)")
    add("--batch-size", type=in_batch, default=64, metavar="N", help="default: %(default)s; 1 is image by image")
    add("--learning-rate", type=rate, metavar="RATE", help=texts["rate"])
    add("--filters", type=filters, metavar="N", help=texts["filters"])
    add("--activation", choices=ACTIVATIONS, help=texts["activation"])
    add("--seed", type=from_zero, metavar="N", help=texts["seed"])
    add("--augment", action=argparse.BooleanOptionalAction, help=texts["augment"])
    add("--save", type=Path, default=Path("model.npz"), metavar="PATH", help=texts["save"])
    add("--plots", type=Path, metavar="DIR", help=texts["plots"])
    add("--load", type=Path, metavar="PATH", help="go on from this model; the learning rate begins anew")
    add("--target-accuracy", type=percent, metavar="PERCENT", help=texts["target"])
    return parser


def make_network(engine, args, **options):
    """The network that the options ask for: a new one, or the one in --load. Fills in what its recipe decides.

    engine: the class of the network; options: further arguments of the class. args: of `training_parser`; those options
    that were not given and that the recipe decides get their values here. Raises UserError when the model in --load
    cannot be read, or an option contradicts it.
    """
    loaded = _load(engine, args, **options) if args.load else None
    activation = loaded.activation if loaded else args.activation or args.default_activation
    recipe = RECIPES[activation]
    args.epochs = recipe.epochs if args.epochs is None else args.epochs
    args.augment = recipe.augment if args.augment is None else args.augment
    if args.learning_rate is None:  # a rate that decays may begin higher
        args.learning_rate = RECIPES["relu" if args.augment else "none"].learning_rate

    num_classes = PHOTO_CLASSES if args.augment else NUM_CLASSES
    if not loaded:
        return engine(args.filters or recipe.filters, activation, args.seed or 0, num_classes, **options)
    if loaded.num_classes < num_classes:
        raise UserError(
            f"{args.load}: this model has {loaded.num_classes} classes, and training for photos needs {num_classes}; "
            "use --no-augment, or begin without --load"
        )
    return loaded


def _load(engine, args, **options):
    network = engine.load(args.load, **options)
    for option in ("filters", "activation", "seed"):
        asked = getattr(args, option)
        has = network.num_filters if option == "filters" else getattr(network, option)
        if asked is not None and asked != has:
            raise UserError(f"{args.load}: this model has --{option} {has}, not {asked}; leave the option out")
    return network


# -- the script -------------------------------------------------------------------------------------------------------


def train_script(engine, args, test_count=10_000, **options):
    """Train, test and save as the options ask. Returns the exit status: 1 if --target-accuracy is missed, otherwise 0.

    engine: the class of the network; options: further arguments of the class. test_count: how many images of the test
    set it is tested with. Raises UserError for what a person can mend, and KeyboardInterrupt after Ctrl-C. If Ctrl-C
    was pressed during training or testing, what was learned is saved first.
    """
    network = make_network(engine, args, **options)
    check_save(args.save)
    draw_plots = prepare_plots(args.plots) if args.plots else None
    if args.save.exists() and args.save != args.load:
        print(f"{args.save}: will be replaced; --save chooses another name", flush=True)
    trained_before = network.epochs_trained
    train_set, test_set = load_sets(network, args, test_count)
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # when training diverges, a UserError says it in one line
            curve = train(network, train_set, args, test_set if args.plots else None)
            accuracy = test(network, *test_set)
    except KeyboardInterrupt:
        save(network, args, None)
        raise
    except OSError:  # nobody reads what is printed any more, or its disk is full
        if network.epochs_trained > trained_before:
            save(network, args, None)
        raise
    except MemoryError as error:
        raise UserError(
            f"there is not enough memory for --batch-size {args.batch_size} with {network.num_filters} filters: "
            f"{error or 'none is left'}; try less"
        ) from None
    save(network, args, accuracy)
    if draw_plots:
        for path in draw_plots(args.plots, network, curve, test_set, how_trained(network, args)):
            print(f"{path}: drawn")
    if args.target_accuracy is not None and 100 * accuracy < args.target_accuracy:
        print(f"the test accuracy {accuracy:.2%} misses the target of {args.target_accuracy:g} %", file=sys.stderr)
        return 1
    return 0


def check_save(path):
    """UserError, before hours of training, if the model cannot be saved at this path afterwards."""
    try:
        check_replaceable(path)
    except OSError as error:
        raise UserError(f"{path}: the model cannot be saved there: {error.strerror}") from None


def prepare_plots(folder):
    """Make the folder of --plots, and return `plots.draw_plots`. UserError if pictures cannot be written there."""
    import plots  # slow to import, and needed for --plots only

    try:
        make_folder(folder)
        for name in plots.NAMES:
            check_replaceable(folder / name)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: the plots cannot be written there: {error.strerror}") from None
    return plots.draw_plots


def how_trained(network, args):
    """The network and its training in one line, for the small print of the plots."""
    activation = "ReLU" if network.activation == "relu" else "no activation"
    words = [f"{network.num_filters} filters, {activation}, {network.num_classes} classes, seed {network.seed}"]
    trained = vars(args) if args.epochs else network.meta.get("recipe")  # with --epoch 0, --load brought all it knows
    if trained:
        words.append(
            f"{'last ' if network.epochs_trained > trained['epochs'] else ''}trained for {trained['epochs']} epochs "
            f"on {trained['images']:,} images of MNIST{', augmented' if trained['augment'] else ''}; "
            f"batch size {trained['batch_size']}, learning rate {trained['learning_rate']:g}"
        )
    return "; ".join(words)


def load_sets(network, args, test_count):
    """((images, labels) to train on, (images, labels) to test with); with --augment as photos/training_set.py says.

    test_count: how many images to test with.
    """
    data = mnist_data.load()
    train_set = data.train_images[: args.images], data.train_labels[: args.images]
    test_set = data.test_images[:test_count], data.test_labels[:test_count]
    if not args.augment:
        return train_set, test_set

    compile_meanwhile = None
    # With fewer images than a batch has, `fit` takes smaller batches: this would compile for the wrong size.
    if network.compile and args.batch_size <= args.images:
        compile_meanwhile = functools.partial(network.compile, args.batch_size, augment=True)
    if len(train_set[0]) == len(data.train_images) and len(test_set[0]) == len(data.test_images):
        train_set, normalised = whole_sets(data, network.seed, compile_meanwhile)
    else:
        train_set, normalised = make_sets(*train_set, test_set[0], network.seed, compile_meanwhile)
    return train_set, (normalised, test_set[1])


COMPILING = "compiling the kernels (about 10 s, once)"
SILENCE = 1  # seconds that a person is left to wait without being told what for


@contextlib.contextmanager
def said_if_it_takes_long(what):
    """Print a line on stderr, once, if the block takes more than SILENCE seconds."""
    timer = threading.Timer(SILENCE, print, [what], {"file": sys.stderr})
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def train(network, train_set, args, test_set=None):
    """Train with a bar, and a line for every epoch. Raises KeyboardInterrupt, between two batches, on Ctrl-C.

    train_set, test_set: (images, labels). With a test set, it is read after every epoch, outside of the epoch's clock,
    and the learning curve is returned: for each epoch the fields of a `plots.Point`.
    """
    images, labels = train_set
    if network.compile:  # before the bar begins to count the seconds
        with said_if_it_takes_long(COMPILING):
            network.compile(min(args.batch_size, len(images)), args.augment)
    curve = []
    with Bar("training", args.epochs * len(images)) as bar, held_until_progress(bar) as progress:

        def after_epoch(epoch):
            bar.finish_epoch(epoch)
            bar.write(
                f"epoch {network.epochs_trained}: loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.2%}, "
                f"{epoch.seconds:.3f} s, {len(images) / epoch.seconds:,.0f} images/s"
            )
            if test_set:
                # progress(0, ...): no image is learned meanwhile, but Ctrl-C is answered
                tested = network.evaluate(*test_set, lambda *_: progress(0, None, None), among=NUM_CLASSES)
                curve.append((network.epochs_trained, epoch.loss, epoch.accuracy, *tested))

        options = {"augment": True, "schedule": cosine(args.epochs)} if args.augment else {}
        network.fit(images, labels, args.epochs, args.batch_size, args.learning_rate, progress, after_epoch, **options)
    return curve


def cosine(epochs):
    """A schedule for `Network.fit`: the learning rate decays from 1 to 0 times its value, along half a cosine."""
    return lambda done: 0.5 + 0.5 * math.cos(math.pi * (done + 0.5) / epochs)  # + 0.5: the middle of each epoch


def test(network, images, labels):
    """Read the test images, all of them digits, with a bar and print loss and accuracy. Returns the accuracy, 0..1.

    Raises UserError when the loss is not finite.
    """
    with Bar("testing", len(images)) as bar:
        loss, accuracy = network.evaluate(images, labels, bar, among=NUM_CLASSES)
    if not math.isfinite(loss):
        raise UserError("the loss on the test set is not finite: the learning rate is too high here, try a lower one")
    print(f"test: loss {loss:.4f}, accuracy {accuracy:.2%} on {len(images):,} images")
    return accuracy


def save(network, args, accuracy):
    """Save the network with its recipe and its test accuracy, None if it was not tested, and say so."""
    recipe = {name: getattr(args, name) for name in ("epochs", "images", "batch_size", "learning_rate", "augment")}
    network.save(args.save, engine=type(network).__name__, recipe=recipe, test_accuracy=accuracy)
    print(f"{args.save}: saved what was learned")


class Bar(tqdm):
    """A progress bar that counts images and shows images/s, and the loss and accuracy of this epoch so far."""

    def __init__(self, description, total):
        super().__init__(desc=description, total=total, unit=" images", unit_scale=True, dynamic_ncols=True)
        self.known = np.zeros(3)  # images, sum of losses, number read right: of this epoch, as far as they are known

    def __call__(self, count, loss, correct):
        """`count` more images are done; loss and correct as in the progress of `Network.fit`: None if not known yet."""
        if loss is not None:
            self.known += count, loss, correct
            self.show(self.known[1] / self.known[0], self.known[2] / self.known[0])
        self.update(count)

    def finish_epoch(self, epoch):
        """The epoch is over: show the loss and accuracy of this `network.Epoch`, and begin the next one."""
        self.known[:] = 0
        self.show(epoch.loss, epoch.accuracy)

    def show(self, loss, accuracy):
        self.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.2%}", refresh=False)
