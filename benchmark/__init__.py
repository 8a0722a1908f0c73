"""Benchmark: what bench.py compares, times and reports with. bench.py itself says what is measured.

rungs       the ways to train, which of them this machine allows, and how one is trained and timed
agreement   whether all engines learned the same
timing      how something is timed; the median and its spread
machine     the GPU, the CPU and the versions; the least time that an epoch can take
first_step  the first batch in a new process: compilation
peers       the same network in PyTorch and JAX
text        numbers as text
tables      what was measured, as Markdown tables
charts      what was measured, as pictures
report      all tables together, in the terminal and in README.md

Another way to train, another peer, table or chart belongs here. Nothing here imports bench.py.
"""
