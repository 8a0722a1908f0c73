"""Benchmark: what bench.py compares with, and how its figures become tables and charts.

The measuring itself is in bench.py; another peer, table or chart belongs here.
"""
