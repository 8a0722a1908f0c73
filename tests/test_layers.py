"""Every layer, plain and on CUDA, against the float64 reference; and the reference against central differences.

Then the examples by hand in the docstrings of the layers, and the layers' files run as scripts.
"""

import numpy as np
import pytest
import reference
from conftest import HAS_GPU
from numba import cuda

import conv_gpu
import pool_gpu
import softmax_gpu
from conv_gpu import Conv3x3, Conv3x3GPU
from errors import UserError
from gpu_launch import block_sum, check_block, grid
from network import initial_parameters
from pool_gpu import MaxPool2, MaxPool2GPU
from softmax_gpu import Softmax, SoftmaxGPU

# The simulator takes a millisecond per CUDA thread: without a GPU images are small and blocks no larger than needed.
BLOCKS = [(8, 8), (16, 16), (32, 32)] if HAS_GPU else [(4, 4), (4, 2), (3, 5)]
SIZES = [(28, 28), (7, 5), (3, 3), (33, 40)] if HAS_GPU else [(7, 6), (3, 3)]
ENGINES = ["plain", *(f"cuda {x}x{y}" for x, y in BLOCKS)]


def close(found, wanted, tolerance=2e-5):
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * max(1, np.abs(wanted).max()))


def block_of(engine):
    return tuple(int(side) for side in engine.split()[1].split("x"))


def run_conv(engine, images, filters, biases, activation, grad_output):
    """(output, gradient of the filters, gradient of the biases), the gradients as the change that a step of 1 makes."""
    new_filters, new_biases = filters.copy(), biases.copy()
    if engine == "plain":
        layer = Conv3x3(new_filters, new_biases, activation)
        outputs = []
        for image, gradient in zip(images, grad_output, strict=True):
            outputs.append(layer.forward(image))
            layer.backward(gradient)
        layer.update(1)
        return np.stack(outputs), filters - new_filters, biases - new_biases
    layer = Conv3x3GPU(new_filters, new_biases, activation, block_of(engine))
    output = layer.forward(cuda.to_device(images)).copy_to_host()
    layer.backward(cuda.to_device(grad_output))
    layer.update(1)
    return output, filters - layer.filters.copy_to_host(), biases - layer.biases.copy_to_host()


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("engine", ENGINES)
def test_conv(engine, size, activation):
    random = np.random.default_rng(1)
    images = random.uniform(-0.5, 0.5, (2, *size)).astype(np.float32)
    filters = random.standard_normal((2, 3, 3)).astype(np.float32)
    biases = random.standard_normal(2).astype(np.float32)
    grad_output = random.standard_normal((2, size[0] - 2, size[1] - 2, 2)).astype(np.float32)
    found = run_conv(engine, images, filters, biases, activation, grad_output)

    relu = activation == "relu"
    output = reference.convolve(images.astype(np.float64), filters, biases, relu)
    close(found[0], output)
    grad_filters, grad_biases = reference.convolve_gradients(images, output, relu, grad_output)
    close(found[1], grad_filters)
    close(found[2], grad_biases)


def run_pool(engine, pixels, grad_output):
    if engine == "plain":
        layers = [MaxPool2() for _ in pixels]
        outputs = [layer.forward(image) for layer, image in zip(layers, pixels, strict=True)]
        gradients = [layer.backward(gradient) for layer, gradient in zip(layers, grad_output, strict=True)]
        return np.stack(outputs), np.stack(gradients)
    layer = MaxPool2GPU(block_of(engine))
    output = layer.forward(cuda.to_device(pixels)).copy_to_host()
    # What the layer leaves of its last gradient must not show in the next one.
    layer.backward(cuda.to_device(np.full_like(grad_output, np.nan)))
    return output, layer.backward(cuda.to_device(grad_output)).copy_to_host()


@pytest.mark.parametrize("size", [(26, 26), (8, 8), (5, 7), (2, 2), (3, 2)] if HAS_GPU else [(8, 6), (5, 7), (2, 3)])
@pytest.mark.parametrize("engine", ENGINES)
def test_pool(engine, size):
    random = np.random.default_rng(2)
    pixels = random.integers(-2, 3, (2, *size, 3)).astype(np.float32)  # few values: most windows hold a tie
    pixels[1, :, :, 0] = 0.25  # a flat background: all ties
    grad_output = random.standard_normal((2, size[0] // 2, size[1] // 2, 3)).astype(np.float32)
    output, grad_input = run_pool(engine, pixels, grad_output)
    np.testing.assert_array_equal(output, reference.pool(pixels))
    np.testing.assert_array_equal(grad_input, reference.pool_gradient(pixels, grad_output).astype(np.float32))


def run_softmax(engine, inputs, labels, weights, biases):
    """(probabilities, losses, hits, gradient at the input, of the weights, of the biases)."""
    new_weights, new_biases = weights.copy(), biases.copy()
    if engine == "plain":
        layer = Softmax(new_weights, new_biases)
        rows = []
        for image, label in zip(inputs, labels, strict=True):
            probabilities, loss = layer.forward(image, label)
            rows.append((probabilities, loss, probabilities.argmax() == label, layer.backward()))
        layer.update(1)
        return *map(np.array, zip(*rows, strict=True)), weights - new_weights, biases - new_biases
    layer = SoftmaxGPU(new_weights, new_biases, block_of(engine))
    losses, hits = cuda.to_device(np.zeros(len(inputs))), cuda.to_device(np.zeros(len(inputs), np.int32))
    probabilities = layer.forward(cuda.to_device(inputs), cuda.to_device(labels), losses, hits).copy_to_host()
    grad_inputs = layer.backward().copy_to_host()
    layer.update(1)
    changes = weights - layer.weights.copy_to_host().T, biases - layer.biases.copy_to_host()
    return probabilities, losses.copy_to_host(), hits.copy_to_host(), grad_inputs, *changes


@pytest.mark.parametrize(("size", "classes"), [(1, 10), (1e4, 10), (1, 13), (1, 32)])
@pytest.mark.parametrize("count", [1, 17] if HAS_GPU else [1, 3])
@pytest.mark.parametrize("engine", ENGINES)
def test_softmax(engine, count, size, classes):
    """Also of more classes than ten, and with very large logits."""
    random = np.random.default_rng(3)
    inputs = random.standard_normal((count, 12)).astype(np.float32)
    weights = (size * random.standard_normal((12, classes))).astype(np.float32)
    biases = random.standard_normal(classes).astype(np.float32)
    labels = random.integers(0, classes, count).astype(np.int32)
    probabilities, losses, hits, grad_inputs, grad_weights, grad_biases = run_softmax(
        engine, inputs, labels, weights, biases
    )

    logits = inputs.astype(np.float64) @ weights + biases
    wanted = reference.log_softmax(logits)
    grad_logits = np.exp(wanted) - np.eye(classes)[labels]
    close(probabilities, np.exp(wanted), 1e-4 if size == 1 else 1e-2)  # float32 logits of 1e4 are exact to 1e-3
    close(losses, -wanted[np.arange(count), labels])
    np.testing.assert_array_equal(hits, logits.argmax(axis=1) == labels)
    close(grad_inputs, grad_logits @ weights.T.astype(np.float64), 1e-4 if size == 1 else 1e-2)
    # The gradient of the weights is found as a change of the weights, so it is exact to their own rounding.
    close(grad_weights, inputs.T.astype(np.float64) @ grad_logits, 1e-4 if size == 1 else 2e-2)
    close(grad_biases, grad_logits.sum(axis=0), 1e-4 if size == 1 else 2e-2)


@pytest.mark.parametrize("engine", ["plain", ENGINES[1]])
def test_equal_logits_are_read_as_the_first(engine):
    """With all logits equal the answer is class 0, whatever the engine: argmax's rule."""
    inputs, weights, biases = np.ones((2, 4), np.float32), np.zeros((4, 10), np.float32), np.zeros(10, np.float32)
    hits = run_softmax(engine, inputs, np.array([0, 9], np.int32), weights, biases)[2]
    np.testing.assert_array_equal(hits, [1, 0])


@pytest.mark.parametrize(("relu", "classes"), [(False, 10), (True, 10), (True, 13)])
def test_reference_gradients_are_central_differences(relu, classes):
    random = np.random.default_rng(4)
    parameters = [array.astype(np.float64) for array in initial_parameters(2, 5, classes)]
    parameters[1] += 0.1 * random.standard_normal(2)
    images, labels = random.uniform(-0.5, 0.5, (2, 28, 28)), np.array([3, classes - 1])
    _, gradients = reference.loss_and_gradients(parameters, images, labels, relu)
    epsilon = 1e-6
    for which, gradient in enumerate(gradients):
        for place in random.choice(gradient.size, min(gradient.size, 12), replace=False):
            losses = []
            for step in (epsilon, -epsilon):
                moved = [array.copy() for array in parameters]
                moved[which].flat[place] += step
                losses.append(reference.loss_and_gradients(moved, images, labels, relu)[0])
            assert gradient.flat[place] == pytest.approx((losses[0] - losses[1]) / (2 * epsilon), abs=1e-6, rel=1e-5)


@cuda.jit
def sum_kernel(values, totals):
    thread = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    totals[thread] = block_sum(values[thread])


@pytest.mark.parametrize("block", [*BLOCKS, (1, 1), (7, 3)])
def test_block_sum(block):
    count = block[0] * block[1]
    values = np.random.default_rng(6).standard_normal(count).astype(np.float32)
    totals = cuda.to_device(np.zeros(count, np.float32))
    sum_kernel[1, block](cuda.to_device(values), totals)
    np.testing.assert_allclose(totals.copy_to_host(), values.sum(dtype=np.float64), rtol=1e-5, atol=1e-5)


def test_grid_covers_the_work_and_no_more():
    assert grid(26, 26, 5, (16, 16)) == (2, 2, 5)
    assert grid(32, 8, 1, (32, 8)) == (1, 1, 1)
    assert grid(33, 1, 1, (32, 8)) == (2, 1, 1)


@pytest.mark.parametrize("block", [(0, 16), (16, -1), (64, 64), (1025, 1)])
def test_blocks_that_no_gpu_takes(block):
    with pytest.raises(UserError, match="1024"):
        check_block(block)


# The examples by hand: the numbers in the docstring of each layer's file.

BY_HAND = pytest.mark.parametrize("engine", ["plain", ENGINES[1]])
IMAGE = [[1, 2, 0, 1], [0, 1, 3, 1], [2, 0, 1, 0], [1, 1, 0, 2]]
FILTER = [[1, 0, -1], [0, 2, 0], [-1, 0, 1]]


def array(numbers, *shape):
    return np.array(numbers, np.float32).reshape(shape)


@BY_HAND
@pytest.mark.parametrize(
    "activation, output, grad_filter",
    [
        ("none", [[2, 7], [-4, 3]], [[0, 1, 5], [4, 0, 5], [3, 2, -1]]),
        ("relu", [[2, 7], [0, 3]], [[0, -1, -1], [0, 0, 3], [1, 0, -1]]),
    ],
)
def test_convolution_by_hand(engine, activation, output, grad_filter):
    image, filters, gradient = array(IMAGE, 1, 4, 4), array(FILTER, 1, 3, 3), array([1, 0, 2, -1], 1, 2, 2, 1)
    found = run_conv(engine, image, filters, np.zeros(1, np.float32), activation, gradient)
    np.testing.assert_array_equal(found[0][0, :, :, 0], output)
    np.testing.assert_array_equal(found[1][0], grad_filter)


@BY_HAND
def test_pooling_by_hand(engine):
    pixels = array([[1, 3, 0, 2], [4, 2, 2, 1], [0, 0, 5, 1], [0, 0, 6, 6]], 1, 4, 4, 1)
    output, grad_input = run_pool(engine, pixels, array([[1, 2], [3, 4]], 1, 2, 2, 1))
    np.testing.assert_array_equal(output[0, :, :, 0], [[4, 2], [0, 6]])
    np.testing.assert_array_equal(grad_input[0, :, :, 0], [[0, 0, 0, 2], [1, 0, 0, 0], [3, 0, 0, 0], [0, 0, 4, 0]])


@BY_HAND
def test_softmax_by_hand(engine):
    weights = np.zeros((4, 10), np.float32)
    weights[1, 0] = weights[0, 1] = 1
    inputs, labels = array([1, 2, 0, 1], 1, 4), np.array([1], np.int32)
    probabilities, losses, hits, grad_inputs, grad_weights, grad_biases = run_softmax(
        engine, inputs, labels, weights, np.zeros(10, np.float32)
    )
    rounded = {"atol": 5e-4, "rtol": 0}
    np.testing.assert_allclose(probabilities[0], [0.408, 0.150] + 8 * [0.055], **rounded)
    np.testing.assert_allclose(losses, [1.896], **rounded)
    assert not hits[0]
    np.testing.assert_allclose(grad_biases, [0.408, -0.850] + 8 * [0.055], **rounded)  # that at the logits
    np.testing.assert_allclose(grad_weights[:, 0], [0.408, 0.816, 0, 0.408], **rounded)
    np.testing.assert_allclose(grad_weights[:, 1], [-0.850, -1.700, 0, -0.850], **rounded)
    np.testing.assert_allclose(grad_inputs[0], [-0.850, 0.408, 0, 0], **rounded)


def test_halving_by_hand():
    values = np.exp(np.array([2, 1] + 8 * [0] + 6 * [-np.inf]) - 2)
    rounds = [values]
    while len(values) > 1:
        values = values[: len(values) // 2] + values[len(values) // 2 :]
        rounds.append(values)
    shown = [
        [1, 0.368] + 8 * [0.135] + 6 * [0],
        [1.135, 0.503] + 6 * [0.135],
        [1.271, 0.639, 0.271, 0.271],
        [1.541, 0.909],
        [2.451],
    ]
    for found, wanted in zip(rounds, shown, strict=True):
        np.testing.assert_allclose(found, wanted, atol=5e-4, rtol=0)


# The layers' files as scripts.


@pytest.mark.parametrize("name, steps", [("conv", 3), ("pool", 2), ("softmax", 3)])
def test_a_layer_runs(script, name, steps):
    printed, errors, status = script(f"{name}_gpu.py")
    assert (status, errors) == (0, "")
    lines = printed.splitlines()
    assert "kernels against plain Python, largest difference (allowed: 1e-05)" in lines[0 if HAS_GPU else 1]
    for step in ("forward", "backward", "update")[:steps]:
        assert step in lines[-1]
    if HAS_GPU:
        assert [line.split()[1] for line in lines if line.startswith("block")] == 2 * ["8x8", "16x16", "32x32"]
        assert "us (" in lines[-1]
    else:
        assert "no GPU can be used here" in lines[0] and "block 4x4" in lines[2]


@cuda.jit
def forgets_the_filters(images, filters, biases, relu, output):
    column, row, n = cuda.grid(3)
    if row < output.shape[1] and column < output.shape[2]:
        for f in range(filters.shape[0]):
            output[n, row, column, f] = images[n, row, column]


@cuda.jit
def does_nothing(pixels, grad_output, grad_input):
    pass


@cuda.jit
def gives_nan(inputs, grad_logits, step, weights, biases):
    weights[0, 0] = np.nan


@pytest.mark.parametrize(
    "module, kernel, wrong, step",
    [
        (conv_gpu, "conv3x3_forward", forgets_the_filters, "forward"),
        (pool_gpu, "maxpool2_backward", does_nothing, "backward"),
        (softmax_gpu, "dense_update", gives_nan, "update"),
    ],
)
def test_a_wrong_kernel_is_told_and_not_timed(monkeypatch, capsys, module, kernel, wrong, step):
    monkeypatch.setattr(module, kernel, wrong)
    assert module.main([]) == 1
    printed, errors = capsys.readouterr()
    assert f"error: wrong numbers from {step} with block" in errors and errors.count("\n") == 1
    assert " us (" not in printed
