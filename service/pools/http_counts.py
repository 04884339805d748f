"""What an HTTP pool knows about its connections, and how it comes to know it.

aiohttp tells when a request starts to wait, when a connection is created and when one is reused
(``TraceConfig``), but never when a connection is given back or closed. Those two come from public
seams of the connector instead:

- ``CountingConnector.connect`` is the documented way a connection leaves the pool; the callback
  it leaves on the connection runs when the connection is given back or dropped. In between the
  connection is *in use*.
- ``TCPConnector(socket_factory=...)`` lets us make the sockets. ``CountingSocket`` reports its own
  end, so a connection is *open* exactly as long as the operating system has it, whoever closes it:
  the pool, the keep-alive timer, or the garbage collector.

*Idle* is open minus in use. A connection that is being closed counts as idle until its socket is
gone, usually one turn of the event loop. aiohttp applies its limits to connections in use (and
being established); idle ones come on top until they are reused or their keep-alive time is over.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import socket
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from aiohttp import AddrInfoType, ClientRequest, ClientTimeout, TCPConnector
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from service.pools.request_record import CURRENT_RECORD

MAX_ENDPOINTS = 64
"""Hosts that are counted one by one; past it the one unused for longest is forgotten."""


@dataclass(slots=True)
class EndpointStats:
    """Counts of one host and port; plain integers, changed on the event loop only.

    Attributes:
        host: Host of the URL.
        port: Port of the URL.
        open: Connections the operating system has, in use or idle.
        in_use: Connections a request or response holds.
        waiting: Requests that wait for a connection because a limit is reached.
        active: Requests in progress, from asking for a connection to releasing the response;
            counted for the host of the first URL, wherever redirects lead.
        created: Connections opened so far.
        reused: Requests that found an open connection.
        errors: Requests that got no usable answer.
    """

    host: str
    port: int
    open: int = 0
    in_use: int = 0
    waiting: int = 0
    active: int = 0
    created: int = 0
    reused: int = 0
    errors: int = 0

    @property
    def idle(self) -> int:
        """Open connections no request holds."""
        return max(0, self.open - self.in_use)

    @property
    def unused(self) -> bool:
        """Whether nothing is going on with this host."""
        return not (self.open or self.in_use or self.waiting or self.active)


@dataclass(frozen=True, slots=True)
class EndpointCounts:
    """A snapshot of ``EndpointStats``; the fields mean the same."""

    host: str
    port: int
    idle: int
    in_use: int
    waiting: int
    active: int
    created: int
    reused: int
    errors: int


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """A snapshot of a whole pool.

    Attributes:
        limit: Connections that may be in use at once.
        limit_per_host: The same for one host and port.
        idle: Open connections no request holds.
        in_use: Connections a request or response holds.
        waiting: Requests waiting for a connection.
        waiting_for_s: For how long at least one request has been waiting without a break; 0: none.
        requests: Requests begun so far.
        created: Connections opened so far.
        reused: Requests that found an open connection.
        errors: Requests that got no usable answer so far, by ``HTTPFailure`` value.
        endpoints: The same, host by host, for the hosts used last.
    """

    limit: int
    limit_per_host: int
    idle: int
    in_use: int
    waiting: int
    waiting_for_s: float
    requests: int
    created: int
    reused: int
    errors: dict[str, int]
    endpoints: tuple[EndpointCounts, ...]

    @property
    def failed(self) -> int:
        """Requests that got no usable answer so far, for any reason."""
        return sum(self.errors.values())


@dataclass(slots=True)
class HTTPPoolStats:
    """Totals of a pool and its hosts. Totals are counted apart: forgetting a host loses nothing."""

    open: int = 0
    in_use: int = 0
    waiting: int = 0
    waiting_since: float | None = None
    requests: int = 0
    created: int = 0
    reused: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    endpoints: OrderedDict[tuple[str, int], EndpointStats] = field(default_factory=OrderedDict)

    def endpoint(self, host: str, port: int) -> EndpointStats:
        """Return the counts of a host, new ones if it has none, and mark them as used last."""
        key = (host, port)
        found = self.endpoints.get(key)
        if found is None:
            found = self.endpoints[key] = EndpointStats(host, port)
            self._forget_unused()
        self.endpoints.move_to_end(key)
        return found

    def _forget_unused(self) -> None:
        excess = len(self.endpoints) - MAX_ENDPOINTS
        newest = next(reversed(self.endpoints))
        unused = [key for key, stats in self.endpoints.items() if stats.unused and key != newest]
        for key in unused[: max(0, excess)]:
            del self.endpoints[key]

    def start_waiting(self, endpoint: EndpointStats, now: float) -> None:
        """Count a request that found a limit reached, at a monotonic time."""
        endpoint.waiting += 1
        self.waiting += 1
        if self.waiting_since is None:
            self.waiting_since = now

    def stop_waiting(self, endpoint: EndpointStats) -> None:
        """Count off a request that got its connection or gave up."""
        endpoint.waiting -= 1
        self.waiting -= 1
        if self.waiting == 0:
            self.waiting_since = None

    def snapshot(self, limit: int, limit_per_host: int, now: float) -> PoolCounts:
        """Return the counts at a monotonic time."""
        since = self.waiting_since
        return PoolCounts(
            limit=limit,
            limit_per_host=limit_per_host,
            idle=max(0, self.open - self.in_use),
            in_use=self.in_use,
            waiting=self.waiting,
            waiting_for_s=0.0 if since is None else now - since,
            requests=self.requests,
            created=self.created,
            reused=self.reused,
            errors=self.errors.copy(),
            endpoints=tuple(
                EndpointCounts(
                    host=each.host,
                    port=each.port,
                    idle=each.idle,
                    in_use=each.in_use,
                    waiting=each.waiting,
                    active=each.active,
                    created=each.created,
                    reused=each.reused,
                    errors=each.errors,
                )
                for each in tuple(self.endpoints.values())
            ),
        )


@dataclass(slots=True)
class ConnectAttempt:
    """One call of ``connect``: the host it is for and the sockets made on its behalf."""

    endpoint: EndpointStats
    sockets: list[CountingSocket] = field(default_factory=list)
    waiting: bool = False


# The signals and the socket factory get no hint for which host they are called, but they run
# inside the connect call that causes them, or in tasks it starts. The variable carries exactly
# that relation; nothing else reads it.
CURRENT_ATTEMPT: ContextVar[ConnectAttempt | None] = ContextVar(
    "gatewatch_http_connect_attempt", default=None
)


class CountingSocket(socket.socket):
    """A socket that says once when it is closed, or detached by an event loop that closes it."""

    on_closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Close the socket."""
        self._ended()
        super().close()

    def detach(self) -> int:
        """Give the descriptor away; uvloop does this immediately before it closes it."""
        self._ended()
        return super().detach()

    def _ended(self) -> None:
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed()


class CountingConnector(TCPConnector):
    """A ``TCPConnector`` that counts connections open and in use.

    Args:
        stats: Where they are counted.
        public_only: Whether addresses that are not public are refused, whatever name they have.
        options: Those of the base.
    """

    def __init__(self, stats: HTTPPoolStats, *, public_only: bool = False, **options: Any) -> None:
        factory = _make_public_socket if public_only else _make_socket
        super().__init__(socket_factory=factory, **options)
        self._stats = stats

    async def connect(
        self, req: ClientRequest, traces: list[Trace], timeout: ClientTimeout
    ) -> Connection:
        """Return a connection from the pool, or a new one; may wait for one to be given back."""
        stats = self._stats
        endpoint = stats.endpoint(req.url.host or "", req.url.port or 0)
        attempt = ConnectAttempt(endpoint)
        token = CURRENT_ATTEMPT.set(attempt)
        try:
            connection = await super().connect(req, traces, timeout)
        finally:
            CURRENT_ATTEMPT.reset(token)
            if attempt.waiting:  # aiohttp sends no signal when a waiting request gives up
                stats.stop_waiting(endpoint)
        # No await from here on: a cancellation could otherwise lose the connection.
        for each in attempt.sockets:
            if each.fileno() != -1:  # the losers of a happy-eyeballs race are closed by now
                self._opened(endpoint, each)
                _note_address(each)
        endpoint.in_use += 1
        stats.in_use += 1
        connection.add_callback(functools.partial(self._released, endpoint))
        return connection

    def _opened(self, endpoint: EndpointStats, opened: CountingSocket) -> None:
        endpoint.open += 1
        self._stats.open += 1
        opened.on_closed = functools.partial(self._closed_socket, endpoint)

    def _closed_socket(self, endpoint: EndpointStats) -> None:
        endpoint.open -= 1
        self._stats.open -= 1

    def _released(self, endpoint: EndpointStats) -> None:
        endpoint.in_use -= 1
        self._stats.in_use -= 1


def _note_address(connected: socket.socket) -> None:
    record = CURRENT_RECORD.get()
    if record is not None:
        with contextlib.suppress(OSError):  # the loser of a race is closed, or the server was quick
            record.address = str(connected.getpeername()[0])


def _make_socket(address: AddrInfoType) -> CountingSocket:
    family, kind, protocol, _, _ = address
    made = CountingSocket(family=family, type=kind, proto=protocol)
    attempt = CURRENT_ATTEMPT.get()
    if attempt is not None:
        attempt.sockets.append(made)
    return made


NOT_PUBLIC = "is not a public address"
"""In the text of errors: a connection was refused because of where it would lead."""


def _make_public_socket(address: AddrInfoType) -> CountingSocket:
    # Here, and not when the name is looked up: this is the address that is connected to.
    host = str(address[4][0])
    if not is_public(host):
        raise OSError(f"{host} {NOT_PUBLIC}")
    return _make_socket(address)


def is_public(host: str) -> bool:
    """Whether an IP address is one anybody can have on the internet."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
