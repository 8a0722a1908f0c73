"""The sizes of the network, each in one place: image 28x28 -> convolution 26x26 -> pooling 13x13 -> classes."""

IMAGE_SIZE = 28  # pixels on each side of an image, as in MNIST
CONVOLVED_SIZE = IMAGE_SIZE - 2  # places on each side where a 3x3 window fits into the image
POOLED_SIZE = CONVOLVED_SIZE // 2  # 2x2 windows on each side
WINDOWS = POOLED_SIZE * POOLED_SIZE  # of the pooling
NUM_CLASSES = 10  # the digits 0 to 9, which come first in every network
PART, SEVERAL, MARK = 10, 11, 12  # what is no digit, for the network that reads photos (photos/no_digit.py)
PHOTO_CLASSES = 13  # of this network
MAX_CLASSES = 32  # on the GPU each class has a thread of one warp
