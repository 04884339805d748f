"""Time series in memory: label sets, the index over them and columns of samples."""
