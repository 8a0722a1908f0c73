"""The figures that explain the GPU: they show what the launch and the sum really do."""

import numpy as np
import pytest
from matplotlib.colors import same_color
from PIL import Image

from benchmark import figures
from figure_style import plt


def test_idle_threads_are_grey():
    figure = figures.draw_blocks()
    colours = [patch.get_facecolor() for patch in figure.axes[0].patches if patch.get_fill()]
    assert sum(same_color(colour, figures.IDLE) for colour in colours) == 1024 - 676
    assert sum(same_color(colour, figures.BUSY) for colour in colours) == 676
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["block (0, 0)\n256 of 256", "block (1, 0)\n160 of 256", "block (0, 1)\n160 of 256",
                     "block (1, 1)\n100 of 256"]  # fmt: skip
    plt.close(figure)


@pytest.mark.parametrize("size, block, threads", [(13, (32, 32), 1024), (26, (8, 8), 1024), (5, (4, 2), 48)])
def test_threads_over_an_output(size, block, threads):
    busy = figures.threads_over(size, block)
    assert busy.size == threads and busy.sum() == size * size and busy[:size, :size].all()


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_halving_ends_with_the_sum(count):
    values = np.arange(1.0, count + 1)
    rounds = figures.halving(values)
    assert [len(numbers) for numbers in rounds][-1] == 1 and rounds[-1][0] == pytest.approx(values.sum())
    assert all(numbers.sum() == pytest.approx(values.sum()) for numbers in rounds)


def test_halving_of_the_example_in_the_layers_file():
    """softmax_gpu.py works the same sixteen numbers by hand."""
    import softmax_gpu

    rounds = figures.halving(figures.VALUES)
    assert [len(numbers) for numbers in rounds] == [16, 8, 4, 2, 1]
    for numbers in rounds[1:]:
        assert f"{numbers[0]:.3f}" in softmax_gpu.__doc__


def test_both_are_written(tmp_path, in_process):
    out, err, status = in_process("benchmark/figures.py", "--output", tmp_path / "new")
    assert (err, status) == ("", 0) and out.count(": written\n") == 2
    for name in ("blocks26", "halving"):
        with Image.open(tmp_path / "new" / f"{name}.png") as picture:
            pixels = np.asarray(picture.convert("RGB"))
        assert min(pixels.shape[:2]) > 700
        edges = pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]
        assert all((edge == 255).all() for edge in edges), "nothing is cut off"
