"""The network on the GPU: four ways to train it, each a rung of a ladder, and all learn the same.

    python cnn_gpu.py                        trains the network for photos, the fastest way, and saves model.npz
    python cnn_gpu.py --activation none      trains the network of the articles on MNIST as it is
    python cnn_gpu.py --path layers          by the kernels of conv_gpu.py, pool_gpu.py and softmax_gpu.py

| path   | a step of training is                                                                                   |
|--------|---------------------------------------------------------------------------------------------------------|
| naive  | the kernels on NumPy arrays, image by image: every call copies all it is given, there and back          |
| layers | ten kernel launches for the whole batch; images, labels and weights live on the GPU                  |
| graph  | the same launches, recorded once as a CUDA graph and replayed by one call                               |
| epoch  | a part of ONE launch that runs the whole epoch: epoch_gpu.py                                            |

From `layers` on, images and labels are copied to the GPU once, the weights stay there, and loss and accuracy are summed
there and read back once an epoch.
"""

import sys
from types import SimpleNamespace

import numpy as np
from numba import cuda, float32, uint8

from cnn_jit import train_on_threads
from conv_gpu import Conv3x3GPU
from distortion import NUM_COEFFICIENTS, NUM_DRAWS, PADDED, coefficient, distorted_pixel, distortion_key, draw
from epoch_gpu import MAX_READ, EpochTrainer, Reader, as_words, epoch_problem
from errors import UserError, run
from gpu_launch import BLOCK, DEVICES, SIMULATED, graph_problem, grid, parse_block, record, reusable_arrays, use_gpu
from model_file import Parameters
from naive_gpu import NaiveTrainer
from network import Network
from pool_gpu import MaxPool2GPU
from sizes import IMAGE_SIZE
from softmax_gpu import SoftmaxGPU
from training import train_script, training_parser

PATHS = ("naive", "layers", "graph", "epoch")  # from slowest to fastest
PADDED_PIXELS = PADDED * PADDED
WARP_THREADS = 16 if SIMULATED else 128


@cuda.jit(cache=True)
def gather_batch(images, labels, order, first, position, batch_images, batch_labels):
    """Take the batch's images, from order[first + position[0]] on, out of the set, and scale them to x/255 - 0.5.

    images (all, H, W) uint8 -> batch_images (N, H, W) float32. A thread is one pixel of one image.
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
    """Move on by a batch. The arguments of a recorded launch are frozen, so a graph keeps its place on the GPU."""
    position[0] += count


@cuda.jit(cache=True)
def warp_set(images, key, warped):
    """Every image under its own warp of the epoch that key stands for (see augment.py). A block warps one image.

    images, warped: (N, 28, 28) uint8.
    """
    n, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    padded = cuda.shared.array(PADDED_PIXELS, float32)
    draws = cuda.shared.array(NUM_DRAWS, float32)
    warp = cuda.shared.array(NUM_COEFFICIENTS, float32)
    for i in range(thread, PADDED_PIXELS, threads):
        row, column = i // PADDED - 1, i % PADDED - 1
        inside = 0 <= row < IMAGE_SIZE and 0 <= column < IMAGE_SIZE
        padded[i] = float32(images[n, row, column]) if inside else float32(0)
    for i in range(thread, NUM_DRAWS, threads):
        draws[i] = draw(key, n, i)
    cuda.syncthreads()
    for i in range(thread, NUM_COEFFICIENTS, threads):
        warp[i] = coefficient(draws, i)
    cuda.syncthreads()
    for i in range(thread, IMAGE_SIZE * IMAGE_SIZE, threads):
        row, column = i // IMAGE_SIZE, i % IMAGE_SIZE
        warped[n, row, column] = uint8(distorted_pixel(padded, warp, row, column))


def path_problem(path, num_filters):
    """None when this GPU, its driver and its packages allow a path, otherwise the reason in one line."""
    if path == "epoch":
        return epoch_problem(num_filters)
    if path == "graph":
        return graph_problem()
    return None


def possible_path(path, num_filters):
    """This path, or the next slower one that is possible here, with a line on stderr that says why."""
    problem = path_problem(path, num_filters)
    if problem is None:
        return path
    slower = PATHS[PATHS.index(path) - 1]
    print(f"path {path} is not possible here ({problem}): taking {slower}", file=sys.stderr)
    return possible_path(slower, num_filters)


class CNNGPU(Network):
    """Conv3x3 -> MaxPool2 -> Softmax on the GPU. See `Network` for what it takes and gives.

    block: threads in a block as (x, y), for the kernels of the layers; path: the way that `fit` takes, one of PATHS.
    """

    predict_batch = 16384  # 13 MB of images

    def __init__(self, *network, block=BLOCK, path=PATHS[-1], **options):
        self.block = block
        self.path = path
        self._batch_images = reusable_arrays()
        self._batch_labels = reusable_arrays(np.int32)
        self._reader = None
        super().__init__(*network, **options)

    def _set_parameters(self, parameters):
        filters, filter_biases, weights, biases = parameters
        if len(filters) > MAX_READ:
            raise UserError(f"a GPU takes at most {MAX_READ} filters, not {len(filters)}; --device cpu takes more")
        self.conv = Conv3x3GPU(filters, filter_biases, self.activation, self.block)  # Nx28x28 -> Nx26x26xF
        self.pool = MaxPool2GPU(self.block)  # Nx26x26xF -> Nx13x13xF
        self.softmax = SoftmaxGPU(weights, biases, self.block)  # Nx13x13xF -> Nx10
        self.flat_parameters = [array.reshape(array.size) for array in self.device_parameters]
        self._views = {}

    @property
    def device_parameters(self):
        """The device arrays: filters (F, 3, 3), filter biases (F,), weights (10, K), biases (10,)."""
        return self.conv.filters, self.conv.biases, self.softmax.weights, self.softmax.biases

    @property
    def parameters(self):
        filters, filter_biases, weights, biases = (array.copy_to_host() for array in self.device_parameters)
        return Parameters(filters, filter_biases, np.array(weights.T, order="C"), biases)

    def fit(self, *data, path=None, **options):
        """`Network.fit` along one of PATHS (default: the network's own), or the next slower one that is possible."""
        path = path or self.path
        if path not in PATHS:
            raise ValueError(f"path must be one of {PATHS}, not {path!r}")
        self._path = possible_path(path, self.num_filters)
        try:
            return super().fit(*data, **options)
        except cuda.cudadrv.driver.CudaAPIError as error:
            if "OUT_OF_MEMORY" in str(error):
                raise UserError("the GPU's memory does not hold this batch size; try a smaller one") from None
            raise

    def compile(self, batch_size, augment):
        """Compile what `fit` and `logits` take, ahead of time: a network of the same form does both on blank images."""
        ways = PATHS[: PATHS.index(self.path) + 1]
        path = next(path for path in reversed(ways) if path_problem(path, self.num_filters) is None)
        count = batch_size if path == "epoch" else 1  # the other paths' kernels take any
        blank = np.zeros((count, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        twin = CNNGPU(self.num_filters, self.activation, block=self.block, path=path)
        twin.fit(blank, np.zeros(count, np.int32), 1, count, 0, augment=augment)
        twin.logits(blank[:1])

    def _place(self, images, labels):
        words = cuda.to_device(as_words(images))
        as_they_are = words.view(np.uint8).reshape(*images.shape)
        return SimpleNamespace(
            host_set=(images, labels),
            host=(images, labels),
            words=words,
            images_as_they_are=as_they_are,
            images=as_they_are,
            warp_key=None,
            labels=cuda.to_device(labels),
            order=cuda.device_array(len(images), np.int32),
            position=cuda.to_device(np.zeros(1, np.int32)),
            graph=None,
            trainer=None,
        )

    def _distort(self, data, epoch):
        """One launch for the epoch warps each image when it comes to it; the other paths take a set warped before."""
        data.warp_key = distortion_key(self.seed, epoch)
        if self._path == "naive":
            data.host = super()._distort(data.host_set, epoch)
        elif self._path != "epoch":
            if data.images is data.images_as_they_are:
                data.images = cuda.device_array_like(data.images)
            warp_set[len(data.images), WARP_THREADS](data.images_as_they_are, np.int64(data.warp_key), data.images)
        return data

    def _train_epoch(self, data, order, batch_size, learning_rate, progress):
        if self._path in ("layers", "graph"):
            data.order.copy_to_device(order)
        train = {
            "naive": self._train_naive,
            "layers": self._train_layers,
            "graph": self._train_graph,
            "epoch": self._train_in_one_launch,
        }[self._path]
        return train(data, order, batch_size, learning_rate, progress)

    def _train_naive(self, data, order, batch_size, learning_rate, progress):
        parameters = [array.copy_to_host() for array in self.device_parameters]
        trainer = NaiveTrainer(parameters, self.activation == "relu", self.block)
        images, labels = data.host
        total_loss = total_correct = 0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            loss, correct = trainer.learn(images[batch], labels[batch], learning_rate)
            total_loss, total_correct = total_loss + loss, total_correct + correct
            progress(len(batch), loss, correct)
        for array, trained in zip(self.device_parameters, parameters, strict=True):
            array.copy_to_device(trained)
        return lambda: (float(total_loss), int(total_correct))

    def _train_layers(self, data, order, batch_size, learning_rate, progress, first=0, sums=None):
        """From image number `first` of the order on; `sums` are the losses and hits so far."""
        sums = sums or self._new_sums(batch_size)
        for start in range(first, len(order), batch_size):
            count = min(batch_size, len(order) - start)
            self._learn(data, start, count, learning_rate, sums)
            progress(count, None, None)
        return lambda: read_sums(sums)

    def _train_graph(self, data, order, batch_size, learning_rate, progress):
        # The first batch and a smaller last one are launched one by one: the first also compiles and allocates.
        whole = len(order) // batch_size
        if data.graph is None:
            data.sums = self._new_sums(batch_size)
        for array in (*data.sums, data.position):
            array.copy_to_device(np.zeros(array.shape, array.dtype))
        self._learn(data, 0, batch_size, learning_rate, data.sums)
        progress(batch_size, None, None)
        if data.graph is None or data.recorded != learning_rate:
            data.graph = record(lambda stream: self._learn_next(data, batch_size, learning_rate, stream))
            data.recorded = learning_rate
        data.position.copy_to_device(np.array([batch_size], np.int32))
        for _ in range(whole - 1):
            data.graph()
            progress(batch_size, None, None)
        data.position.copy_to_device(np.zeros(1, np.int32))
        return self._train_layers(
            data, order, batch_size, learning_rate, progress, first=whole * batch_size, sums=data.sums
        )

    def _train_in_one_launch(self, data, order, batch_size, learning_rate, progress):
        if data.trainer is None:
            augment = data.warp_key is not None
            network = self.num_filters, self.activation == "relu"
            data.trainer = EpochTrainer(*network, batch_size, augment, data.words, data.labels, self.flat_parameters)
        data.trainer.start(order, learning_rate, data.warp_key or 0)
        progress(len(order), None, None)
        return data.trainer.finish

    def _learn_next(self, data, batch_size, learning_rate, stream):
        """A step of training with the batch at data.position, and on to the next: what a CUDA graph records."""
        self._use_stream(stream)
        try:
            self._learn(data, 0, batch_size, learning_rate, data.sums)
            advance[1, 1, stream](data.position, batch_size)
        finally:
            self._use_stream(0)

    def _use_stream(self, stream):
        self.stream = self.conv.stream = self.pool.stream = self.softmax.stream = stream

    stream = 0

    def _new_sums(self, batch_size):
        """Losses and hits by place in the batch, over all batches: two device arrays of zeros."""
        return cuda.to_device(np.zeros(batch_size)), cuda.to_device(np.zeros(batch_size, np.int32))

    def _learn(self, data, first, count, learning_rate, sums):
        """One step of SGD on one batch: forward, backward, and only then the updates."""
        batch = self._batch_images(count, IMAGE_SIZE, IMAGE_SIZE), self._batch_labels(count)
        blocks = grid(IMAGE_SIZE, IMAGE_SIZE, count, self.block)
        gather_batch[blocks, self.block, self.stream](
            data.images, data.labels, data.order, np.int32(first), data.position, *batch
        )
        images, labels = batch
        pooled = self.pool.forward(self.conv.forward(images))  # Nx28x28 -> Nx26x26xF -> Nx13x13xF
        self.softmax.forward(self._view(pooled, count, pooled.size // count), labels, *sums)
        grad_pooled = self._view(self.softmax.backward(), *pooled.shape)
        self.conv.backward(self.pool.backward(grad_pooled))
        self.conv.update(learning_rate / count)
        self.softmax.update(learning_rate / count)

    def _view(self, array, *shape):
        """array.reshape(shape), made once: the layers reuse their arrays, and a new view costs as much as a launch."""
        if shape not in self._views:
            self._views[shape] = array.reshape(*shape)
        return self._views[shape]

    def read(self, device_images):
        """(logits, probabilities) of device images (N, 196) uint32, in one launch: device arrays, see `Reader.read`."""
        if self._reader is None:
            self._reader = Reader(self.num_filters, self.activation == "relu", self.flat_parameters)
        return self._reader.read(device_images)

    def _logits(self, images):
        if len(images) == 0:
            return np.empty((0, 10), np.float32)
        logits, _ = self.read(cuda.to_device(as_words(images)))
        return logits.copy_to_host()


def read_sums(sums):
    """(summed loss, number read right) from the device arrays of losses and hits; waits for the GPU."""
    losses, hits = (array.copy_to_host() for array in sums)
    return float(losses.sum()), int(hits.sum())


def main(argv=None):
    parser = training_parser(__doc__)
    parser.add_argument("--block", type=parse_block, default=BLOCK, metavar="16x16", help="threads in a block")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="auto: the GPU, where there is one")
    parser.add_argument("--path", choices=PATHS, default=PATHS[-1], help="how to train (default: %(default)s)")
    args = parser.parse_args(argv)
    if use_gpu(args.device):
        return train_script(CNNGPU, args, block=args.block, path=args.path)
    if args.block != BLOCK or args.path != PATHS[-1]:
        print("--block and --path are for a GPU: not used", file=sys.stderr)
    return train_on_threads(args)


if __name__ == "__main__":
    run(main)
