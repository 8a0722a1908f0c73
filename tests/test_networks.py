"""The three engines are one network: same start, same order, same learning, same file."""

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import reference
from conftest import HAS_GPU
from numba import cuda

import epoch_gpu
import gpu_launch
from cnn_cpu import CNN
from cnn_gpu import CNNGPU, PATHS, RUNGS, path_problem, possible_path
from cnn_jit import CNNJit
from cnn_numpy import CNNNumpy
from distortion import distort_images, draw_distortions
from epoch_gpu import as_words, learning_kernel
from epoch_plan import MAX_FILTERS
from errors import UserError
from model_file import Parameters
from network import epoch_order, initial_parameters
from reading_gpu import reading_kernel

ENGINES = [CNN, CNNJit, CNNGPU]
READERS = [*ENGINES, CNNNumpy]
# In the simulator a step takes seconds: there one filter and a handful of images, and blocks that fit them.
GPU_FILTERS, GPU_OPTIONS = (8, {}) if HAS_GPU else (1, {"block": (4, 4)})


def on_path(path):
    """CNNGPU that trains along this path, as an engine of its own."""
    name = f"CNNGPU {path}"
    return type(
        name, (CNNGPU,), {"__init__": lambda self, *args, **options: CNNGPU.__init__(self, *args, path=path, **options)}
    )


def possible(path):
    return pytest.param(
        on_path(path),
        marks=pytest.mark.skipif(
            path_problem(path, GPU_FILTERS) is not None, reason=f"path {path}: {path_problem(path, GPU_FILTERS)}"
        ),
        id=f"CNNGPU {path}",
    )


TRAINERS = [CNN, CNNJit, *map(possible, PATHS)]


def make(engine, activation="relu", seed=7, filters=None, classes=10):
    options = GPU_OPTIONS if issubclass(engine, CNNGPU) else {}
    return engine(filters or (GPU_FILTERS if issubclass(engine, CNNGPU) else 3), activation, seed, classes, **options)


def count_for(engine, few, many):
    return few if issubclass(engine, CNNGPU) and not HAS_GPU else many


@pytest.mark.parametrize(("activation", "classes"), [("none", 10), ("relu", 10), ("relu", 13)])
@pytest.mark.parametrize("engine", TRAINERS)
def test_learns_what_the_reference_learns(engine, activation, classes, mnist):
    """Two epochs with a ragged last batch; the weights agree to float32's rounding."""
    count, batch_size = count_for(engine, 3, 50), count_for(engine, 2, 16)
    images, labels = mnist.train_images[:count], mnist.train_labels[:count].copy()
    labels[1::10] = classes - 1  # some images are of the last class
    network = make(engine, activation, classes=classes)
    start = initial_parameters(network.num_filters, 7, classes)
    epochs = 1 if count == 3 else 2
    history = network.fit(images, labels, epochs, batch_size, learning_rate=0.1)

    orders = [epoch_order(7, epoch, count) for epoch in range(epochs)]
    wanted, losses = reference.train(start, images, labels, orders, batch_size, 0.1, activation == "relu")
    for name, found, array, before in zip(Parameters._fields, network.parameters, wanted, start, strict=True):
        np.testing.assert_allclose(found, array, rtol=2e-5, atol=2e-6, err_msg=name)
        if name != "filter_biases" or activation == "relu":
            assert np.abs(found - before).max() > 1e-4, f"{name} did not learn"
    np.testing.assert_allclose([epoch.loss for epoch in history], losses, rtol=1e-5)
    loss, accuracy = network.evaluate(images, labels)
    probabilities = network.predict(images)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (count, classes))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert accuracy == (probabilities.argmax(axis=1) == labels).mean()
    assert loss == pytest.approx(-np.log(probabilities[np.arange(count), labels]).mean(), rel=1e-4)


@pytest.mark.parametrize("engine", TRAINERS)
def test_every_engine_distorts_the_same_images(engine, mnist):
    """Two epochs, each with its own distortions. On a GPU a sine may round a pixel to the next grey, hence 1e-3."""
    count, batch_size = count_for(engine, 3, 50), count_for(engine, 2, 16)
    images, labels = mnist.train_images[:count], mnist.train_labels[:count]
    network = make(engine)
    wanted = network.parameters
    losses = network.fit(images, labels, 2, batch_size, 0.1, augment=True)
    for epoch in range(2):
        distorted = distort_images(images, draw_distortions(count, 7, epoch))
        order = epoch_order(7, epoch, count)
        wanted, (loss,) = reference.train(wanted, distorted, labels, [order], batch_size, 0.1, True)
        assert losses[epoch].loss == pytest.approx(loss, rel=1e-3)
    for found, array in zip(network.parameters, wanted, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-3, atol=1e-3 if HAS_GPU else 1e-5)


def forbid(monkeypatch, rung, reason):
    monkeypatch.setattr(rung, "problem", staticmethod(lambda *_: reason))


@pytest.mark.parametrize(
    ("forbidden", "wanted"),
    [
        ([], "epoch"),
        (["epoch"], "graph"),
        (["epoch", "graph"], "layers"),
        (["graph"], "epoch"),
    ],
)
def test_a_rung_that_is_not_possible_gives_way_to_the_next_slower_one(forbidden, wanted, monkeypatch):
    for path, rung in RUNGS.items():
        forbid(monkeypatch, rung, f"no {path} today" if path in forbidden else None)
    path, refused = possible_path("epoch", 8)
    assert path == wanted
    if wanted != "epoch":
        assert [line.split(":")[0] for line in refused] == [
            f"path {path} is not possible here (no {path} today)" for path in forbidden
        ]
        assert refused[-1].endswith(f"taking {wanted}")
    assert possible_path("layers", 8) == ("layers", [])


def test_training_without_the_fastest_rungs_says_so_and_learns_the_same(mnist, monkeypatch, capsys):
    """As on Windows, whose usual driver launches no blocks together, with a cuda-core that records no graphs."""
    forbid(monkeypatch, RUNGS["epoch"], "no cooperative launch")
    forbid(monkeypatch, RUNGS["graph"], "no graphs")
    images, labels = mnist.train_images[:2], mnist.train_labels[:2]
    network, wanted = make(CNNGPU), make(on_path("layers"))
    network.compile(2, augment=False)
    network.fit(images, labels, 1, 2, 0.1)
    assert capsys.readouterr().err.splitlines() == [
        "path epoch is not possible here (no cooperative launch): taking graph",
        "path graph is not possible here (no graphs): taking layers",
    ]
    wanted.fit(images, labels, 1, 2, 0.1)
    for one, other in zip(network.parameters, wanted.parameters, strict=True):
        np.testing.assert_array_equal(one, other)


H100 = SimpleNamespace(
    MULTIPROCESSOR_COUNT=132,
    MAX_SHARED_MEMORY_PER_MULTIPROCESSOR=228 * 1024,
    compute_capability=(9, 0),
    COOPERATIVE_LAUNCH=1,
)


@pytest.mark.parametrize(
    ("change", "filters", "reason"),
    [
        ({}, 8, None),
        ({}, 193, "at most 192 filters, not 193"),
        ({"COOPERATIVE_LAUNCH": 0}, 8, "Windows in WDDM mode"),
        ({"compute_capability": (6, 1)}, 8, "7.0 (Volta)"),
        ({"MAX_SHARED_MEMORY_PER_MULTIPROCESSOR": 48 * 1024}, 8, "more shared memory than this GPU has"),
        ({"MULTIPROCESSOR_COUNT": 4}, 192, "more shared memory than this GPU has"),
    ],
)
def test_one_launch_for_an_epoch_says_which_gpu_cannot(change, filters, reason, monkeypatch):
    gpu = SimpleNamespace(**{**vars(H100), **change})
    monkeypatch.setattr(epoch_gpu, "SIMULATED", False)
    monkeypatch.setattr(epoch_gpu, "MAX_FILTERS", MAX_FILTERS)
    monkeypatch.setattr(epoch_gpu, "gpu_problem", lambda: None)
    monkeypatch.setattr(epoch_gpu.cuda, "get_current_device", lambda: gpu)
    problem = epoch_gpu.epoch_problem(filters)
    assert problem is None if reason is None else reason in problem


@pytest.mark.parametrize("augment", [False, True])
def test_what_is_compiled_ahead_is_what_training_and_reading_take(augment, mnist):
    images, labels = mnist.train_images[:3], mnist.train_labels[:3]
    network = make(CNNGPU)
    before = network.parameters
    for made in (learning_kernel, reading_kernel):
        made.cache_clear()
    network.compile(2, augment)
    for found, array in zip(network.parameters, before, strict=True):
        np.testing.assert_array_equal(found, array)
    assert [made.cache_info().misses for made in (learning_kernel, reading_kernel)] == [1, 1]
    network.fit(images, labels, 1, 2, 0.1, augment=augment)
    network.predict(images)
    assert [made.cache_info().misses for made in (learning_kernel, reading_kernel)] == [1, 1], "nothing new"


@pytest.mark.parametrize(("filters", "classes"), [(4, 10), (1, 32)])
def test_one_launch_shares_out_more_numbers_than_a_block_has_threads(filters, classes, mnist):
    """In the simulator one block of 32 threads owns everything, 40 numbers of four filters too.

    More than 20 classes are summed over the threads in two parts, and of 64 logits that are read a thread has two.
    """
    images, labels = mnist.train_images[:2], np.array([classes - 1, 5])
    network = make(on_path("epoch"), filters=filters, classes=classes)
    start = network.parameters
    network.fit(images, labels, 1, 2, 0.1)
    wanted, _ = reference.train(start, images, labels, [epoch_order(7, 0, 2)], 2, 0.1, True)
    for found, array in zip(network.parameters, wanted, strict=True):
        np.testing.assert_allclose(found, array, rtol=2e-5, atol=2e-6)
    loss, _ = network.evaluate(images, labels)
    scaled = images / 255 - 0.5
    assert loss == pytest.approx(reference.loss_and_gradients(wanted, scaled, labels, True)[0] / 2, rel=1e-4)


@pytest.mark.parametrize(("problem", "wanted"), [(None, [0, "recorded", "replayed", "replayed"]), ("no", [0, 0, 0])])
def test_a_launch_that_comes_again_is_recorded_once_and_replayed(problem, wanted, monkeypatch):
    done = []
    monkeypatch.setattr(gpu_launch, "graph_problem", lambda: problem)
    monkeypatch.setattr(gpu_launch, "record", lambda launch: (launch("recorded"), lambda: done.append("replayed"))[1])
    again = gpu_launch.Repeated()
    for _ in range(3):
        again(done.append)
    assert done == wanted


def test_images_that_stay_on_the_gpu_are_read_as_any_others(mnist):
    """Also when their launch is recorded and replayed, and after the weights have changed."""
    images, labels = mnist.train_images[:3], mnist.train_labels[:3]
    network = make(CNNGPU)
    there = cuda.to_device(as_words(images))
    wanted, shares = network.logits(images), network.predict(images)
    for _ in range(4):
        logits, probabilities = (array.copy_to_host() for array in network.read(there))
        np.testing.assert_array_equal(logits, wanted)
        np.testing.assert_allclose(probabilities, shares, atol=1e-6)
    network.fit(images, labels, 1, 2, 0.1)
    trained = network.read(there)[0].copy_to_host()
    assert (trained != wanted).all()
    np.testing.assert_array_equal(trained, network.logits(images))


@pytest.mark.parametrize("engine", TRAINERS)
def test_same_seed_same_bits_other_seed_other_weights(engine, mnist):
    count = count_for(engine, 2, 40)
    weights = []
    for seed in (1, 1, 2):
        network = make(engine, seed=seed)
        network.fit(mnist.train_images[:count], mnist.train_labels[:count], 1, count_for(engine, 2, 8))
        weights.append(network.parameters)
    for first, second, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
        assert (first != other).any()


@pytest.mark.parametrize("engine", TRAINERS)
def test_batch_of_one_is_the_training_of_the_articles(engine, mnist):
    """Image by image in order: with batches of one, every image moves the weights before the next is seen."""
    count = 2
    images, labels = mnist.train_images[:count], mnist.train_labels[:count]
    network = make(engine, "none")
    start = network.parameters
    network.fit(images, labels, 1, batch_size=1, learning_rate=0.1)
    wanted, _ = reference.train(start, images, labels, [epoch_order(7, 0, count)], 1, 0.1, False)
    for found, array in zip(network.parameters, wanted, strict=True):
        np.testing.assert_allclose(found, array, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("engine", [CNN, CNNJit])
def test_training_in_two_parts_is_training_in_one(engine, mnist, tmp_path):
    images, labels = mnist.train_images[:30], mnist.train_labels[:30]
    whole = make(engine)
    whole.fit(images, labels, 2, 8)
    first = make(engine)
    first.fit(images, labels, 1, 8)
    first.save(tmp_path / "model.npz")
    second = engine.load(tmp_path / "model.npz")
    second.fit(images, labels, 1, 8)
    for one, two in zip(whole.parameters, second.parameters, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("writer", "classes"), [*((engine, 10) for engine in READERS), (CNNJit, 13)])
def test_a_model_file_means_the_same_to_every_engine(writer, classes, reader, mnist, tmp_path):
    network = make(writer, filters=1, classes=classes)
    network.save(tmp_path / "model.npz", test_accuracy=0.5)
    read = reader.load(tmp_path / "model.npz", **(GPU_OPTIONS if reader is CNNGPU else {}))
    assert (read.num_filters, read.activation, read.seed, read.num_classes) == (1, "relu", 7, classes)
    assert read.meta["test_accuracy"] == 0.5
    for one, two in zip(network.parameters, read.parameters, strict=True):
        np.testing.assert_array_equal(one, two)
    images = mnist.test_images[:2]
    np.testing.assert_allclose(network.predict(images), read.predict(images), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.skipif(not HAS_GPU, reason="a run of hundreds of steps needs a CUDA GPU; the simulator does a few")
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_gpu_and_threads_agree_over_a_long_run(activation, mnist):
    """200 steps, every block shape. Rounding differs, and grows a little with every step, but only a little."""
    images, labels = mnist.train_images[:6_401], mnist.train_labels[:6_401]
    cpu = CNNJit(8, activation)
    cpu.fit(images, labels, 2, 64, 0.1)
    ways = [(block, "layers") for block in ((8, 8), (16, 16), (32, 32), (7, 3))] + [
        ((16, 16), "graph"),
        ((16, 16), "epoch"),
    ]
    for block, path in ways:
        gpu = CNNGPU(8, activation, block=block)
        gpu.fit(images, labels, epochs=2, batch_size=64, learning_rate=0.1, path=path)
        for one, two in zip(cpu.parameters, gpu.parameters, strict=True):
            np.testing.assert_allclose(one, two, atol=2e-3, rtol=1e-3)


def test_jit_learns_the_same_on_any_number_of_threads(mnist):
    import numba

    before = numba.get_num_threads()
    weights = []
    for threads in {1, before}:
        numba.set_num_threads(threads)
        network = CNNJit(4, "relu")
        network.fit(mnist.train_images[:500], mnist.train_labels[:500], 1, 32)
        weights.append(network.parameters)
    numba.set_num_threads(before)
    for one, two in zip(weights[0], weights[-1], strict=True):
        np.testing.assert_array_equal(one, two)


def test_jit_learns_to_read(mnist):
    network = CNNJit(8)
    network.fit(mnist.train_images[:20_000], mnist.train_labels[:20_000], 2)
    assert network.evaluate(mnist.test_images, mnist.test_labels)[1] > 0.9


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize(("filters", "classes"), [(1, 10), (5, 32), (64, 13)])
def test_numpy_reads_as_the_compiled_engine_does(filters, classes, activation, mnist):
    """More images than it takes at a time, biases that count, and images that are all black or all white: ties."""
    random = np.random.default_rng(5)
    start = initial_parameters(filters, 5, classes)
    parameters = Parameters(*(array + random.normal(0, 0.1, array.shape).astype(np.float32) for array in start))
    images = np.concatenate([mnist.test_images[:40], np.zeros((1, 28, 28), np.uint8), np.full((1, 28, 28), 255, "u1")])
    found, wanted = (
        engine(filters, activation, 5, classes, parameters).logits(images) for engine in (CNNNumpy, CNNJit)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert np.ptp(wanted, axis=0).min() > 0.1, "the images are not read as if they were all the same"


def test_numpy_does_not_learn(mnist):
    with pytest.raises(NotImplementedError):
        CNNNumpy(1).fit(mnist.train_images[:2], mnist.train_labels[:2])


@pytest.mark.parametrize("classes", [10, 32])
@pytest.mark.parametrize("engine", READERS)
def test_no_images_have_no_probabilities(engine, classes):
    assert make(engine, classes=classes).predict(np.zeros((0, 28, 28), np.uint8)).shape == (0, classes)


# NumPy's errstate holds for one thread, and the simulator runs each CUDA thread in one of its own.
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("engine", ENGINES)
def test_a_loss_that_is_not_finite_stops_the_training(engine, mnist):
    network = make(engine)
    count = count_for(engine, 2, 20)
    with (
        pytest.raises(UserError, match="learning rate 1e\\+30 is too high here, try 0.2"),
        np.errstate(all="ignore"),
    ):
        network.fit(mnist.train_images[:count], mnist.train_labels[:count], 2, 1, learning_rate=1e30)


@pytest.mark.parametrize(
    "images, labels, options",
    [
        (np.zeros((2, 28, 28), np.float32), [0, 1], {}),
        (np.zeros((2, 28, 27), np.uint8), [0, 1], {}),
        (np.zeros((2, 28, 28), np.uint8), [0], {}),
        (np.zeros((2, 28, 28), np.uint8), [0, 10], {}),
        (np.zeros((2, 28, 28), np.uint8), [0, 13], {"num_classes": 13}),
        (np.zeros((2, 28, 28), np.uint8), [-1, 0], {"num_classes": 13}),
        (np.zeros((2, 28, 28), np.uint8), [0, 1], {"num_classes": 9}),
        (np.zeros((2, 28, 28), np.uint8), [0, 1], {"num_classes": 33}),
        (np.zeros((2, 28, 28), np.uint8), [0.5, 1], {}),
        (np.zeros((0, 28, 28), np.uint8), np.zeros(0, int), {}),
        (np.zeros((2, 28, 28), np.uint8), [0, 1], {"batch_size": 0}),
        (np.zeros((2, 28, 28), np.uint8), [0, 1], {"learning_rate": float("nan")}),
        (np.zeros((2, 28, 28), np.uint8), [0, 1], {"epochs": -1}),
    ],
)
def test_what_cannot_be_trained_on_is_refused(images, labels, options):
    num_classes = options.pop("num_classes", 10)
    with pytest.raises(ValueError):
        CNN(1, num_classes=num_classes).fit(images, labels, **options)


def test_only_the_digits_can_be_asked_for(mnist):
    """An image of a digit that a network takes for something else is still the digit that it holds most likely."""
    images, labels = mnist.test_images[:50], mnist.test_labels[:50]
    network = CNNJit(2, num_classes=13)
    parameters = network.parameters
    parameters.biases[12] = 100
    network = CNNJit(2, num_classes=13, parameters=parameters)
    assert network.evaluate(images, labels)[1] == 0
    digits = network.logits(images)[:, :10]
    loss, accuracy = network.evaluate(images, labels, among=10)
    assert accuracy == (digits.argmax(axis=1) == labels).mean() > 0
    assert loss == pytest.approx(-reference.log_softmax(digits)[np.arange(50), labels].mean(), rel=1e-5)


def test_the_start_is_drawn_as_the_articles_do():
    start = initial_parameters(64, seed=3)
    assert all(array.dtype == np.float32 for array in start)
    assert start.filters.std() == pytest.approx(1 / 9, rel=0.1)
    assert start.weights.std() == pytest.approx(1 / (13 * 13 * 64), rel=0.05)
    assert not start.filter_biases.any() and not start.biases.any()


def test_every_epoch_has_an_order_of_its_own():
    orders = [epoch_order(0, epoch, 100) for epoch in range(3)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert (orders[0] != orders[1]).any() and (orders[1] != orders[2]).any()
    np.testing.assert_array_equal(orders[1], epoch_order(0, 1, 100))


def write_model(path, leave_out=None, **changed):
    """A model file with some of its entries changed or one left out."""
    meta = {"format": 1, "activation": "none"} | changed.pop("meta", {})
    entries = initial_parameters(2, 0)._asdict() | {"meta": json.dumps(meta)} | changed
    np.savez(path, **{name: entry for name, entry in entries.items() if name != leave_out})
    return path


def bad_models(folder):
    """(path, what the message must name) of files that are not models of this network."""
    nan = initial_parameters(2, 0).filters
    nan[1, 1, 1] = np.nan
    (folder / "text.npz").write_text("no archive at all")
    (folder / "empty.npz").write_bytes(b"")
    np.save(folder / "array.npy", np.zeros(3))
    whole = write_model(folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (folder / "altered.npz").write_bytes(whole[:3000] + bytes(200) + whole[3200:])
    with zipfile.ZipFile(folder / "zip.npz", "w") as archive:
        archive.writestr("hello.txt", "hello")
    yield folder / "missing.npz", "No such file"
    yield folder, "cannot be read"
    for name in ("text.npz", "empty.npz", "array.npy", "cut.npz", "altered.npz", "zip.npz"):
        yield folder / name, "not a model file"
    yield write_model(folder / "a.npz", leave_out="biases"), "not a model file"
    yield write_model(folder / "b.npz", weights=np.zeros((1352, 10), np.float32)), "weights has the shape"
    forged = np.zeros((338, 40), np.float32), np.zeros(40, np.float32)
    yield write_model(folder / "b11.npz", biases=np.zeros(11, np.float32)), "weights has the shape"
    yield write_model(folder / "b40.npz", weights=forged[0], biases=forged[1]), "it has 40 classes, not 10 to 32"
    yield write_model(folder / "b9.npz", weights=forged[0][:, :9], biases=forged[1][:9]), "it has 9 classes"
    yield write_model(folder / "b0.npz", biases=np.float32(0)), "weights has the shape"
    yield write_model(folder / "b2.npz", biases=np.zeros((10, 10), np.float32)), "biases has the shape"
    yield write_model(folder / "c.npz", filters=np.zeros((2, 5, 5), np.float32)), "filters has the shape"
    yield write_model(folder / "d.npz", biases=np.zeros(10)), "biases holds float64"
    yield write_model(folder / "e.npz", filters=nan), "not finite"
    yield write_model(folder / "f.npz", meta={"format": 99}), "format"
    yield write_model(folder / "g.npz", meta={"activation": "tanh"}), "tanh"
    yield write_model(folder / "h.npz", meta={"seed": -1}), "seed"
    yield write_model(folder / "j.npz", biases=np.array([object()] * 10)), "not a model file"
    yield write_model(folder / "k.npz", biases=np.array(["1"] * 10)), "biases holds"
    yield write_model(folder / "l.npz", weights=np.full((338, 10), 3e38, np.float32)), "so large"
    yield write_model(folder / "m.npz", extra=np.zeros(2**25)), "unpacks to"
    (folder / "n.npz").write_bytes(whole.replace(b"(2, 3, 3)", b"(2**70, )"))
    (folder / "o.npz").write_bytes(whole.replace(b"(2, 3, 3)", b"(9999999)"))
    for name in ("n.npz", "o.npz"):
        yield folder / name, "not a model file"
    np.savez(folder / "p.npz", **initial_parameters(2, 0)._asdict(), meta="[" * 100_000)
    yield folder / "p.npz", "not a model file"
    for number, place in enumerate((6, 8, 10)):  # the zip's version, flags (encryption among them) and compression
        forged = bytearray(whole)
        for start in (0, whole.index(b"PK\x01\x02") + 2):
            forged[start + place - 2] = 0x63
        (folder / f"forged{number}.npz").write_bytes(forged)
        yield folder / f"forged{number}.npz", "not a model file"


def test_bad_model_files_get_one_line_that_names_them(tmp_path):
    for path, reason in bad_models(tmp_path):
        with pytest.raises(UserError) as caught:
            CNN.load(path)
        message = str(caught.value)
        assert reason in message and str(path) in message and "\n" not in message


def test_damaged_model_files_get_one_line_or_load(tmp_path):
    whole = write_model(tmp_path / "whole.npz").read_bytes()
    random = np.random.default_rng(14)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 20)):
            content[place] = random.integers(256)
        path = tmp_path / "damaged.npz"
        path.write_bytes(content[: random.integers(1, len(whole))] if random.random() < 0.2 else content)
        try:
            assert np.isfinite(CNN.load(path).logits(np.zeros((1, 28, 28), np.uint8))).all()
        except UserError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 100


def test_saving_never_leaves_half_a_file(tmp_path, monkeypatch):
    CNN(1).save(tmp_path / "model.npz")
    before = (tmp_path / "model.npz").read_bytes()

    def disk_full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", disk_full)
    with pytest.raises(UserError, match="No space left"):
        CNN(2).save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_a_model_that_is_not_finite_is_not_saved_over_a_good_one(tmp_path):
    network = CNN(1)
    network.save(tmp_path / "model.npz")
    before = (tmp_path / "model.npz").read_bytes()
    network.softmax.weights[0, 0] = np.nan
    with pytest.raises(UserError, match="not finite"):
        network.save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").read_bytes() == before
