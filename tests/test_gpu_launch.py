"""Errors of the GPU and its driver, each in one line that says what was asked for and what is there."""

from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda

import cnn_gpu
import conv_gpu
import gpu_launch
from cnn_gpu import CNNGPU
from errors import UserError
from gpu_launch import gpu_errors_explained, too_old


class CudaAPIError(Exception):
    """As numba-cuda says it: its own class is not there in the simulator."""


OUT_OF_MEMORY = "[CUresult.CUDA_ERROR_OUT_OF_MEMORY] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"
UNSUPPORTED = "[222] Call to cuLinkAddData results in CUDA_ERROR_UNSUPPORTED_PTX_VERSION"


def fail(text):
    def function(*_, **__):
        raise CudaAPIError(text)

    return function


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of which little memory is free, with an old driver."""
    context = SimpleNamespace(get_memory_info=lambda: (2**29, 2**33))
    driver = SimpleNamespace(get_version=lambda: (12, 1))
    monkeypatch.setattr(gpu_launch.cuda, "current_context", lambda: context)
    monkeypatch.setattr(gpu_launch.cuda, "cudadrv", SimpleNamespace(driver=SimpleNamespace(driver=driver)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (OUT_OF_MEMORY, ["does not hold 5 images", "0.5 of its 8.0 GiB are free"]),
        ("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES: too many resources", ["too few registers for 5 images", "--block 16x16"]),
        (UNSUPPORTED, ["driver does not fit", "for CUDA 12.1"]),
        ("CUDA_ERROR_NO_BINARY_FOR_GPU", ["driver does not fit"]),
    ],
)
def test_an_error_of_the_driver_is_one_line(text, words, gpu):
    with pytest.raises(UserError) as caught, gpu_errors_explained("5 images"):
        fail(text)()
    assert [word for word in words if word not in str(caught.value)] == [] and "\n" not in str(caught.value)


def test_a_gpu_that_answers_nothing_any_more_is_one_line_too(gpu, monkeypatch):
    monkeypatch.setattr(gpu_launch.cuda, "current_context", fail("CUDA_ERROR_UNKNOWN"))
    with pytest.raises(UserError, match="memory does not hold 5 images; try"), gpu_errors_explained("5 images"):
        fail(OUT_OF_MEMORY)()


def test_an_error_of_a_kernel_keeps_its_traceback(gpu):
    with pytest.raises(CudaAPIError), gpu_errors_explained("5 images"):
        fail("CUDA_ERROR_ILLEGAL_ADDRESS")()


def test_every_use_of_the_gpu_says_what_it_needed(mnist, gpu, monkeypatch):
    images, labels = mnist.train_images[:4], mnist.train_labels[:4]
    network = CNNGPU(1, block=(4, 4), path="layers")
    with monkeypatch.context() as patch:
        patch.setattr(conv_gpu.cuda, "to_device", fail(OUT_OF_MEMORY))
        with pytest.raises(UserError, match="does not hold 4 images"):
            network.fit(images, labels)
        with pytest.raises(UserError, match="does not hold 4 images to read with 1 filters"):
            network.predict(images)
        with pytest.raises(UserError, match="does not hold a network of 3 filters"):
            CNNGPU(3)
    for name, words in (("train_epoch", "batches of 2 images with 1 filters"), ("distort", "the distorted images")):
        with monkeypatch.context() as patch:
            patch.setattr(cnn_gpu.RUNGS["layers"], name, fail(OUT_OF_MEMORY))
            with pytest.raises(UserError, match=f"does not hold {words}"):
                network.fit(images, labels, batch_size=2, augment=True)


@pytest.mark.parametrize(
    ("capability", "driver", "words"),
    [
        ((9, 0), (12, 8), None),
        ((5, 0), (12, 0), None),
        ((7, 5), (13, 0), None),
        ((3, 7), (12, 0), "the GPU is too old: compute capability 3.7, and CUDA 12 needs 5.0"),
        ((8, 0), (11, 8), "driver is too old: made for CUDA 11.8, and 12.0 is needed"),
    ],
)
def test_what_is_too_old_is_said_before_anything_is_compiled(capability, driver, words, monkeypatch):
    problem = too_old(capability, driver)
    assert problem is None if words is None else words in problem
    device, version = SimpleNamespace(compute_capability=capability), SimpleNamespace(get_version=lambda: driver)
    monkeypatch.setattr(gpu_launch, "SIMULATED", False)
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "get_current_device", lambda: device)
    monkeypatch.setattr(cuda, "cudadrv", SimpleNamespace(driver=SimpleNamespace(driver=version)))
    assert gpu_launch.gpu_problem() == problem
    if problem:
        with pytest.raises(UserError, match="--device cuda: no GPU can be used here"):
            gpu_launch.use_gpu("cuda")
    np.testing.assert_equal(gpu_launch.use_gpu("auto"), problem is None)
