"""The rungs `layers` and `graph`: a step of training is ten launches, each for the whole batch.

`layers` launches the kernels of conv_gpu.py, pool_gpu.py and softmax_gpu.py one after the other. Images, labels and
weights live on the GPU. Loss and hits are summed there for each place in the batch and read back once an epoch. What
is left is the price of a launch: on an H100's host 17 to 50 microseconds of Python, more than most of these kernels
take.

`graph` records the ten launches of a step, and `advance`, once as a CUDA graph, and replays them with one call.

| kernel       | one thread is              | what it does                                                            |
|--------------|----------------------------|-------------------------------------------------------------------------|
| gather_batch | one pixel of one image     | takes the batch's images out of the set and scales them                 |
| advance      | the only one               | moves on to the next batch, since the arguments of a graph never change |
| distort_set  | a share of one image       | distorts every image of the set for an epoch (distortion.py)            |
"""

import numpy as np
from numba import cuda, float32, uint8

import kernel_cache  # noqa: F401 (where the compiled kernels are kept)
from distortion import NUM_COEFFICIENTS, NUM_DRAWS, PADDED, coefficient, distorted_pixel, distortion_key, draw
from gpu_launch import SIMULATED, graph_problem, grid, record, reusable_arrays
from sizes import IMAGE_SIZE

PADDED_PIXELS = PADDED * PADDED
DISTORT_THREADS = 16 if SIMULATED else 128


@cuda.jit(cache=True)
def gather_batch(images, labels, order, first, position, batch_images, batch_labels):
    """Take the batch's images, from order[first + position[0]] on, out of the set, and scale them to x/255 - 0.5.

    images (all, H, W) uint8 -> batch_images (N, H, W) float32; labels (all,) -> batch_labels (N,) int32. A thread is
    one pixel of one image.
    """
    column, row, n = cuda.grid(3)
    if row >= images.shape[1] or column >= images.shape[2]:
        return
    chosen = order[first + position[0] + n]
    batch_images[n, row, column] = float32(images[chosen, row, column]) / float32(255) - float32(0.5)
    if row == 0 and column == 0:
        batch_labels[n] = labels[chosen]


@cuda.jit(cache=True)
def advance(position, count):
    """Move on by a batch. The arguments of a recorded launch never change, so the GPU keeps the place in the epoch."""
    position[0] += count


@cuda.jit(cache=True)
def distort_set(images, key, distorted):
    """Distort every image for an epoch; key stands for (seed, epoch). A block distorts one image.

    images, distorted: (N, 28, 28) uint8.
    """
    n, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    padded = cuda.shared.array(PADDED_PIXELS, float32)
    draws = cuda.shared.array(NUM_DRAWS, float32)
    coefficients = cuda.shared.array(NUM_COEFFICIENTS, float32)
    for i in range(thread, PADDED_PIXELS, threads):
        row, column = i // PADDED - 1, i % PADDED - 1
        inside = 0 <= row < IMAGE_SIZE and 0 <= column < IMAGE_SIZE
        padded[i] = float32(images[n, row, column]) if inside else float32(0)
    for i in range(thread, NUM_DRAWS, threads):
        draws[i] = draw(key, n, i)
    cuda.syncthreads()
    for i in range(thread, NUM_COEFFICIENTS, threads):
        coefficients[i] = coefficient(draws, i)
    cuda.syncthreads()
    for i in range(thread, IMAGE_SIZE * IMAGE_SIZE, threads):
        row, column = i // IMAGE_SIZE, i % IMAGE_SIZE
        distorted[n, row, column] = uint8(distorted_pixel(padded, coefficients, row, column))


class LayersRung:
    """Trains a CNNGPU on a set with the kernels of its layers. See cnn_gpu.py for what all rungs have in common."""

    def __init__(self, network, images, labels):
        self.network = network
        self.stream = 0
        self.original = self.images = cuda.to_device(images)
        self.labels = cuda.to_device(labels)
        self.order = cuda.device_array(len(images), np.int32)
        self.position = cuda.to_device(np.zeros(1, np.int32))
        self._batch_images = reusable_arrays()
        self._batch_labels = reusable_arrays(np.int32)
        self._views = {}

    @staticmethod
    def problem(num_filters, num_classes):
        return None

    def distort(self, epoch):
        if self.images is self.original:
            self.images = cuda.device_array_like(self.original)
        key = np.int64(distortion_key(self.network.seed, epoch))
        distort_set[len(self.images), DISTORT_THREADS](self.original, key, self.images)

    def train_epoch(self, order, batch_size, learning_rate, progress):
        self.order.copy_to_device(order)
        sums = new_sums(batch_size)
        self._learn_from(0, len(order), batch_size, learning_rate, sums, progress)
        return lambda: read_sums(sums)

    def _learn_from(self, first, end, batch_size, learning_rate, sums, progress):
        """Learn the images first..end of the order, a batch at a time."""
        for start in range(first, end, batch_size):
            count = min(batch_size, end - start)
            self._learn(start, count, learning_rate, sums)
            progress(count, None, None)

    def _learn(self, first, count, learning_rate, sums):
        """One step of SGD on one batch: forward, backward, and only then the updates."""
        conv, pool, softmax = self.network.conv, self.network.pool, self.network.softmax
        images, labels = self._gather(first, count)
        pooled = pool.forward(conv.forward(images))  # Nx28x28 -> Nx26x26xF -> Nx13x13xF
        softmax.forward(self._view(pooled, count, pooled.size // count), labels, *sums)
        grad_pooled = self._view(softmax.backward(), *pooled.shape)
        conv.backward(pool.backward(grad_pooled))
        conv.update(learning_rate / count)
        softmax.update(learning_rate / count)

    def _gather(self, first, count):
        """The batch that begins at order[first + position]: scaled images (count, 28, 28) and labels (count,)."""
        block = self.network.block
        batch = self._batch_images(count, IMAGE_SIZE, IMAGE_SIZE), self._batch_labels(count)
        gather_batch[grid(IMAGE_SIZE, IMAGE_SIZE, count, block), block, self.stream](
            self.images, self.labels, self.order, np.int32(first), self.position, *batch
        )
        return batch

    def _view(self, array, *shape):
        """array.reshape(shape), made once: the layers reuse their arrays, and a new view costs as much as a launch."""
        if shape not in self._views:
            self._views[shape] = array.reshape(*shape)
        return self._views[shape]


class GraphRung(LayersRung):
    """The same launches and `advance`, recorded once as a CUDA graph, replayed for every whole batch but the first.

    The first batch of an epoch is launched without the graph, because that also compiles and allocates, and so is a
    smaller last one.
    """

    def __init__(self, network, images, labels):
        super().__init__(network, images, labels)
        self.graph = self.recorded_rate = self.sums = None

    @staticmethod
    def problem(num_filters, num_classes):
        return graph_problem()

    def train_epoch(self, order, batch_size, learning_rate, progress):
        self.order.copy_to_device(order)
        self.sums = self.sums or new_sums(batch_size)
        for array in (*self.sums, self.position):
            array.copy_to_device(np.zeros(array.shape, array.dtype))
        self._learn_from(0, batch_size, batch_size, learning_rate, self.sums, progress)
        whole = len(order) // batch_size * batch_size
        self._replay(batch_size, whole, learning_rate, progress)
        self._learn_from(whole, len(order), batch_size, learning_rate, self.sums, progress)
        return lambda: read_sums(self.sums)

    def _replay(self, batch_size, whole, learning_rate, progress):
        """Learn the images batch_size..whole of the order from the recording, which keeps its place in `position`."""
        if self.graph is None or self.recorded_rate != learning_rate:
            self.graph = record(lambda stream: self._learn_next(batch_size, learning_rate, stream))
            self.recorded_rate = learning_rate
        self.position.copy_to_device(np.array([batch_size], np.int32))
        for _ in range(batch_size, whole, batch_size):
            self.graph()
            progress(batch_size, None, None)
        self.position.copy_to_device(np.zeros(1, np.int32))

    def _learn_next(self, batch_size, learning_rate, stream):
        """What the graph records: a step with the batch at `position`, and on to the next one."""
        self._use_stream(stream)
        try:
            self._learn(0, batch_size, learning_rate, self.sums)
            advance[1, 1, stream](self.position, batch_size)
        finally:
            self._use_stream(0)

    def _use_stream(self, stream):
        """Launch in this stream from now on, the layers too."""
        for part in (self, self.network.conv, self.network.pool, self.network.softmax):
            part.stream = stream


def new_sums(batch_size):
    """Device arrays of zeros for losses and hits: one number for each place in the batch, summed over the batches."""
    return cuda.to_device(np.zeros(batch_size)), cuda.to_device(np.zeros(batch_size, np.int32))


def read_sums(sums):
    """(summed loss, number read right) from the device arrays of losses and hits; waits for the GPU."""
    losses, hits = (array.copy_to_host() for array in sums)
    return float(losses.sum()), int(hits.sum())
