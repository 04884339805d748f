"""What ``benchmarks/rules.py`` is made of, and the programs it runs."""
