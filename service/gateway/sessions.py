"""Connected clients by user, for those who act on the clients of a user."""

from __future__ import annotations

from service.gateway.client import Client


class Sessions:
    """The connected clients of the process."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._users: dict[str, dict[str, Client]] = {}

    def __len__(self) -> int:
        """Return how many users there are."""
        return len(self._users)

    def add(self, client: Client) -> None:
        """Note a client that has connected; its user does not change any more."""
        self._users.setdefault(client.user, {})[client.id] = client

    def remove(self, client: Client) -> None:
        """Note that it is gone; one that never connected is ignored."""
        clients = self._users.get(client.user)
        if clients is not None and clients.pop(client.id, None) is not None and not clients:
            del self._users[client.user]

    def of(self, user: str, client_id: str = "") -> list[Client]:
        """Return the clients of a user (empty: the anonymous one), or one of them."""
        clients = self._users.get(user, {})
        if client_id:
            return [clients[client_id]] if client_id in clients else []
        return list(clients.values())
