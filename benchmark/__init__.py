"""Benchmark: what bench.py compares, times and reports with. bench.py itself says what is measured.

rungs         the ways to train, which of them this machine allows, and how one is trained and timed
agreement     whether all engines learned the same
timing        how something is timed; the median and its spread
machine       the GPU, the CPU and the versions; the least time that an epoch can take
first_step    the first batch in a new process: compilation
kernels       the kernels of a step, one by one: threads, registers, occupancy, time
wrong_timing  three ways to time a GPU wrong
peers         the same network in PyTorch and JAX
text          numbers as text
block_shapes  which block shapes differ, and by how much
tables        what was measured, as Markdown tables; gpu_tables: about the GPU itself
charts        what was measured, as pictures; gpu_charts: about the GPU itself; chart_style: how they look
report        all tables together, in the terminal and in README.md
figures       the figures of README.md that explain the GPU

Another way to train, another peer, table or chart belongs here. Nothing here imports bench.py.
"""
