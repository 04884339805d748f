"""PromQL: parse, plan once, evaluate over series x steps matrices."""
