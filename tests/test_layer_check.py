"""layer_check.py: the comparing and the timing that the layers' files share."""

import subprocess

import numpy as np
import pytest
from conftest import HAS_GPU
from numba import cuda

import layer_check
import pool_gpu
from gpu_launch import SIMULATED
from layer_check import Work, difference, useful_share

BLOCK = (8, 8)


def test_a_difference_is_relative_to_the_largest_number_or_to_1():
    assert difference(np.array([100, 2.0]), [100, 1.0]) == pytest.approx(0.01)
    assert difference(np.array([0.1, 0.3]), [0.1, 0.1]) == pytest.approx(0.2)
    assert difference(cuda.to_device(np.array([True, False])), np.array([True, True])) == 1
    assert np.isnan(difference(np.array([0, np.nan]), [0, 1]))


def test_arrays_of_different_shapes_are_not_compared():
    with pytest.raises(ValueError, match="the kernels give"):  # NumPy would stretch one over the other
        difference(np.zeros((2, 1)), np.zeros((2, 2)))


@pytest.mark.parametrize(
    "elements, block, wanted",
    [
        ((16, 16), (8, 8), 1),
        ((13, 13), (32, 32), 169 / 1024),
        ((26, 26), (16, 16), 676 / 1024),
        ((64,), (8, 8), 1),
        ((64,), (32, 32), 1 / 16),
        ((65,), (8, 8), 65 / 128),
    ],
)
def test_useful_share(elements, block, wanted):
    assert useful_share(elements, block) == pytest.approx(wanted)


def test_the_times_are_printed(monkeypatch, capsys):
    """Also in the simulator, where no graph is recorded: all but the recording runs there too."""
    monkeypatch.setattr(layer_check, "LAUNCHES", 2)
    monkeypatch.setattr(layer_check, "REPLAYS", 3)
    work = Work(image_size=6, filters=1, images=1, blocks=((2, 2), (2, 1)))
    assert layer_check.report_times(pool_gpu.steps_of(work), work, "a card") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("a card, median of 3 x 2 launches") and ("the work of Python included" in head) == SIMULATED
    assert [line.split()[1] for line in lines] == ["2x2", "2x1"]
    assert all("us (100%)" in line for line in lines)


def test_a_layer_is_launched_in_the_default_stream_after_its_timing(monkeypatch):
    monkeypatch.setattr(layer_check, "LAUNCHES", 1)
    monkeypatch.setattr(layer_check, "REPLAYS", 1)
    layer, (forward, _) = pool_gpu.steps_of(Work(6, 1, 1, ()))((2, 2))
    assert layer_check.microseconds(layer, forward.launch) > 0
    assert layer.stream == 0


@pytest.mark.skipif(HAS_GPU, reason="with a GPU it runs no other process")
def test_the_status_is_that_of_the_process_in_the_simulator(monkeypatch, capsys):
    asked = {}

    def call(command, env, **_):
        asked.update(command=command, env=env)
        return 1

    monkeypatch.setattr(layer_check, "SIMULATED", False)
    monkeypatch.setattr(layer_check, "gpu_problem", lambda: "none here")
    monkeypatch.setattr(subprocess, "call", call)
    assert pool_gpu.main([]) == 1
    assert asked["command"][1].endswith("pool_gpu.py") and asked["env"]["NUMBA_ENABLE_CUDASIM"] == "1"
    assert capsys.readouterr().out.startswith("no GPU can be used here (none here)")
