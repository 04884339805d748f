"""Who is in which channel, in the memory of this process. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.codec import Fragment


@dataclass(frozen=True, slots=True)
class PresentClient:
    """A client in a channel.

    Attributes:
        user: Id of its user; empty for an anonymous one.
        info: Its ClientInfo as JSON.
    """

    user: str
    info: bytes


class MemoryPresence:
    """The clients of all channels with presence."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._channels: dict[str, dict[str, PresentClient]] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def enter(self, channel: str, client_id: str, client: PresentClient) -> None:
        """Note that a client is in a channel."""
        self._channels.setdefault(channel, {})[client_id] = client

    def leave(self, channel: str, client_id: str) -> None:
        """Note that it no longer is; unknown ones are ignored."""
        clients = self._channels.get(channel)
        if clients is not None and clients.pop(client_id, None) is not None and not clients:
            del self._channels[channel]

    def channels(self) -> tuple[str, ...]:
        """Return the channels somebody is in."""
        return tuple(self._channels)

    def of(self, channel: str) -> Mapping[str, PresentClient]:
        """Return the clients of a channel by id."""
        return dict(self._channels.get(channel, {}))


def presence_result(clients: Mapping[str, PresentClient]) -> dict[str, Any]:
    """Return the fields of an answer that says who is in a channel."""
    return {"presence": {name: Fragment(client.info) for name, client in clients.items()}}


def presence_stats_result(clients: Mapping[str, PresentClient]) -> dict[str, Any]:
    """Return the fields of an answer that says how many are."""
    users = {client.user for client in clients.values()}
    return {"num_clients": len(clients), "num_users": len(users)}
