"""The ICMP probe: a host answers a ping.

Source: RFC 792, RFC 4443; Linux' ping sockets, ``man 7 icmp``. They need no privileges where
``net.ipv4.ping_group_range`` lets the group of the process; a raw socket needs ``CAP_NET_RAW``.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from alerts.clock import Clock
from service.config.network_probe_settings import ICMPProbeSettings
from service.health.probes import attributes as names
from service.health.probes.connecting import resolve
from service.health.probes.outcome import Expectations, Fault
from service.health.probes.run import ProbeError, Run, judged_run
from service.health.state import ProbeResult
from service.pools.lookups import Lookups

_REQUEST = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY = {socket.AF_INET: 0, socket.AF_INET6: 129}
_PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
_HEADER = struct.Struct("!BBHHH")
_TOKEN_BYTES = 16


class ICMPProbe:
    """Sends one echo request and waits for its reply."""

    def __init__(
        self,
        settings: ICMPProbeSettings,
        *,
        clock: Clock,
        lookups: Lookups,
        expectations: Expectations,
    ) -> None:
        self._host = settings.host
        self._clock = clock
        self._lookups = lookups
        self._expectations = expectations
        self._sequence = itertools.count(1)

    @property
    def target(self) -> str:
        """Return the host."""
        return f"icmp {self._host}"

    async def run(self, timeout_s: float) -> ProbeResult:
        """Ping once."""
        return await judged_run(
            self._look, clock=self._clock, timeout_s=timeout_s, expectations=self._expectations
        )

    async def _look(self, run: Run) -> str:
        family, _, _, _, address = (
            await resolve(run, self._lookups, self._host, 0, socket.SOCK_DGRAM)
        )[0]
        run.address = str(address[0])
        run.attributes[names.ADDRESS] = run.address
        token = os.urandom(_TOKEN_BYTES)
        sequence = next(self._sequence) & 0xFFFF
        with _ping_socket(socket.AddressFamily(family)) as opened:
            opened.connect(address)
            sent_s = self._clock.monotonic()
            opened.send(echo_request(opened.family, sequence, token))
            await _reply(opened, sequence, token)
        took_s = self._clock.monotonic() - sent_s
        run.connected = True
        run.attributes[names.ROUND_TRIP_S] = took_s
        return f"{run.address} answered in {took_s * 1000:.1f} ms"


@contextmanager
def _ping_socket(family: socket.AddressFamily) -> Iterator[socket.socket]:
    """Open a socket for pings: an unprivileged one, or else a raw one.

    Raises:
        ProbeError: The system lets the process have neither.
    """
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            opened = socket.socket(family, kind, _PROTOCOL[family])
        except PermissionError:
            continue
        with opened:
            opened.setblocking(False)
            yield opened
        return
    reason = (
        "this process may not send pings: add its group to the sysctl "
        "net.ipv4.ping_group_range, or give it CAP_NET_RAW"
    )
    raise ProbeError(Fault(reason, "permission"))


def echo_request(family: int, sequence: int, token: bytes) -> bytes:
    """Return an echo request; for IPv6 the system fills in the checksum."""
    kind = _REQUEST[socket.AddressFamily(family)]
    plain = _HEADER.pack(kind, 0, 0, os.getpid() & 0xFFFF, sequence) + token
    if family == socket.AF_INET6:
        return plain
    return plain[:2] + struct.pack("!H", checksum(plain)) + plain[4:]


def checksum(data: bytes) -> int:
    """Return the internet checksum of RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def is_reply(family: int, packet: bytes, sequence: int, token: bytes) -> bool:
    """Whether a packet is the reply to a request; raw IPv4 sockets see the header before it."""
    if family == socket.AF_INET and packet[:1] and packet[0] >> 4 == 4:
        packet = packet[(packet[0] & 0xF) * 4 :]
    if len(packet) < _HEADER.size:
        return False
    kind, _, _, _, got = _HEADER.unpack_from(packet)
    # The token tells, not the identifier: that of unprivileged sockets is the system's choice.
    expected = _REPLY[socket.AddressFamily(family)]
    return (kind, got, packet[_HEADER.size :]) == (expected, sequence, token)


async def _reply(opened: socket.socket, sequence: int, token: bytes) -> None:
    loop = asyncio.get_running_loop()
    while not is_reply(opened.family, await loop.sock_recv(opened, 2048), sequence, token):
        pass  # a raw socket sees the pings of others as well
