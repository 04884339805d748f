"""Looking up names on threads of their own.

The system's resolver blocks for as long as its servers are silent. On the event loop's own threads
a few such names would keep everybody else from theirs, and from the disk.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from aiohappyeyeballs import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

MAX_LOOKUPS = 32
"""Names that are looked up at the same time; others wait."""


class Lookups:
    """The threads, which start when they are needed; a context manager."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="gatewatch-lookup")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Look up nothing any more; lookups in progress are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def addresses(
        self, host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> list[AddrInfoType]:
        """Return the addresses of a host; of an address itself, without a thread.

        Raises:
            OSError: The name does not resolve.
        """
        look = functools.partial(socket.getaddrinfo, host, port, type=kind)
        if _is_address(host):
            return list(look(flags=socket.AI_NUMERICHOST))
        try:
            return list(await asyncio.get_running_loop().run_in_executor(self._threads, look))
        except UnicodeError as error:  # a label that is too long, or empty
            message = f"{host!r} is no name: {error}"
            raise socket.gaierror(socket.EAI_NONAME, message) from error


class LookupResolver(AbstractResolver):
    """aiohttp's resolver, on ``Lookups``."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: The name does not resolve.
        """
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=found,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found, _, protocol, _, address in await self._lookups.addresses(host, port)
            if family in (socket.AF_UNSPEC, found)
        ]

    async def close(self) -> None:
        """Do nothing: the threads belong to somebody else."""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
