"""Counts of the gateway: plain integers on the hot path, read when metrics are collected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class GatewayStats:
    """Counts since the start, but for ``subscriptions``, which is a level.

    Attributes:
        received: Publications accepted, by source: ``api`` or ``client``.
        delivered: Publications written to subscribers, once for each.
        dropped: Deliveries that were not made, by reason.
        conflated: Publications that a newer one in the same window took the place of.
        recovered: Subscribers that came back and got what they missed.
        unrecovered: Subscribers that came back and could not.
        positions_lost: Subscriptions ended because a publication was missing.
        bytes_in: Payload bytes of frames from clients.
        bytes_out: Payload bytes of frames to clients.
        subscriptions: Subscriptions of open connections.
        commands: Commands by method and outcome (empty: success, else the error code).
        bad_keys: API requests with a wrong or no key.
    """

    received: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    conflated: int = 0
    recovered: int = 0
    unrecovered: int = 0
    positions_lost: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    subscriptions: int = 0
    commands: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad_keys: int = 0
