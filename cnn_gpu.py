"""The network on the GPU: four ways to train it, from slow to fast, and all learn the same up to rounding.

    python cnn_gpu.py                                          trains the network for photos, the fastest way
    python cnn_gpu.py --activation none --save articles.npz    trains the network of the articles on MNIST as it is
    python cnn_gpu.py --path layers --save layers.npz          by the kernels of conv_gpu, pool_gpu and softmax_gpu

| path   | a step of training is                                                                                   |
|--------|---------------------------------------------------------------------------------------------------------|
| naive  | the kernels on NumPy arrays: every call copies all it is given, there and back; forward and backward    |
|        | are image by image, and the update takes the batch                                                      |
| layers | ten kernel launches for the whole batch; images, labels and weights live on the GPU                     |
| graph  | the same launches, recorded once as a CUDA graph and replayed by one call                               |
| epoch  | a part of ONE launch that runs the whole epoch: epoch_gpu.py                                            |

From `layers` on, images and labels are copied to the GPU once, the weights stay there, and loss and accuracy are summed
there and read back once an epoch.

A path, --path, is one way to train on the GPU. The class that trains along it is its rung (RUNGS). A rung has these
methods:

    Rung(network, images, labels)                              to train this CNNGPU on this set
    problem(num_filters, num_classes)                          static: why it is not possible here, in one line, or None
    distort(epoch)                                             from now on, train on images distorted for this epoch
    train_epoch(order, batch_size, learning_rate, progress)    as `Network._train_epoch` says
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)
    import start_early  # noqa: F401 (threads that open the GPU and unpack MNIST meanwhile)

import sys

import numpy as np
from numba import cuda

from compile_apart import garbage_left, reader_compiled_apart
from conv_gpu import Conv3x3GPU
from epoch_gpu import EpochRung, as_words
from errors import UserError, run
from gpu_launch import BLOCK, DEVICES, gpu_errors_explained, parse_block, use_gpu
from layers_gpu import GraphRung, LayersRung
from model_file import Parameters
from naive_gpu import NaiveRung
from network import Network
from pool_gpu import MaxPool2GPU
from reading_gpu import MAX_FILTERS_READ, Reader
from sizes import IMAGE_SIZE, NUM_CLASSES
from softmax_gpu import SoftmaxGPU
from training import train_script, training_parser

RUNGS = {"naive": NaiveRung, "layers": LayersRung, "graph": GraphRung, "epoch": EpochRung}  # from slowest to fastest
PATHS = tuple(RUNGS)


def path_problem(path, num_filters, num_classes=NUM_CLASSES):
    """None when this GPU, its driver and its packages allow a path, otherwise the reason in one line."""
    return RUNGS[path].problem(num_filters, num_classes)


def possible_path(path, num_filters, num_classes=NUM_CLASSES):
    """(the path to take, refusals): this path, or the next slower one that is possible here.

    refusals: for each path that is not possible, a line that says why.
    """
    refused = []
    while problem := path_problem(path, num_filters, num_classes):
        slower = PATHS[PATHS.index(path) - 1]
        refused.append(f"path {path} is not possible here ({problem}): taking {slower}")
        path = slower
    return path, refused


class CNNGPU(Network):
    """Conv3x3 -> MaxPool2 -> Softmax on the GPU. See `Network` for what it takes and gives.

    block: threads in a block as (x, y), for the kernels of the layers; path: the way `fit` trains, one of PATHS.
    """

    predict_batch = 16384  # 13 MB of images

    def __init__(self, *network, block=BLOCK, path=PATHS[-1], **options):
        self.block = block
        self.path = path
        self._reader = None
        super().__init__(*network, **options)

    def _set_parameters(self, parameters):
        filters, filter_biases, weights, biases = parameters
        if len(filters) > MAX_FILTERS_READ:
            raise UserError(
                f"a GPU takes at most {MAX_FILTERS_READ} filters, not {len(filters)}; --device cpu takes more"
            )
        with gpu_errors_explained(f"a network of {len(filters)} filters"):
            self.conv = Conv3x3GPU(filters, filter_biases, self.activation, self.block)  # Nx28x28 -> Nx26x26xF
            self.pool = MaxPool2GPU(self.block)  # Nx26x26xF -> Nx13x13xF
            self.softmax = SoftmaxGPU(weights, biases, self.block)  # Nx13x13xF -> NxC
        self.flat_parameters = [array.reshape(array.size) for array in self.device_parameters]

    @property
    def device_parameters(self):
        """The device arrays: filters (F, 3, 3), filter biases (F,), weights (C, K), biases (C,)."""
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
        self._path, refused = possible_path(path, self.num_filters, self.num_classes)
        for line in refused:
            print(line, file=sys.stderr)
        return super().fit(*data, **options)

    def compile(self, batch_size, augment):
        """Compile the kernels that `fit` and `logits` need.

        It trains and reads blank images with another network of the same form; this one does not change.
        """
        path, _ = possible_path(self.path, self.num_filters, self.num_classes)
        count = batch_size if path == "epoch" else 1  # the kernels of the other paths take any number
        blank = np.zeros((count, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        twin = CNNGPU(self.num_filters, self.activation, num_classes=self.num_classes, block=self.block, path=path)
        with garbage_left(), reader_compiled_apart(self.num_filters, self.num_classes, self.activation == "relu"):
            twin.fit(blank, np.zeros(count, np.int32), 1, count, 0, augment=augment)
        twin.logits(blank[:1])

    def _place(self, images, labels):
        with gpu_errors_explained(f"{len(images):,} images"):
            return RUNGS[self._path](self, images, labels)

    def _distort(self, rung, epoch):
        with gpu_errors_explained("the distorted images"):
            rung.distort(epoch)
        return rung

    def _train_epoch(self, rung, order, batch_size, learning_rate, progress):
        with gpu_errors_explained(f"batches of {batch_size:,} images with {self.num_filters} filters"):
            return rung.train_epoch(order, batch_size, learning_rate, progress)

    def read(self, device_images):
        """(logits, probabilities) of images, in one launch: device arrays, see `Reader.read`.

        device_images: a device array (N, 196) uint32, four pixels to a word (see `as_words`).
        """
        if self._reader is None:
            relu = self.activation == "relu"
            self._reader = Reader(self.num_filters, self.num_classes, relu, self.flat_parameters)
        return self._reader.read(device_images)

    def _logits(self, images):
        with gpu_errors_explained(f"{len(images):,} images to read with {self.num_filters} filters"):
            logits, _ = self.read(cuda.to_device(as_words(images)))
            return logits.copy_to_host()


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
    from cnn_jit import train_on_threads  # only the fallback needs the CPU's engine

    return train_on_threads(args)


if __name__ == "__main__":
    run(main)
