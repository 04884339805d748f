"""Counts of the connections to Redis: plain integers, read when metrics are collected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

ERROR_REASONS: Final = ("away", "full", "lost", "refused")
"""Why a command was not executed: there was no connection in time, or too many commands waited for
it, or it was lost before the answer came, or Redis answered with an error."""


@dataclass(slots=True)
class RedisStats:
    """Counts since the start, but for ``connected``, which is a level.

    Attributes:
        connected: Connections that are up.
        reconnects: Connections that were lost and made again.
        errors: Commands without success, by one of ``ERROR_REASONS``.
        received: Messages that came from Redis.
        unreadable: Messages that came and were not of this kind of broker.
    """

    connected: int = 0
    reconnects: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    received: int = 0
    unreadable: int = 0
