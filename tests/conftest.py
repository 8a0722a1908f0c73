"""Where there is no GPU, the kernels run in Numba's CUDA simulator: its switch must be set before numba is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROBE = "import sys; from gpu_launch import gpu_problem; sys.exit(gpu_problem() is not None)"
HAS_GPU = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT, check=False).returncode == 0

if not HAS_GPU:
    os.environ["NUMBA_ENABLE_CUDASIM"] = "1"


def pytest_report_header():
    return f"CUDA kernels run {'on the GPU' if HAS_GPU else 'in the simulator: no CUDA GPU here'}"


@pytest.fixture(scope="session")
def mnist():
    import mnist_data

    return mnist_data.load()


@pytest.fixture(scope="session")
def script():
    """A function that runs one of the scripts as a user would, without the simulator: (stdout, stderr, status)."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}

    def run(name, *options, cwd=ROOT, **more):
        command = [sys.executable, str(ROOT / name), *map(str, options)]
        done = subprocess.run(
            command, cwd=cwd, env=environment | more, capture_output=True, text=True, timeout=300, check=False
        )
        return done.stdout, done.stderr, done.returncode

    return run
