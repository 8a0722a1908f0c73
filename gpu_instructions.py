"""Instructions of the GPU that Numba has no name for, and `index`, a hint to the compiler.

An `@intrinsic` function generates LLVM code, the compiler's own language: it returns the types of its result and its
arguments, and a function that generates the code. With `InlineAsm` the code holds a PTX instruction as it is. PTX is
the assembly language of NVIDIA's GPUs (NVIDIA, "PTX ISA": `red`, `ld`, and the chapter on memory consistency).

The simulator runs Python and not PTX: there these are plain functions, or are not called.
"""

from llvmlite import ir
from numba import cuda, float32, int32, void
from numba.core.types import UniTuple
from numba.extending import intrinsic

from gpu_launch import SIMULATED


def address_of(context, builder, array_type, array):
    """The address of an array's first element, in LLVM."""
    return context.make_array(array_type)(context, builder, array).data


@intrinsic
def add_release(typing_context, array):
    """array[0] += 1 in memory, atomically, after everything that was written before it ("release")."""

    def generate(context, builder, signature, arguments):
        address = address_of(context, builder, signature.args[0], arguments[0])
        function = ir.FunctionType(ir.VoidType(), [address.type])
        add = ir.InlineAsm(function, "red.release.gpu.add.s32 [$0], 1;", "l,~{memory}", side_effect=True)
        builder.call(add, [address])
        return context.get_dummy_value()

    return void(array), generate


@intrinsic
def load_acquire(typing_context, array):
    """array[0] as all blocks see it, not from a register or the L1 cache, before anything read after it ("acquire")."""

    def generate(context, builder, signature, arguments):
        address = address_of(context, builder, signature.args[0], arguments[0])
        function = ir.FunctionType(ir.IntType(32), [address.type])
        load = ir.InlineAsm(function, "ld.acquire.gpu.b32 $0, [$1];", "=r,l,~{memory}", side_effect=True)
        return builder.call(load, [address])

    return int32(array), generate


if SIMULATED:

    def index(i):
        """i"""
        return i

    def load_pair(array, i):
        """(array[i], array[i + 1])"""
        return array[i], array[i + 1]

    def load_four(array, i):
        """array[i] to array[i + 3]"""
        return array[i], array[i + 1], array[i + 2], array[i + 3]

else:

    @cuda.jit(device=True)
    def index(i):
        """i, at least 0 and below 2**31, masked so that the compiler knows it is not negative.

        In Numba, as in NumPy, an index below zero counts from the end, and the check for it costs more than the access
        itself: in the kernels of epoch_gpu.py it was four instructions in five. After this mask the compiler sees that
        the index cannot be negative, and leaves the check out.
        """
        return i & 0x7FFFFFFF

    def generate_load(context, builder, signature, arguments):
        """The code of `load_pair` and `load_four`: as many numbers as the result has, by one load."""
        address = builder.gep(address_of(context, builder, signature.args[0], arguments[0]), [arguments[1]])
        count = signature.return_type.count
        vector = builder.load(builder.bitcast(address, ir.VectorType(ir.FloatType(), count).as_pointer()))
        vector.align = 4 * count
        values = [builder.extract_element(vector, ir.Constant(ir.IntType(32), n)) for n in range(count)]
        return context.make_tuple(builder, signature.return_type, values)

    @intrinsic
    def load_pair(typing_context, array, i):
        """(array[i], array[i + 1]) of a float32 array by one load of eight bytes; i must be even."""
        return UniTuple(float32, 2)(array, i), generate_load

    @intrinsic
    def load_four(typing_context, array, i):
        """array[i] to array[i + 3] of a float32 array by one load of 16 bytes; i must be a multiple of four."""
        return UniTuple(float32, 4)(array, i), generate_load
