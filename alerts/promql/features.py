"""Prometheus's feature flags that mean something to the engine, by Prometheus's own names.

Source: Prometheus documentation, "Feature flags".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

EXPERIMENTAL_FUNCTIONS: Final = "promql-experimental-functions"
"""Functions whose name or meaning may still change in Prometheus."""

DELAYED_NAME_REMOVAL: Final = "promql-delayed-name-removal"
"""The metric name goes off results when the query is done, not in each operator."""

DURATION_EXPRESSIONS: Final = "promql-duration-expr"
"""Arithmetic in durations, which is always there; known so that nobody has to take it out."""

FEATURES: Final = (DELAYED_NAME_REMOVAL, DURATION_EXPRESSIONS, EXPERIMENTAL_FUNCTIONS)
"""All of them, sorted."""


def known_feature(name: str) -> str:
    """Return the name of a feature as it is.

    Raises:
        ValueError: There is no such feature here; names those there are.
    """
    if name not in FEATURES:
        raise ValueError(
            f"{name!r} is no feature that is known here; known are {', '.join(FEATURES)}"
        )
    return name


def known_features(texts: Iterable[str]) -> frozenset[str]:
    """Return the features of texts such as ``a,b``, as Prometheus's commands take them.

    Raises:
        ValueError: One of them is not known.
    """
    names = (name.strip() for text in texts for name in text.split(","))
    return frozenset(known_feature(name) for name in names if name)
