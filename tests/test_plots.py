"""The plots of the training scripts show what was learned, and nothing of the training changes by it."""

import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import mnist_data
import plots
import training
from cnn_gpu import CNNGPU
from cnn_jit import CNNJit
from model_file import read_model
from photos import training_set

FEW = "--images", 200, "--batch-size", 16
ARTICLES = "--activation", "none", "--filters", 3


@pytest.fixture
def little_mnist(mnist, monkeypatch, tmp_path_factory):
    few = mnist._replace(test_images=mnist.test_images[:150], test_labels=mnist.test_labels[:150])
    monkeypatch.setattr(mnist_data, "load", lambda: few)
    monkeypatch.setattr(training_set, "KEPT", tmp_path_factory.mktemp("kept") / "normalised.npz")
    return few


@pytest.fixture
def texts():
    """A function that returns all texts of a figure, joined, and closes it."""

    def of(figure):
        found = [text.get_text() for text in figure.findobj(plots.plt.Text)]
        plots.plt.close(figure)
        return "\n".join(found)

    return of


# -- the scripts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn_cpu.py", "cnn_jit.py"])  # cnn_gpu.py hands on what they do, to `train_script`
def test_every_plot_is_drawn_and_named(in_process, little_mnist, tmp_path, name):
    folder, model = tmp_path / "new" / "plots", tmp_path / "model.npz"
    options = "--epoch", 2, "--images", 60, *ARTICLES, "--plots", folder, "--save", model
    out, err, status = in_process(name, *options)
    assert status == 0, err
    assert out.splitlines()[-5:] == [
        f"{model}: saved what was learned",
        *(f"{folder / name}: drawn" for name in plots.NAMES),
    ]
    assert {path.name for path in folder.iterdir()} == set(plots.NAMES)
    for path in folder.iterdir():
        with Image.open(path) as picture:
            assert picture.width == 1100 and picture.height > 300
            assert len(picture.getcolors(10**6)) > 10


def test_the_fallback_of_the_gpus_script_draws_too(in_process, little_mnist, tmp_path):
    options = "--device", "cpu", "--epoch", 1, *FEW, *ARTICLES, "--plots", tmp_path, "--save", tmp_path / "model.npz"
    _, err, status = in_process("cnn_gpu.py", *options)
    assert status == 0, err
    assert (tmp_path / "curves.png").exists()


def test_a_model_of_13_classes_that_is_not_trained_any_more(in_process, little_mnist, model_file, tmp_path):
    """It has no curve, and its test set, too, is read as ten digits."""
    options = "--load", model_file, "--epoch", 0, "--images", 1, "--plots", tmp_path, "--save", tmp_path / "model.npz"
    _, err, status = in_process("cnn_jit.py", *options)
    assert status == 0, err
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["confusion.png", "filters.png", "mistakes.png"]


def test_plots_change_nothing_of_the_training_and_show_the_test_of_every_epoch(
    in_process, little_mnist, monkeypatch, tmp_path
):
    curves = []
    monkeypatch.setattr(plots, "draw_plots", lambda folder, network, curve, *_: curves.append(curve) or [])
    printed = []
    for more in ((), ("--plots", tmp_path)):
        options = "--epoch", 3, *FEW, *ARTICLES, "--save", tmp_path / f"{len(more)}.npz", *more
        out, err, status = in_process("cnn_jit.py", *options)
        assert status == 0, err
        printed.append(re.findall(r"loss .*?%", out))
    assert printed[0] == printed[1] and len(printed[0]) == 4
    for one, other in zip(read_model(tmp_path / "0.npz")[0], read_model(tmp_path / "2.npz")[0], strict=True):
        np.testing.assert_array_equal(one, other)
    (curve,) = curves
    assert [point[0] for point in curve] == [1, 2, 3]
    network = CNNJit.load(tmp_path / "2.npz")
    assert curve[-1][3:] == network.evaluate(little_mnist.test_images, little_mnist.test_labels)
    assert [f"loss {point[1]:.4f}, accuracy {point[2]:.2%}" for point in curve] == printed[0][:3]


def test_reading_between_two_epochs_does_not_disturb_the_gpu(mnist):
    """Between them its data are prepared already, and its weights stay on the GPU."""
    train_set = mnist.train_images[:4], mnist.train_labels[:4]
    test_set = mnist.test_images[:2], mnist.test_labels[:2]
    args = training.training_parser("").parse_args(["--epoch", "2", "--batch-size", "4", "--learning-rate", "0.1"])
    networks = []
    for tested in (None, test_set):
        networks.append(CNNGPU(1))
        curve = training.train(networks[-1], train_set, args, tested)
    for one, other in zip(*(network.parameters for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [point[0] for point in curve] == [1, 2]
    assert curve[-1][3:] == networks[-1].evaluate(*test_set)


def test_a_folder_that_cannot_be_written_is_refused_before_the_training(in_process, one_line, little_mnist, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "filters.png").mkdir(parents=True)
    for folder, named in (("file", "file"), ("file/below", "file"), ("taken", "taken/filters.png")):
        result = in_process("cnn_jit.py", "--epoch", 1, *FEW, "--plots", tmp_path / folder)
        one_line("cnn_jit.py", result, tmp_path / named, "cannot be written")
        assert result[0] == "" or "epoch" not in result[0]


def test_matplotlib_is_imported_only_when_it_is_asked_for():
    probe = "import sys, cnn_jit; print('matplotlib' in sys.modules); import plots; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


# -- the figures ------------------------------------------------------------------------------------------------------


def test_curves_are_those_of_the_points():
    points = [plots.Point(4, 0.5, 0.8, 0.4, 0.85), plots.Point(5, 0.3, 0.9, 0.35, 0.87)]
    figure = plots.draw_curves(points)
    lines = [[list(line.get_ydata()) for line in axes.lines] for axes in figure.axes]
    assert lines == [[[0.5, 0.3], [0.4, 0.35]], [[0.8, 0.9], [0.85, 0.87]]]
    assert all(list(line.get_xdata()) == [4, 5] for axes in figure.axes for line in axes.lines)
    assert "After 5 epochs, 87.00%" in figure.get_suptitle()
    assert figure.axes[0].get_ylabel().endswith("(nats)") and figure.axes[1].get_xlabel() == "epoch"
    plots.plt.close(figure)


def test_the_confusion_matrix_counts(texts):
    labels = np.array([0, 0, 0, 0, 4, 4, 9])
    read = np.array([0, 0, 0, 6, 9, 9, 9])
    words = texts(plots.draw_confusion(read, labels))
    assert "57.14% of 7 test images" in words and "a 4 is taken for a 9: 2 of 2" in words
    assert "most often" not in texts(plots.draw_confusion(labels, labels))


def test_the_surest_mistakes_come_first_and_are_never_quite_sure(texts):
    probabilities = np.full((20, 10), 0.001)
    probabilities[np.arange(20), np.arange(20) % 10] = 0.991
    probabilities[7], probabilities[3] = 1e-9, 0.0
    probabilities[7, 7], probabilities[3, 5] = 1, 0.995
    labels = np.array([0] * 20)
    words = texts(plots.draw_mistakes(np.zeros((20, 28, 28), np.uint8), probabilities, labels))
    titles = re.findall(r"0, read as (\d)\n([\d.]+)% sure", words)
    assert "The 16 of 18 mistakes" in words and len(titles) == 16
    assert titles[:2] == [("7", "99.99"), ("5", "99.50")]
    right = np.eye(10)[labels]
    assert plots.draw_mistakes(np.zeros((20, 28, 28), np.uint8), right, labels) is None


@pytest.mark.parametrize(("filters", "panels"), [(1, 1), (9, 9), (70, 32)])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_the_maps_of_all_filters_are_drawn_but_not_too_many(mnist, filters, panels, activation):
    network = CNNJit(filters, activation, 0, 13)
    figure = plots.draw_filters(network, mnist.test_images[0], 7)
    shapes = [image.get_array().shape for axes in figure.axes for image in axes.images]
    assert shapes.count((3, 3)) == shapes.count((26, 26)) == panels
    assert figure.get_suptitle().startswith("32 of the 70" if filters == 70 else f"{filters} filter")
    plots.plt.close(figure)
