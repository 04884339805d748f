"""The other processes that serve the same channels, as the server API sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from service.gateway.requests import Request

Result = dict[str, Any]
Method = Callable[[Request], Awaitable[Result]]
"""A method of the server API, as one process executes it for itself."""


class Peers(Protocol):
    """Passes requests of the server API on to all other processes.

    Attributes:
        name: What people call this process.
        uid: What others call it, which is good for one life of it.
    """

    name: str
    uid: str

    def serve(self, methods: Mapping[str, Method]) -> None:
        """Execute these methods for others; called once, before anything else."""

    async def tell(self, method: str, request: Request) -> None:
        """Have all others execute a request; does not wait until they have.

        Raises:
            ProtocolError: They cannot be reached (100).
        """

    async def ask(self, method: str, request: Request) -> list[Result]:
        """Have all others execute a request and return the answers of those that gave one.

        Raises:
            ProtocolError: They cannot be reached (100).
        """


class NoPeers:
    """There are no other processes."""

    def __init__(self, name: str) -> None:
        """Be alone, under a name."""
        self.name = self.uid = name

    def serve(self, methods: Mapping[str, Method]) -> None:
        """Do nothing: nobody asks."""

    async def tell(self, method: str, request: Request) -> None:
        """Do nothing: there is nobody to tell."""

    async def ask(self, method: str, request: Request) -> list[Result]:
        """Return nothing: there is nobody to ask."""
        return []


def everywhere(name: str, method: Method, peers: Peers) -> Method:
    """Return a method that acts on the clients of all processes, from one of this process."""

    async def act(request: Request) -> Result:
        result = await method(request)  # first, as it may be refused
        await peers.tell(name, request)
        return result

    return act
