"""Whatever the sizes: kernels agree with the plain layers, and all engines with the float64 reference.

hypothesis chooses shapes, filters, classes, batches and blocks. In the simulator they are small, and few are tried.
"""

import numpy as np
import pytest
import reference
from conftest import HAS_GPU
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_layers import close, run_conv, run_pool, run_softmax

from cnn_cpu import CNN
from cnn_gpu import CNNGPU, PATHS, path_problem
from cnn_jit import CNNJit
from distortion import distort_images, draw_distortions
from network import epoch_order, initial_parameters
from sizes import MAX_CLASSES, NUM_CLASSES, PHOTO_CLASSES


def tries(on_gpu, in_simulator):
    count = on_gpu if HAS_GPU else in_simulator
    health = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=health)


def up_to(on_gpu, in_simulator, low=1):
    return st.integers(low, on_gpu if HAS_GPU else in_simulator)


SEEDS = st.integers(0, 2**32 - 1)
CLASSES = st.integers(NUM_CLASSES, MAX_CLASSES)
ACTIVATIONS = st.sampled_from(["none", "relu"])
IMAGES = up_to(17, 2)
FILTERS = up_to(40, 3)
# In the simulator every thread of a block costs a millisecond, and every block a barrier of all its threads.
BLOCKS = st.tuples(up_to(64, 5), up_to(64, 5)).filter(lambda block: block[0] * block[1] <= (1024 if HAS_GPU else 12))


def normal(seed, *shape):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


@tries(100, 12)
@given(SEEDS, IMAGES, up_to(40, 7, low=3), up_to(40, 7, low=3), FILTERS, ACTIVATIONS, BLOCKS)
def test_convolution(seed, count, height, width, filters, activation, block):
    taken = (
        normal(seed, count, height, width), normal(seed, filters, 3, 3), normal(seed, filters), activation,
        normal(seed, count, height - 2, width - 2, filters),
    )  # fmt: skip
    wanted = run_conv("plain", *taken)
    for found, array in zip(run_conv(f"cuda {block[0]}x{block[1]}", *taken), wanted, strict=True):
        close(found, array, 1e-4)


@tries(100, 20)
@given(SEEDS, IMAGES, up_to(40, 7, low=2), up_to(40, 7, low=2), FILTERS, BLOCKS)
def test_pooling(seed, count, height, width, filters, block):
    """Of numbers with few values, so that many windows hold the maximum more than once."""
    pixels = np.round(normal(seed, count, height, width, filters))
    gradient = normal(seed + 1, count, height // 2, width // 2, filters)
    wanted = run_pool("plain", pixels, gradient)
    for found, array in zip(run_pool(f"cuda {block[0]}x{block[1]}", pixels, gradient), wanted, strict=True):
        np.testing.assert_array_equal(found, array)


@tries(100, 10)
@given(SEEDS, IMAGES, up_to(2000, 20), CLASSES, BLOCKS)
def test_softmax(seed, count, inputs, classes, block):
    labels = np.random.default_rng(seed).integers(0, classes, count).astype(np.int32)
    taken = normal(seed, count, inputs), labels, normal(seed, inputs, classes) / inputs, normal(seed, classes)
    wanted = run_softmax("plain", *taken)
    for found, array in zip(run_softmax(f"cuda {block[0]}x{block[1]}", *taken), wanted, strict=True):
        close(found, array, 1e-4)


def check_learning(network, images, labels, batch_size, augment):
    """An epoch of a network against the reference in float64."""
    start = initial_parameters(network.num_filters, network.seed, network.num_classes)
    count, relu = len(images), network.activation == "relu"
    seen = distort_images(images, draw_distortions(count, network.seed, 0)) if augment else images
    order = epoch_order(network.seed, 0, count)
    wanted, (loss,) = reference.train(start, seen, labels, [order], min(batch_size, count), 0.1, relu)
    (epoch,) = network.fit(images, labels, 1, batch_size, 0.1, augment=augment)
    # With many steps of batch size 1 roundings add up. On a GPU a sine may round a distorted pixel to the next grey.
    tolerance = 2e-3 if augment and isinstance(network, CNNGPU) else 1e-4
    assert epoch.loss == pytest.approx(loss, rel=tolerance)
    for found, array in zip(network.parameters, wanted, strict=True):
        np.testing.assert_allclose(found, array, rtol=tolerance, atol=tolerance)
    logits = network.logits(images)
    scaled = images / 255 - 0.5
    mean = reference.loss_and_gradients(wanted, scaled, labels, relu)[0] / count
    assert network.evaluate(images, labels)[0] == pytest.approx(mean, rel=10 * tolerance)
    assert logits.shape == (count, network.num_classes) and np.isfinite(logits).all()


def some(mnist, count, classes, seed):
    first = seed % 50_000
    labels = np.random.default_rng(seed).integers(0, classes, count)
    return mnist.train_images[first : first + count], labels


@tries(30, 15)
@given(
    SEEDS, st.integers(1, 12), st.integers(1, 20), st.integers(1, 24), ACTIVATIONS,
    st.sampled_from([NUM_CLASSES, PHOTO_CLASSES]), st.booleans(),
)  # fmt: skip
def test_cpu_engines(mnist, seed, filters, count, batch_size, activation, classes, augment):
    """With two numbers of classes only, because CNNJit is compiled for each."""
    images, labels = some(mnist, count, classes, seed)
    for engine in (CNN, CNNJit):
        check_learning(engine(filters, activation, seed, classes), images, labels, batch_size, augment)


@pytest.mark.parametrize("path", PATHS)
@tries(60, 2)
@given(
    SEEDS, up_to(40, 1), up_to(150, 2), up_to(170, 3), ACTIVATIONS, CLASSES,
    BLOCKS if HAS_GPU else st.just((4, 4)), st.booleans(),
)  # fmt: skip
@example(seed=3, filters=1, count=1, batch_size=2, activation="relu", classes=32, block=(4, 4), augment=False)
def test_every_rung(path, mnist, seed, filters, count, batch_size, activation, classes, block, augment):
    if problem := path_problem(path, filters, classes):
        pytest.skip(problem)
    network = CNNGPU(filters, activation, seed, classes, block=block, path=path)
    check_learning(network, *some(mnist, count, classes, seed), batch_size, augment)
