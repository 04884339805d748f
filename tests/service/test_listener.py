"""A listener on real ports."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web

from service.errors import StartError
from service.listener import Listener


def listener(host: str = "127.0.0.1", port: int = 0) -> Listener:
    """Return a listener that answers GET /."""

    async def hello(_request: web.Request) -> web.Response:
        return web.Response(text="hello")

    application = web.Application()
    application.router.add_get("/", hello)
    return Listener("gateway", application, host=host, port=port, setting="gateway.port")


async def fetch(url: str) -> str:
    """Return the body of a page."""
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


def has_ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def test_port_zero_takes_a_free_one() -> None:
    """The port that was taken is known once it listens, and stands in the URL."""
    async with listener() as one, listener() as two:
        assert 0 < one.port != two.port > 0
        assert one.url == f"http://127.0.0.1:{one.port}"
        assert await fetch(one.url) == "hello"


async def test_a_port_in_use_says_so_and_what_to_change() -> None:
    """The error names the listener, the address and the setting."""
    async with listener() as first:
        with pytest.raises(StartError) as caught:
            async with listener(port=first.port):
                pass
        assert await fetch(first.url) == "hello"

    assert str(caught.value) == (
        f"the gateway cannot listen on 127.0.0.1:{first.port}: the port is in use; "
        "stop the other process or set gateway.port"
    )


async def test_an_address_of_another_machine_is_refused() -> None:
    """Whatever else the system says is passed on with the address."""
    with pytest.raises(StartError, match=r"the gateway cannot listen on 192\.0\.2\.1:0: .+"):
        async with listener(host="192.0.2.1"):
            pass


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
async def test_an_ipv6_address_stands_in_brackets() -> None:
    """The URL can be used as it is."""
    async with listener(host="::1") as running:
        assert running.url == f"http://[::1]:{running.port}"
        assert await fetch(running.url) == "hello"


async def test_after_it_stopped_accepting_open_connections_go_on() -> None:
    """New connections are refused, a kept one is still answered; stopping twice is harmless."""
    async with listener() as running, aiohttp.ClientSession() as session:
        async with session.get(running.url) as answer:
            await answer.read()
        await running.stop_accepting()
        await running.stop_accepting()

        async with session.get(running.url) as answer:
            assert await answer.text() == "hello"
        with pytest.raises(aiohttp.ClientConnectorError):
            await fetch(running.url)


async def test_the_port_is_free_again_after_the_end() -> None:
    """Another listener can have it at once."""
    async with listener() as first:
        await fetch(first.url)
    async with listener(port=first.port) as second:
        assert await fetch(second.url) == "hello"
