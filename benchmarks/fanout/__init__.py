"""The parts of ``benchmarks/fanout.py``."""
