"""One connection to one server: commands out, replies in. The only module that uses redis-py.

Nothing is repeated here: whoever sent a command decides what becomes of it when the connection is
lost, because a publication that may have been made must not be made twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, Protocol

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import RedisError, ResponseError

from service.config.redis_address import Endpoint, RedisAddress

Argument = str | bytes | int
Command = tuple[Argument, ...]
Reply = Any

FAILURES: Final = (RedisError, OSError, EOFError, TimeoutError)
"""What a connection that is lost, refused or of no use raises."""


def reason_of(error: BaseException, timeout_s: float) -> str:
    """Return why a connection was lost or not made, for those who look after the server.

    Args:
        error: What was raised, alone or in groups.
        timeout_s: How long connecting may take.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, TimeoutError) and not str(error):
        return f"it does not answer; no connection within {timeout_s:g} s"
    return str(error) or type(error).__name__


class ServerConnection(Protocol):
    """An open connection, as those see it who send commands over it."""

    async def write(self, commands: Iterable[Command]) -> None:
        """Send commands in order."""

    async def read(self) -> Reply:
        """Return the next reply, however long it takes; an error of the server is a reply."""

    async def close(self) -> None:
        """End the connection without waiting for anything."""


class RedisConnection:
    """A connection; opened once, closed once."""

    def __init__(
        self, endpoint: Endpoint, address: RedisAddress, *, timeout_s: float, sentinel: bool = False
    ) -> None:
        """Prepare a connection to an endpoint with the login and encryption of an address.

        Args:
            endpoint: The server.
            address: How servers are spoken to.
            timeout_s: How long connecting may take.
            sentinel: Whether the server is a sentinel, which has a login of its own.
        """
        self.endpoint = endpoint
        username = address.sentinel_username if sentinel else address.username
        password = address.sentinel_password if sentinel else address.password
        options: dict[str, Any] = {
            "db": 0 if sentinel else address.database,
            "username": username or None,
            "password": password or None,
            # Who reads and writes has deadlines; redis-py's own lose cancellations on Python 3.11.
            "socket_timeout": None,
            "socket_connect_timeout": timeout_s,
            "protocol": 2,
            "driver_info": None,
        }
        self._connection: AbstractConnection
        if endpoint.path:
            self._connection = UnixDomainSocketConnection(path=endpoint.path, **options)
        elif address.tls:
            options |= address.tls_files
            self._connection = SSLConnection(host=endpoint.host, port=endpoint.port, **options)
        else:
            self._connection = Connection(host=endpoint.host, port=endpoint.port, **options)

    async def open(self) -> None:
        """Connect and log in.

        Raises:
            RedisError: It cannot be done.
        """
        await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's omission
        # A server that is still loading says so now, and not to the first publication.
        reply = await self.ask(("PING",))
        if isinstance(reply, ResponseError):
            raise reply

    async def ask(self, command: Command) -> Reply:
        """Send one command while nothing else is on its way, and return its reply."""
        await self.write([command])
        return await self.read()

    async def write(self, commands: Iterable[Command]) -> None:
        """Send commands in order."""
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)

    async def read(self) -> Reply:
        """Return the next reply, however long it takes; an error of the server is a reply."""
        try:
            return await self._connection.read_response(disable_decoding=True, timeout=math.inf)
        except ResponseError as error:
            return error

    async def close(self) -> None:
        """End the connection without waiting for anything."""
        await self._connection.disconnect(nowait=True)
