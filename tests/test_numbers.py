"""Training on odd images, with any learning rate: finite numbers, or one clear line. On every engine."""

import warnings

import numpy as np
import pytest
from conftest import HAS_GPU
from test_networks import TRAINERS, count_for, make

from cnn_cpu import CNN
from cnn_gpu import CNNGPU
from cnn_jit import CNNJit
from errors import UserError
from network import check_finite

IMAGES = {
    "digits": None,
    "black": np.zeros((24, 28, 28), np.uint8),
    "white": np.full((24, 28, 28), 255, np.uint8),
    "grey": np.full((24, 28, 28), 128, np.uint8),
}


def images_and_labels(mnist, name, one_class):
    labels = np.full(24, 3) if one_class else mnist.train_labels[:24]
    return mnist.train_images[:24] if name == "digits" else IMAGES[name], labels


def outcome(network, images, labels, *options, **more):
    """ "finite" or "one line". Warnings of NumPy are errors, unless a line says what they mean."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            history = network.fit(images, labels, *options, **more)
        except UserError as error:
            assert "learning rate" in str(error) and "try" in str(error) and "\n" not in str(error)
            return "one line"
        loss, _ = network.evaluate(images, labels)
        probabilities = network.predict(images)
    numbers = *network.parameters, probabilities, [epoch.loss for epoch in history], loss
    assert all(np.isfinite(array).all() for array in numbers)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert [str(warning.message) for warning in warned] == []
    return "finite"


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("engine", [CNN, CNNJit, *([CNNGPU] if HAS_GPU else [])])
def test_every_learning_rate(engine, name, activation, mnist):
    count, step = (8, 3) if engine is CNN else (24, 1)  # plain Python takes its time
    found = {}
    for rate in 10.0 ** np.arange(-6, 4, step):
        for one_class in (False, True):
            images, labels = images_and_labels(mnist, name, one_class)
            found[rate] = outcome(make(engine, activation), images[:count], labels[:count], 2, count // 3, rate)
    assert {found[rate] for rate in found if rate <= 0.1} == {"finite"}, "these are no rates to complain of"


@pytest.mark.parametrize("rate", [1e-6, 1e3])
@pytest.mark.parametrize("name", IMAGES if HAS_GPU else ["digits", "black"])
@pytest.mark.parametrize("engine", TRAINERS)
def test_every_rung_on_odd_images(engine, name, rate, mnist):
    count = count_for(engine, 2, 24)
    images, labels = images_and_labels(mnist, name, one_class=True)
    result = outcome(make(engine), images[:count], labels[:count], 1, count_for(engine, 1, 8), rate)
    assert result == "finite" or rate > 1


@pytest.mark.parametrize("engine", TRAINERS)
def test_one_image_in_a_batch_larger_than_the_set(engine, mnist):
    """It is learned by heart."""
    images, labels = mnist.train_images[:1], mnist.train_labels[:1]
    network = make(engine)
    before, _ = network.evaluate(images, labels)
    assert outcome(network, images, labels, count_for(engine, 1, 20), 1000, 0.05) == "finite"
    assert network.evaluate(images, labels)[0] < before


def test_a_last_step_that_goes_too_far_is_noticed(mnist):
    """The loss is that before the step: it was finite to the end, and the first reading gave NaN."""
    images, labels = mnist.train_images[:4], mnist.train_labels[:4]
    for engine in (CNN, CNNJit):
        with pytest.raises(UserError, match="the weights are no longer finite in epoch 1"), np.errstate(all="ignore"):
            engine(2).fit(images, labels, 1, 4, 1e18)


def test_what_to_try_is_smaller():
    for rate in (1e-3, 0.5, 1e30):
        with pytest.raises(UserError, match="try ") as caught:
            check_finite(np.nan, "the loss is", rate, 3)
        assert float(str(caught.value).split("try ")[1]) < rate
