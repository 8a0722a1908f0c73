"""CPU against GPU: the same network from the same start, first compared, then timed, rung by rung.

    python bench.py --epoch 5            writes results/bench.json and the charts beside it
    python bench.py --epoch 5 --peers    the same, with PyTorch and JAX where they are installed
    python bench.py --readme             puts the tables of results/bench.json into README.md, at its markers

A fast wrong answer does not count. So every way to train starts from the same weights, takes the same images in the
same order, and must have learned what plain Python learned (benchmark/agreement.py) before any time is shown.

How it is measured:

- The GPU is synchronised inside the clock: an epoch ends when its loss is back on the host.
- Compile time is a figure of its own. The first epoch is the warm-up and is not timed, except for plain Python, which
  has nothing to compile. In the second, `epoch` records its launch, so the second is often its slowest.
- A time that is shown with (smallest..largest, n) is the median of n measurements.
- Plain Python and the naive port would take minutes for all 60,000 images. They are timed on --images, and the table
  says that it scales them.
- What is measured once serves every table. Kernels are compiled before, by several processes. `seconds` in bench.json
  lists where the time of the run itself went.

The measurements stand here in the order of the results. What they are made of is in benchmark/.
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import argparse
import functools
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import cuda
from tqdm import tqdm

import mnist_data
from benchmark import agreement, first_step, kernels, machine, peers, wrong_timing
from benchmark.charts import draw_charts
from benchmark.report import FORMAT, all_tables, update_readme
from benchmark.rungs import (
    EPOCH,
    GRAPH,
    LAYERS,
    NAIVE,
    PLAIN,
    SLOW,
    Settings,
    ladder,
    learning_rate,
    on_gpu,
    train,
    train_all,
)
from benchmark.text import epochs_text
from benchmark.timing import scaled, summary, time_calls, time_launches
from cnn_jit import CNNJit
from epoch_gpu import as_words, learning_plan
from errors import Parser, number, run
from files import check_replaceable, replacing
from gpu_launch import BLOCK_SHAPES
from layer_check import recorded_seconds
from sizes import CONVOLVED_SIZE, NUM_CLASSES

ROOT = Path(__file__).resolve().parent
FULL = 60_000  # images of an epoch in the ladder: all of MNIST's training set
TESTS = 10_000
STEPS = {None: 100, "layers": 250, "graph": 1000, "epoch": 1000}  # of an epoch for each batch size, by the rung's path
CPU_IMAGES = 10_000  # at most, where the CPU's threads are timed for every batch size
EPOCH_IMAGES = 10_000  # of an epoch for each block shape
BATCH_SIZES = (1, 4, 16, 64, 256, 1024)
LARGE_BATCHES = (64, 128, 1024)
TARGET = 0.97  # of the test images


class Data(NamedTuple):
    """MNIST as (images, labels) pairs."""

    train: tuple
    test: tuple


def load_data():
    """The images and labels that are measured with, as Data."""
    everything = mnist_data.load()
    return Data(
        (everything.train_images[:FULL], everything.train_labels[:FULL]),
        (everything.test_images[:TESTS], everything.test_labels[:TESTS]),
    )


def first(count, pair):
    """The first `count` of (images, labels)."""
    return tuple(part[:count] for part in pair)


# The measurements. Each returns what goes into bench.json under its name; all times are in seconds.


class Run:
    """A run of bench.py: how long each of its parts took, and what it had to leave out."""

    def __init__(self, left_out):
        self.seconds = {}
        self.left_out = left_out

    def take(self, part, measurement, *arguments):
        """The result of a measurement, by whose absence all others would mean nothing."""
        start = time.perf_counter()
        result = measurement(*arguments)
        self.seconds[part] = time.perf_counter() - start
        return result

    def attempt(self, part, measurement, *arguments):
        """The same of a measurement that can be missed: None if it fails, and a line in left_out that says why."""
        try:
            return self.take(part, measurement, *arguments)
        except Exception as error:  # of driver, compiler or package: none of them may cost the rest
            reason = " ".join(str(error).split()) or "no reason given"
            self.left_out.append(f"left out: {part}: {type(error).__name__}: {reason}")
            return None


class Trainings:
    """Trainings on the first images of MNIST, each done once, however many tables show it."""

    def __init__(self, data, settings):
        self.data, self.settings = data.train, settings
        self.done = {}

    def get(self, rung, batch_size=None, images=FULL):
        """Trained: settings.epochs epochs of all images; of fewer images as few epochs as can be timed.

        Where a training of all images is there already, it also serves who asks for fewer.
        """
        batch_size, everything = batch_size or self.settings.batch_size, len(self.data[0])
        if (rung.name, batch_size, everything) in self.done:
            images = everything
        images = min(images, everything)
        key = rung.name, batch_size, images
        if key not in self.done:
            epochs = self.settings.epochs if images == everything else 1
            few = first(images, self.data)
            self.done[key] = train(rung, few, self.settings, epochs=epochs, batch_size=batch_size)
        return self.done[key]


def measure(rungs, trained, agreed, first_steps, data, settings, run, with_peers):
    """All measurements, as the dict that becomes bench.json. What may fail comes last.

    trained, agreed: what `train_all` and `agreement.check` gave; first_steps: `first_step.measure_all`.
    """
    has_gpu = bool(on_gpu(rungs))
    card = machine.describe_card(FULL, settings.batch_size, settings.filters) if has_gpu else {"floor": None}
    trainings = Trainings(data, settings)
    results = {
        "format": FORMAT,
        "machine": machine.describe_machine(has_gpu),
        "card": card,
        "settings": settings._asdict() | {"learning_rate": learning_rate(settings.batch_size), "full_images": FULL},
        "agreement": {"tolerance": agreement.TOLERANCE, "engines": agreed},
        "learning": learning_rows(trained),
        "first_steps": first_steps,
    }
    take, attempt = run.take, run.attempt
    results["ladder"] = take("ladder", measure_ladder, rungs, trained, trainings, data, settings, card)
    results["fastest"] = take("fastest", measure_fastest, rungs, results["ladder"], trainings, data, settings)
    results["batches"] = take("batch sizes", measure_batches, rungs, trained, trainings)
    results["inference"] = take("reading", measure_inference, rungs, data, settings)
    results["small"] = take("one image", measure_small, rungs, results["batches"], data, settings)
    results["copies"] = take("copies", measure_copies, rungs, results["ladder"], data, settings)
    results["peers"] = take("peers", measure_peers, rungs, settings, run.left_out) if with_peers else []
    results["blocks"] = attempt("block shapes", measure_blocks, rungs, data, settings, run.left_out)
    results["step"] = attempt("a step", measure_step, rungs, results, data, settings) if has_gpu else None
    results["wrong_timing"] = attempt("wrong timing", measure_wrong_timing, data, settings) if has_gpu else None
    return results | {"seconds": run.seconds, "left_out": run.left_out}


def learning_rows(trained):
    """The curves of the comparison: loss and accuracy of every epoch, and the seconds of the timed ones."""
    return [
        {
            "name": name,
            "loss": [epoch.loss for epoch in one.history],
            "accuracy": [epoch.accuracy for epoch in one.history],
            "epoch_seconds": summary(one.seconds),
        }
        for name, one in trained.items()
    ]


def measure_ladder(rungs, trained, trainings, data, settings, card):
    """A row for each rung: the seconds of an epoch of FULL images, and the test accuracy after settings.epochs epochs.

    The slow rungs are timed on the few images of the comparison, and their seconds are scaled to FULL images.
    """
    rows = []
    for rung in tqdm(rungs, desc="the ladder"):
        few = trained[rung.name]
        whole = None if rung in SLOW else trainings.get(rung)
        timed = whole or few
        seconds = scaled(summary(timed.seconds), FULL / timed.images)
        rows.append(
            {
                "name": rung.name,
                "change": rung.change,
                "images_timed": timed.images,
                "epoch_seconds": seconds,
                "images_per_second": FULL / seconds["median"],
                "over_plain": (rows[0]["epoch_seconds"]["median"] if rows else seconds["median"]) / seconds["median"],
                "over_previous": rows[-1]["epoch_seconds"]["median"] / seconds["median"] if rows else None,
                "accuracy_few": test_accuracy(few, data, settings),
                "accuracy_full": test_accuracy(whole, data, settings) if whole else None,
                "times_floor": seconds["median"] / card["floor"]["total"] if rung.path and card["floor"] else None,
            }
        )
    return rows


def test_accuracy(trained, data, settings):
    """Accuracy of learned weights on the test set. One engine reads for all, so that only the weights can differ."""
    return CNNJit(settings.filters, "none", settings.seed, parameters=trained.parameters).evaluate(*data.test)[1]


def measure_fastest(rungs, rows, trainings, data, settings):
    """The fastest rung of the ladder: an epoch of all images at three batch sizes, and the time to TARGET accuracy.

    rows: the ladder's. The time to TARGET begins with new weights and ends with the first epoch after which the network
    reads so many test images right. It is the sum of what training took and of what reading the test images after every
    epoch took. The data is in memory (on the GPU where the rung trains there), and everything is compiled.
    """
    medians = {row["name"]: row["epoch_seconds"]["median"] for row in rows}
    rung = min((rung for rung in rungs if rung not in SLOW), key=lambda rung: medians[rung.name])
    epochs = []
    for size in tqdm(LARGE_BATCHES, desc="the fastest"):
        trained = trainings.get(rung, size)
        accuracy = test_accuracy(trained, data, settings)
        epochs.append({"batch_size": size, "epoch_seconds": summary(trained.seconds), "accuracy": accuracy})
    times = [seconds_to_target(rung, data, settings) for _ in range(1 + settings.repeats)][1:]
    target = None
    if all(times):
        target = {"accuracy": TARGET, "epochs": times[0][1], "seconds": summary([seconds for seconds, _ in times])}
    return {"name": rung.name, "epochs": epochs, "target": target}


def seconds_to_target(rung, data, settings):
    """(seconds, epochs) until TARGET of the test images are read right; None when 10 epochs do not reach it."""
    network = rung.network(settings)
    images, labels = data.test
    there = cuda.to_device(as_words(images)) if rung.path else images
    reading = []

    def after_epoch(epoch):
        start = time.perf_counter()
        answers = network.read(there)[0].copy_to_host() if rung.path else network.logits(there)
        accuracy = (answers.argmax(axis=1) == labels).mean()
        reading.append((accuracy, time.perf_counter() - start))

    history = network.fit(*data.train, 10, settings.batch_size, learning_rate(settings.batch_size), None, after_epoch)
    for done, (accuracy, _) in enumerate(reading, 1):
        if accuracy >= TARGET:
            seconds = sum(epoch.seconds for epoch in history[:done]) + sum(took for _, took in reading[:done])
            return seconds, done
    return None


def measure_batches(rungs, trained, trainings):
    """Seconds per image of training at every batch size: {"name", "batch_size", "image_seconds"} for each.

    An epoch of STEPS, or of all images (on the CPU of CPU_IMAGES) if that is less. Plain Python takes an image at a
    time, so its time does not depend on the batch: it is not measured again.
    """
    plain = trained[PLAIN.name]
    rows = [
        {"name": PLAIN.name, "batch_size": size, "image_seconds": scaled(summary(plain.seconds), 1 / plain.images)}
        for size in BATCH_SIZES
    ]
    fast = [rung for rung in rungs if rung not in SLOW]
    for rung, size in tqdm([(rung, size) for rung in fast for size in BATCH_SIZES], desc="batch sizes"):
        one = trainings.get(rung, size, min(STEPS[rung.path] * size, FULL if rung.path else CPU_IMAGES))
        seconds = scaled(summary(one.seconds), 1 / one.images)
        rows.append({"name": rung.name, "batch_size": size, "image_seconds": seconds})
    return rows


def measure_small(rungs, batches, data, settings):
    """Work too small for a GPU, one image at a time: rows of {"work", "seconds": {name: summary}}."""
    step = {row["name"]: row["image_seconds"] for row in batches if row["batch_size"] == 1}
    read = {}
    for rung in rungs:
        if rung != NAIVE:  # it reads as the other GPU rungs do
            network = rung.network(settings)
            read[rung.name] = time_calls(lambda network=network: network.predict(data.test[0][:1]))
    return [{"work": "a step with one image", "seconds": step}, {"work": "read one image", "seconds": read}]


def measure_inference(rungs, data, settings):
    """Seconds to read the test set, by each engine, and by the GPU with the images there already."""
    images = data.test[0]
    rows = []
    for rung in [rung for rung in rungs if not rung.path] + on_gpu(rungs)[-1:]:  # all GPU rungs read in the same way
        network = rung.network(settings)
        few = images[:100] if rung == PLAIN else images
        seconds = time_calls(lambda network=network, few=few: network.predict(few), settings.repeats)
        where = "GPU, images from the host" if rung.path else rung.name
        rows.append({"name": where, "images_timed": len(few), "seconds": scaled(seconds, len(images) / len(few))})
        if rung.path:
            there = cuda.to_device(as_words(images))
            read = functools.partial(network.read, there)
            seconds = time_calls(read, synchronize=cuda.synchronize)
            rows.append({"name": "GPU, images on the GPU", "images_timed": len(images), "seconds": seconds})
    return rows


def measure_blocks(rungs, data, settings, left_out):
    """The block shapes: the kernels of a step (`block_rows`), and epochs, as rows of {"name", "block", "seconds"}.

    The epochs are short, and of the rungs that launch these kernels. Without a GPU only what needs none is there.
    """
    measured, few = data.train if LAYERS in rungs else None, first(EPOCH_IMAGES, data.train)
    rows, problems = kernels.block_rows(BLOCK_SHAPES, settings.batch_size, settings.filters, measured)
    left_out.extend(problems)
    found = {
        "batch_size": settings.batch_size,
        "kernels": rows,
        "epoch_images": len(few[0]),
        "epochs": [],
    }
    launching = [rung for rung in rungs if rung in (LAYERS, GRAPH)]
    for rung, block in tqdm([(rung, block) for rung in launching for block in BLOCK_SHAPES], desc="block shapes"):
        seconds = summary(train(rung, few, settings, epochs=1, block=block).seconds)
        found["epochs"].append({"name": rung.name, "block": f"{block[0]}x{block[1]}", "seconds": seconds})
    return found


def measure_step(rungs, results, data, settings):
    """Where the time of a training step goes: what each rung takes for it, and what its parts take, in seconds.

    rungs: {name: a step, from the ladder's epoch}. kernels: each alone; in_a_row: all of them without the host between;
    launching: until Python has asked for all of them, as `layers` does it. barrier: one over all blocks of `epoch`.
    copies: their share in `naive`. floor: `machine.floor`'s parts of a step.
    """
    steps = -(-FULL // settings.batch_size)
    step = kernels.Step(*data.train, settings.batch_size, settings.filters, settings.seed)
    step()
    ten = [launch for name, launch in step.launches.items() if name != "advance"]  # which only a recording needs
    shares = [row["share"] for row in results["copies"] if row["case"].startswith(NAIVE.name)]
    barrier = None
    if EPOCH in rungs:
        plan, _ = learning_plan(settings.filters, NUM_CLASSES, False, settings.batch_size, False)
        seconds = machine.barrier_seconds(plan.blocks, plan.threads)
        barrier = {"blocks": plan.blocks, "threads": plan.threads, "seconds": seconds}
    names, floor = {rung.name for rung in on_gpu(rungs)}, results["card"]["floor"]
    return {
        "batch_size": settings.batch_size,
        "rungs": {
            row["name"]: row["epoch_seconds"]["median"] / steps for row in results["ladder"] if row["name"] in names
        },
        "copies": shares[0] if shares else None,
        "kernels": [
            {"name": name, "seconds": summary(recorded_seconds(launch))} for name, launch in step.launches.items()
        ],
        "in_a_row": step.seconds(),
        "launching": time_launches(lambda: [launch() for launch in ten], synchronize=cuda.synchronize),
        "barrier": barrier,
        "floor": {part: seconds / steps for part, seconds in floor.items()} if floor else None,
    }


def measure_wrong_timing(data, settings):
    """The convolution of all test images, or of as many as have 256 MB of output: `wrong_timing.measure`."""
    count = min(TESTS, 2**28 // (CONVOLVED_SIZE * CONVOLVED_SIZE * 4 * settings.filters))
    return wrong_timing.measure(data.test[0][:count], settings.filters, settings.seed)


def measure_copies(rungs, rows, data, settings):
    """The share of copies between host and device in training, when the data stays there and when every call copies.

    The data stays on the device: the training set is copied once for all epochs, the order and the sums once an epoch.
    Every call copies: at batch size 1 the naive rung does the same steps with the same kernels as the layers, and also
    copies. So the time that it takes longer is mostly that of the copies.
    """
    found = []
    seconds = {row["name"]: row["epoch_seconds"]["median"] for row in rows}
    resident = [rung for rung in on_gpu(rungs) if rung != NAIVE]
    if resident:
        once = time_calls(lambda: [cuda.to_device(part) for part in data.train], settings.repeats, cuda.synchronize)
    for rung in resident:
        copies = once["median"] + settings.epochs * seconds_of_copies(rung, settings)["median"]
        total = once["median"] + settings.epochs * seconds[rung.name]
        case = f"{rung.name}: copied once for {epochs_text(settings.epochs)}"
        found.append({"case": case, "copies_seconds": copies, "total_seconds": total, "share": copies / total})
    if NAIVE in rungs and LAYERS in rungs:
        few = first(200, data.train)
        naive, layers = (
            summary(train(rung, few, settings, epochs=1, batch_size=1).seconds)["median"] for rung in (NAIVE, LAYERS)
        )
        case = f"GPU naive: every call copies ({len(few[0])} images, batch size 1)"
        copies = max(0, naive - layers)
        found.append({"case": case, "copies_seconds": copies, "total_seconds": naive, "share": copies / naive})
    return found


def seconds_of_copies(rung, settings):
    """Summary of the seconds that the copies of an epoch take: the order to the GPU, and the sums back.

    For `epoch` the order comes from pinned memory, as in the rung itself: the GPU can fetch it from there.
    """
    order = cuda.pinned_array(FULL, np.int32) if rung.path == "epoch" else np.empty(FULL, np.int32)
    order[:] = np.arange(FULL)
    there, sums = cuda.to_device(order), cuda.to_device(np.zeros(settings.batch_size))
    return time_calls(lambda: (there.copy_to_device(order), sums.copy_to_host()), synchronize=cuda.synchronize)


def measure_peers(rungs, settings, left_out):
    """A row for each peer that ran; for each other one, a line in left_out that says why."""
    job = peers.Job(
        epochs=settings.epochs,
        repeats=settings.repeats,
        batch_size=settings.batch_size,
        learning_rate=learning_rate(settings.batch_size),
        filters=settings.filters,
        seed=settings.seed,
        images=FULL,
        test_images=TESTS,
    )
    rows = []
    for name in tqdm(peers.names(has_gpu=bool(on_gpu(rungs))), desc="peers"):
        peer = peers.PEERS[name]
        found = peers.measure_apart(name, job)
        if "problem" in found:
            left_out.append(f"left out: {peer.title}: {found['problem']}")
            continue
        for times in ("epoch_seconds", "reading_seconds"):
            found[times] = summary(found[times])
        rows.append({"name": peer.title, "device": peer.device, **found})
    return rows


# The run.


def check_output(folder):
    """Make the folder for the results; OSError, before anything is measured, when that is not possible."""
    folder.mkdir(parents=True, exist_ok=True)
    check_replaceable(folder / "bench.json")


def save(results, folder):
    """Write bench.json and the charts; returns the paths."""
    with replacing(folder / "bench.json") as file:
        file.write((json.dumps(results, indent=1, default=float) + "\n").encode())  # float: of a number of NumPy
    return [folder / "bench.json", *draw_charts(results, folder)]


def bench(settings, with_peers, folder):
    """Compare, measure, save and print; returns the exit status, 1 when an engine did not learn what it should."""
    rungs, left_out = ladder(settings.filters)
    run = Run(left_out)
    data = load_data()
    sizes = sorted({settings.batch_size, *BATCH_SIZES, *LARGE_BATCHES})
    first_steps = run.take("compilation", first_step.measure_all, rungs, sizes, settings)
    trained = run.take("comparison", train_all, rungs, first(settings.images, data.train), settings)
    agreed, problems = agreement.check(trained, settings)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    results = measure(rungs, trained, agreed, first_steps, data, settings, run, with_peers)
    written = save(results, folder)
    print(all_tables(results))
    print("\n".join(f"{path}: written" for path in written))
    return 0


def parse(argv):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, standard = parser.add_argument, Settings()
    whole = number(int, 1, "a whole number from 1")
    text = "to train (default: %(default)s)"
    add("--epoch", "--epochs", dest="epochs", type=whole, default=standard.epochs, metavar="N", help=text)
    images = number(int, 1, f"a whole number from 1 to {FULL}", FULL)
    text = "to compare the engines on (default: %(default)s)"
    add("--images", type=images, default=standard.images, metavar="N", help=text)
    batch_size = number(int, 1, "a batch size from 1 to 1024", 1024)
    text = "images of a step (default: %(default)s)"
    add("--batch-size", type=batch_size, default=standard.batch_size, metavar="N", help=text)
    filters = number(int, 1, "a whole number from 1 to 64", 64)
    add(
        "--filters",
        type=filters,
        default=standard.filters,
        metavar="N",
        help="of the convolution (default: %(default)s)",
    )
    from_zero = number(int, 0, "a whole number from 0")
    text = "decides the initial weights and the order (default: %(default)s)"
    add("--seed", type=from_zero, default=standard.seed, metavar="N", help=text)
    add("--peers", action="store_true", help="time PyTorch and JAX too")
    add("--output", type=Path, default=ROOT / "results", metavar="DIR", help="for bench.json and the charts")
    text = "measure nothing: put the tables of bench.json between the markers in this file (default: README.md)"
    add("--readme", type=Path, nargs="?", const=ROOT / "README.md", metavar="PATH", help=text)
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if args.readme:
        update_readme(args.readme, args.output / "bench.json")
        return 0
    check_output(args.output)
    settings = Settings(args.epochs, args.images, args.batch_size, args.filters, args.seed)
    return bench(settings, args.peers, args.output)


if __name__ == "__main__":
    run(main, when_interrupted="interrupted; nothing was written")
