"""The kernels of one training step, each launched alone: its threads, its registers, its occupancy and its time.

`layers` and `graph` launch these kernels one after the other (layers_gpu.py). Here every launch is an object of its
own, so that it can be counted, asked what it needs of a multiprocessor, and timed without the others.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import cuda

from benchmark.timing import summary
from conv_gpu import conv3x3_backward, conv3x3_forward, conv3x3_update
from epoch_plan import WARP_SIZE, ceil_div
from gpu_launch import BLOCK, grid
from layer_check import recorded_seconds, useful_share
from layers_gpu import advance, gather_batch
from network import initial_parameters
from pool_gpu import maxpool2_backward, maxpool2_forward
from sizes import CONVOLVED_SIZE, IMAGE_SIZE, NUM_CLASSES, POOLED_SIZE
from softmax_gpu import IMAGES_PER_BLOCK, dense_kernels, dense_update, lanes_for, softmax_kernel

STEPS = 20  # of training in one recording: so many that the start of its replay hardly counts


class Form(NamedTuple):
    """How a kernel is launched for a batch, in numbers alone: they need no GPU."""

    kernel: str  # its name
    grid: tuple
    block: tuple
    elements: tuple  # what the threads share out, as `layer_check.useful_share` takes it
    images: int | None  # that the threads are for; None for an update, which is the same work for any batch

    @property
    def threads(self):
        """Threads launched for an image; of an update, for a step."""
        return math.prod(self.grid) * math.prod(self.block) // (self.images or 1)

    @property
    def useful(self):
        """The share of the threads that have work."""
        return useful_share(self.elements, self.block)


FREE = (  # the kernels that take blocks of any shape; the two others have one of their own
    "conv3x3_forward", "maxpool2_forward", "dense_forward", "dense_backward", "maxpool2_backward", "conv3x3_backward",
    "conv3x3_update", "dense_update", "gather_batch",
)  # fmt: skip


def forms_of_step(count, filters, block=BLOCK):
    """{kernel: Form} of a step of `count` images, in the order of the step."""
    inputs = POOLED_SIZE * POOLED_SIZE * filters
    pixels, places, windows = ((side, side) for side in (IMAGE_SIZE, CONVOLVED_SIZE, POOLED_SIZE))
    lanes, rows = lanes_for(NUM_CLASSES), min(count, IMAGES_PER_BLOCK)
    weights = inputs + 1, NUM_CLASSES  # a bias is the weight of an input that is always 1
    forms = [
        Form("gather_batch", grid(*pixels, count, block), block, pixels, count),
        Form("conv3x3_forward", grid(*places, count, block), block, places, count),
        Form("maxpool2_forward", grid(*windows, count, block), block, windows, count),
        Form("dense_forward", (count,), block, (inputs,), count),
        Form("softmax_cross_entropy", (ceil_div(count, rows),), (lanes, rows), (NUM_CLASSES, rows), count),
        Form("dense_backward", grid(inputs, count, 1, block)[:2], block, (inputs, count), count),
        Form("maxpool2_backward", grid(*windows, count, block), block, windows, count),
        Form("conv3x3_backward", (filters, count), block, places, count),
        Form("conv3x3_update", (filters, 10), block, (count,), None),
        Form("dense_update", grid(*weights, 1, block)[:2], block, weights, None),
        Form("advance", (1,), (1,), (1, 1), None),
    ]
    return {form.kernel: form for form in forms}


class Launch(NamedTuple):
    """A kernel with its arguments, ready to be launched in a stream."""

    form: Form
    kernel: object
    arguments: tuple

    def __call__(self, stream=0):
        self.kernel[self.form.grid, self.form.block, stream](*self.arguments)


class Step:
    """One training step of a new network without ReLU, on the first images of a set (images, labels).

    learning_rate 0 leaves the weights, and the place in the set, as they are: the step can be repeated for ever.
    """

    def __init__(self, images, labels, count, filters, seed=0, block=BLOCK, learning_rate=0.0):
        start, count = initial_parameters(filters, seed), min(count, len(images))
        self.filters, self.filter_biases = cuda.to_device(start.filters), cuda.to_device(start.filter_biases)
        self.weights = cuda.to_device(np.ascontiguousarray(start.weights.T))
        self.biases = cuda.to_device(start.biases)
        self.losses, self.hits = cuda.to_device(np.zeros(count)), cuda.to_device(np.zeros(count, np.int32))
        self.set = cuda.to_device(images[:count]), cuda.to_device(labels[:count].astype(np.int32))
        self.order = (
            cuda.to_device(np.arange(count, dtype=np.int32)),
            np.int32(0),
            cuda.to_device(np.zeros(1, np.int32)),
        )
        self.count, self.block, self.rate = count, block, np.float32(learning_rate / count)
        forms, arguments = forms_of_step(count, filters, block), self._arguments(count, filters)
        self.launches = {name: Launch(form, *arguments[name]) for name, form in forms.items()}

    def _arguments(self, count, filters):
        """{kernel's name: (kernel, its arguments)}."""

        def new(*shape, dtype=np.float32):
            return cuda.to_device(np.zeros(shape, dtype))

        batch, labels = new(count, IMAGE_SIZE, IMAGE_SIZE), new(count, dtype=np.int32)
        convolved, grad_convolved = (new(count, CONVOLVED_SIZE, CONVOLVED_SIZE, filters) for _ in range(2))
        pooled, grad_pooled = (new(count, POOLED_SIZE, POOLED_SIZE, filters) for _ in range(2))
        inputs, grad_inputs = (array.reshape(count, array.size // count) for array in (pooled, grad_pooled))
        logits, probabilities, grad_logits = (new(count, NUM_CLASSES) for _ in range(3))
        grad_parts = new(count, filters, 10)
        dense_forward, dense_backward = dense_kernels(NUM_CLASSES)
        conv, weights = (self.filters, self.filter_biases), self.weights
        return {
            "gather_batch": (gather_batch, (*self.set, *self.order, batch, labels)),
            "conv3x3_forward": (conv3x3_forward, (batch, *conv, False, convolved)),
            "maxpool2_forward": (maxpool2_forward, (convolved, pooled)),
            "dense_forward": (dense_forward, (inputs, weights, self.biases, logits)),
            "softmax_cross_entropy": (
                softmax_kernel(NUM_CLASSES), (logits, labels, probabilities, grad_logits, self.losses, self.hits)
            ),
            "dense_backward": (dense_backward, (grad_logits, weights, grad_inputs)),
            "maxpool2_backward": (maxpool2_backward, (convolved, grad_pooled, grad_convolved)),
            "conv3x3_backward": (conv3x3_backward, (batch, convolved, False, grad_convolved, grad_parts)),
            "conv3x3_update": (conv3x3_update, (grad_parts, self.rate, False, *conv)),
            "dense_update": (dense_update, (inputs, grad_logits, self.rate, weights, self.biases)),
            "advance": (advance, (self.order[-1], 0)),
        }  # fmt: skip

    def __call__(self, stream=0):
        """Launch all kernels, one after the other."""
        for launch in self.launches.values():
            launch(stream)

    def seconds(self):
        """Summary of the seconds of a step whose kernels follow each other without the host."""
        return summary(recorded_seconds(self, STEPS))


def needs(launch):
    """What a compiled kernel takes of a multiprocessor, as the driver says it.

    {"registers": of a thread, "shared_bytes": of a block, "occupancy": warps that can be there at once / the most that
    a multiprocessor holds}. The launch must have been made once.
    """
    types = tuple(launch.kernel.typeof_pyval(argument) for argument in launch.arguments)
    compiled = launch.kernel.overloads.get(types) or list(launch.kernel.overloads.values())[-1]
    device = cuda.get_current_device()
    blocks = compiled.max_cooperative_grid_blocks(launch.form.block) // device.MULTIPROCESSOR_COUNT
    warps = blocks * ceil_div(math.prod(launch.form.block), WARP_SIZE)
    return {
        "registers": int(compiled.regs_per_thread),
        "shared_bytes": int(compiled.shared_mem_per_block),
        "occupancy": warps / (device.MAX_THREADS_PER_MULTIPROCESSOR // WARP_SIZE),
    }


NOTHING_MEASURED = dict.fromkeys(("registers", "shared_bytes", "occupancy", "seconds"))


def block_rows(shapes, count, filters, data=None):
    """(rows, problems): a row for each kernel that takes any block, and each shape; lines that say what is missing.

    data: (images, labels) to measure with; None without a GPU. What was not measured is None in the rows.
    """
    rows, problems = [], set()
    for shape in shapes:
        forms, launches = forms_of_step(count, filters, shape), {}
        if data:
            step = Step(*data, count, filters, block=shape)
            step()  # every kernel finds the numbers that it would find in training
            launches = step.launches
        for kernel in FREE:
            form = forms[kernel]
            row = {"kernel": kernel, "block": f"{shape[0]}x{shape[1]}", "threads": form.threads, "useful": form.useful}
            row |= {"for": "image" if form.images else "step"} | NOTHING_MEASURED
            if launches:
                row["seconds"] = summary(recorded_seconds(launches[kernel]))
                try:
                    row |= needs(launches[kernel])
                except Exception as error:  # the driver may not tell; the times are worth having without
                    problems.add(f"left out: registers and occupancy: {type(error).__name__}: {error}")
            rows.append(row)
    # In the order of FREE; sorting keeps the order of the shapes.
    return sorted(rows, key=lambda row: FREE.index(row["kernel"])), sorted(problems)
