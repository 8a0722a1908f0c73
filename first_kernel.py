"""The first kernel to read: twice every number, one thread for each.

$ python first_kernel.py                          on a GPU
$ NUMBA_ENABLE_CUDASIM=1 python first_kernel.py   without one, in Numba's simulator
[ 0.  2.  4.  6.  8. 10. 12. 14. 16. 18.]
"""

if __name__ == "__main__":
    import quiet_start  # noqa: F401 (Ctrl-C during the imports below)

import numpy as np
from numba import cuda

from errors import Parser, UserError, run
from gpu_launch import gpu_problem


@cuda.jit
def double(numbers, output):
    """numbers (N,) -> output (N,). A thread is one number."""
    i = cuda.grid(1)  # where this thread stands: number of the block * threads in a block + number in the block
    if i < len(output):  # the guard: the last block is seldom full
        output[i] = 2 * numbers[i]


def doubled(count):
    """Twice the numbers 0 to count - 1, (count,) float32."""
    numbers = cuda.to_device(np.arange(count, dtype=np.float32))  # host -> device
    output = cuda.device_array(count, np.float32)
    threads = 4  # in a block
    blocks = -(-count // threads)  # rounded up: 3 for 10 numbers
    double[blocks, threads](numbers, output)  # returns at once
    cuda.synchronize()  # waits for the kernel; the copy below would wait, too
    return output.copy_to_host()  # device -> host


def main(argv=None):
    Parser(description=__doc__.splitlines()[0]).parse_args(argv)
    if problem := gpu_problem():
        raise UserError(f"no GPU can be used here: {problem}; try NUMBA_ENABLE_CUDASIM=1 python first_kernel.py")
    print(doubled(10))


if __name__ == "__main__":
    run(main)
