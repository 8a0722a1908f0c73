"""The network in plain Python: one thread, one image at a time. This is the file to read first.

    python cnn_cpu.py --save plain.npz       trains on 1,000 images of MNIST, for some seconds

The layers are in conv_gpu.py, pool_gpu.py and softmax_gpu.py, each with its CUDA twin below it. The GPU is measured
against this engine.
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

from conv_gpu import Conv3x3
from errors import run
from model_file import Parameters
from network import Network, scale
from pool_gpu import MaxPool2
from softmax_gpu import Softmax
from training import train_script, training_parser


class CNN(Network):
    """Conv3x3 -> MaxPool2 -> Softmax in plain Python. See `Network` for what it takes and gives."""

    predict_batch = 1  # an image at a time, so that a progress bar moves with every one

    def _set_parameters(self, parameters):
        filters, filter_biases, weights, biases = (array.copy() for array in parameters)
        self.conv = Conv3x3(filters, filter_biases, self.activation)  # 28x28 -> 26x26xF
        self.pool = MaxPool2()  # 26x26xF -> 13x13xF
        self.softmax = Softmax(weights, biases)  # 13x13xF -> C

    @property
    def parameters(self):
        parts = self.conv.filters, self.conv.biases, self.softmax.weights, self.softmax.biases
        return Parameters(*(array.copy() for array in parts))

    def _train_epoch(self, data, order, batch_size, learning_rate, progress):
        images, labels = data
        total_loss = total_correct = 0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            for image, label in zip(scale(images[batch]), labels[batch], strict=True):
                loss, correct = self._learn(image, label)
                total_loss += loss
                total_correct += correct
                progress(1, loss, correct)
            for layer in (self.conv, self.softmax):
                layer.update(learning_rate / len(batch))
        return lambda: (total_loss, total_correct)

    def _learn(self, image, label):
        """Forward and backward with one image; the layers add its gradient to the batch's sum.

        Returns (loss, 1 if read right).
        """
        probabilities, loss = self.softmax.forward(self.pool.forward(self.conv.forward(image)), label)
        self.conv.backward(self.pool.backward(self.softmax.backward()))
        return float(loss), int(probabilities.argmax() == label)

    def _logits(self, images):
        (image,) = scale(images)
        return self.softmax.logits(self.pool.forward(self.conv.forward(image)))


def main(argv=None):
    args = training_parser(__doc__, images=1000, activation="none").parse_args(argv)
    return train_script(CNN, args, test_count=1000)  # some seconds; all 10,000 would be a minute


if __name__ == "__main__":
    run(main)
