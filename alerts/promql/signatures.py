"""What functions and aggregations take and give, and which of them are experimental.

Source: promql/parser/functions.go of Prometheus 3.14.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from alerts.promql.values import ValueKind

_KINDS: Final[Mapping[str, ValueKind]] = MappingProxyType(
    {"v": "vector", "s": "scalar", "m": "matrix", "t": "string"}
)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and gives.

    Attributes:
        takes: Types of the arguments; the last one's is that of any further arguments.
        at_least: How many arguments there must be.
        at_most: How many there may be; None for any number.
        gives: Type of the value.
        experimental: Whether it must be enabled.
    """

    takes: tuple[ValueKind, ...]
    at_least: int
    at_most: int | None
    gives: ValueKind
    experimental: bool


def _signatures() -> Iterator[tuple[str, Signature]]:
    """Read the table: letters of the arguments, ``?`` after an optional one, ``*`` for any more."""
    for line in _TABLE.strip().splitlines():
        takes, _, rest = line.strip().partition(" -> ")
        gives, *names = rest.split()
        experimental = gives.endswith("!")
        letters = [letter for letter in takes if letter in _KINDS]
        at_least = len(letters) - ("?" in takes) - ("*" in takes)
        signature = Signature(
            tuple(_KINDS[letter] for letter in letters),
            at_least,
            None if "*" in takes else len(letters),
            _KINDS[gives.rstrip("!")],
            experimental,
        )
        for name in names:
            yield name, signature


_TABLE: Final = """
- -> s pi time
- -> s! start end step range
ss -> s! min_of max_of
s -> v vector
v -> s scalar
v -> v abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor ln log10 log2 rad
v -> v sgn sin sinh sort sort_desc sqrt tan tanh timestamp
v -> v histogram_avg histogram_count histogram_stddev histogram_stdvar histogram_sum
v? -> v day_of_month day_of_week day_of_year days_in_month hour minute month year
vs -> v clamp_max clamp_min
vs? -> v round
vss -> v clamp
sv -> v histogram_quantile
ssv -> v histogram_fraction
vtttt -> v label_replace
vttt* -> v label_join
vt* -> v! sort_by_label sort_by_label_desc
m -> v absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta
m -> v increase irate last_over_time max_over_time min_over_time present_over_time rate resets
m -> v stddev_over_time stdvar_over_time sum_over_time
m -> v! mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time
m -> v! ts_of_min_over_time
ms -> v predict_linear
mss -> v! double_exponential_smoothing
sm -> v quantile_over_time
"""
FUNCTIONS: Final[Mapping[str, Signature]] = MappingProxyType(dict(_signatures()))

AGGREGATIONS: Final[Mapping[str, ValueKind | None]] = MappingProxyType(
    {
        "avg": None,
        "bottomk": "scalar",
        "count": None,
        "count_values": "string",
        "group": None,
        "max": None,
        "min": None,
        "quantile": "scalar",
        "stddev": None,
        "stdvar": None,
        "sum": None,
        "topk": "scalar",
    }
)
"""The aggregations, and the type of their parameter."""

UNSUPPORTED: Final = frozenset(
    {"histogram_quantiles", "info", "limit_ratio", "limitk", "start_timestamp"}
)
"""Experimental functions and aggregations that Prometheus has and this engine has not."""
