"""The ICMP probe, as far as the machine lets it."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.health.probes.icmp import checksum, echo_request, is_reply
from tests.support.probes import run_once

TOKEN = b"t" * 16


async def test_this_machine_answers_or_forbids():
    """A ping is answered in some time; where none may be sent, the reason says what to change."""
    result = await run_once("icmp", {"host": "127.0.0.1"})

    if result.error_type == "permission":
        assert "net.ipv4.ping_group_range" in result.reason
    else:
        assert result.success, result.reason
        assert float(result.attributes["icmp.round_trip.duration"]) > 0
        assert result.attributes["network.peer.address"] == "127.0.0.1"


async def test_an_unknown_host_is_a_failure():
    """A name that does not resolve is told apart."""
    result = await run_once("icmp", {"host": "gatewatch.invalid"})

    assert result.error_type == "dns"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (struct.pack("!BBHHH", 0, 0, 0, 9, 7) + TOKEN, True),
        (b"\x45" + b"\0" * 19 + struct.pack("!BBHHH", 0, 0, 0, 9, 7) + TOKEN, True),
        (b"\x46" + b"\0" * 23 + struct.pack("!BBHHH", 0, 0, 0, 9, 7) + TOKEN, True),
        (struct.pack("!BBHHH", 8, 0, 0, 9, 7) + TOKEN, False),
        (struct.pack("!BBHHH", 0, 0, 0, 9, 8) + TOKEN, False),
        (struct.pack("!BBHHH", 0, 0, 0, 9, 7) + b"x" * 16, False),
        (b"", False),
        (b"\x45", False),
    ],
)
def test_only_the_reply_to_the_request_counts(packet, expected):
    """Requests, replies to others and broken packets are passed over."""
    assert is_reply(socket.AF_INET, packet, 7, TOKEN) is expected


def test_replies_of_ipv6_have_another_number():
    """And never a header before them."""
    packet = struct.pack("!BBHHH", 129, 0, 0, 9, 7) + TOKEN

    assert is_reply(socket.AF_INET6, packet, 7, TOKEN)
    assert not is_reply(socket.AF_INET, packet, 7, TOKEN)


@given(st.integers(0, 65535), st.binary(min_size=16, max_size=16))
def test_the_checksum_of_a_request_is_right(sequence, token):
    """A receiver that sums the whole packet comes to nothing."""
    assert checksum(echo_request(socket.AF_INET, sequence, token)) == 0
