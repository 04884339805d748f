"""TCP and TLS connections of probes, each step timed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohappyeyeballs

from service.health.conditions.findings import Placeholder
from service.health.probes import attributes as names
from service.health.probes.certificates import tls_attributes
from service.health.probes.outcome import Fault
from service.health.probes.run import ProbeError, Run
from service.pools.lookups import Lookups
from service.pools.request_record import CURRENT_RECORD, RequestRecord

_RACE_DELAY_S = 0.25
"""How long one address is tried before the next is as well (RFC 8305)."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def resolve(
    run: Run,
    lookups: Lookups,
    host: str,
    port: int,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> list[aiohappyeyeballs.AddrInfoType]:
    """Return the addresses of a host and note how long that took.

    Raises:
        ProbeError: It has none.
        OSError: The name does not resolve.
    """
    started_s = run.clock.monotonic()
    found = await lookups.addresses(host, port, kind)
    run.attributes[names.RESOLVE_S] = run.clock.monotonic() - started_s
    if not found:
        raise ProbeError(Fault("the name has no address", "dns", Placeholder.CONNECTED))
    return found


async def connected_socket(run: Run, lookups: Lookups, host: str, port: int) -> socket.socket:
    """Return a socket that is connected to a host; it is the caller's to close.

    Raises:
        ProbeError: The host has no address.
        OSError: No connection.
    """
    addresses = await resolve(run, lookups, host, port)
    started_s = run.clock.monotonic()
    try:
        plain = await aiohappyeyeballs.start_connection(
            addresses, happy_eyeballs_delay=_RACE_DELAY_S, interleave=1
        )
    except OSError as error:
        # The frames of the library hold the error that holds them, and all of them the run.
        raise error.with_traceback(None) from None
    try:
        run.address = str(plain.getpeername()[0])
    except BaseException:
        plain.close()
        raise
    run.attributes[names.ADDRESS] = run.address
    run.attributes[names.CONNECT_S] = run.clock.monotonic() - started_s
    return plain


@asynccontextmanager
async def connection(
    run: Run,
    lookups: Lookups,
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None = None,
    server_name: str = "",
) -> AsyncIterator[Streams]:
    """Connect to a host, with TLS if there is a context for it, and close in the end.

    Raises:
        ProbeError: The host has no address.
        OSError: No connection.
    """
    plain = await connected_socket(run, lookups, host, port)
    try:
        reader, writer = await _streams(run, plain, context, server_name or host)
    except BaseException:
        plain.close()
        raise
    run.connected = True
    try:
        yield reader, writer
    finally:
        await close(writer)


async def secure(
    run: Run, writer: asyncio.StreamWriter, context: ssl.SSLContext, server_name: str
) -> None:
    """Go on with TLS on an open connection, as after STARTTLS.

    Raises:
        OSError: The handshake failed.
    """
    record = RequestRecord(run.clock)
    token = CURRENT_RECORD.set(record)
    try:
        await writer.start_tls(context, server_hostname=server_name)
    finally:
        CURRENT_RECORD.reset(token)
    run.attributes |= tls_attributes(record.tls)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection whose other side may be gone or not close it in turn."""
    writer.transport.abort()
    with contextlib.suppress(OSError):  # how it ended does not matter any more
        await writer.wait_closed()


async def _streams(
    run: Run, plain: socket.socket, context: ssl.SSLContext | None, server_name: str
) -> Streams:
    if context is None:
        return await asyncio.open_connection(sock=plain)
    record = RequestRecord(run.clock)
    token = CURRENT_RECORD.set(record)
    try:
        return await asyncio.open_connection(sock=plain, ssl=context, server_hostname=server_name)
    finally:
        CURRENT_RECORD.reset(token)
        run.attributes |= tls_attributes(record.tls)
