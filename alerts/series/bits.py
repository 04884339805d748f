"""The two NaN bit patterns that are no values: "no sample here" and Prometheus's staleness marker.

They differ only in the lowest bit, so one mask tells both from every ordinary number and NaN.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

STALE_BITS: Final = np.uint64(0x7FF0000000000002)
MISSING_BITS: Final = np.uint64(0x7FF0000000000003)
_CLEAR_LOWEST: Final = np.uint64(0xFFFFFFFFFFFFFFFE)

STALE: Final = float(np.array([STALE_BITS]).view(np.float64)[0])
"""Prometheus's StaleNaN: the series ended here. Compare by ``is_stale``, never by ``==``."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def empty_columns(shape: tuple[int, int]) -> Floats:
    """Return a matrix in which no sample is set."""
    return np.full(shape, MISSING_BITS, dtype=np.uint64).view(np.float64)


def is_stale(values: Floats) -> Bools:
    """Tell which values are staleness markers."""
    return np.equal(values.view(np.uint64), STALE_BITS)


def is_missing(values: Floats) -> Bools:
    """Tell at which places no sample was ever set."""
    return np.equal(values.view(np.uint64), MISSING_BITS)


def is_absent(values: Floats) -> Bools:
    """Tell which places hold no sample: nothing was set, or a staleness marker was."""
    bits: NDArray[np.uint64] = values.view(np.uint64) & _CLEAR_LOWEST
    return np.equal(bits, STALE_BITS)


def ordinary(values: Floats) -> Floats:
    """Return the values with every NaN but the staleness marker made the ordinary NaN."""
    nan = np.isnan(values)
    if not nan.any():
        return values
    cleaned = values.copy()
    cleaned[nan & ~is_stale(values)] = np.nan
    return cleaned
