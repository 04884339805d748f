"""The demo's clients and back end against a real gateway."""

from __future__ import annotations

import aiohttp
import pytest

from alerts.clock import SystemClock
from service.demo.clients import CHANNEL, Listeners, Publisher, listening
from service.demo.tour import DemoError
from tests.support.gateway import API_KEY, running_gateway, until

CLOCK = SystemClock()


async def test_all_clients_hear_all_that_is_published() -> None:
    """Messages, frames and latencies are counted over all clients."""
    async with running_gateway() as running, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{running.port}"
        publisher = Publisher(session, url, API_KEY, clock=CLOCK)
        async with listening(session, url, clients=3, clock=CLOCK) as heard:
            await publisher.publish_for(0.1, workers=4, pause_s=0.001)
            await until(lambda: heard.messages >= publisher.published * 3)
            assert len(running.gateway.connections) == 3
        await until(lambda: not len(running.gateway.connections))

    assert publisher.published >= 4
    assert heard.messages == len(heard.latencies_s) == publisher.published * 3
    assert 0 < heard.frames <= heard.messages
    assert 0 < heard.latency_ms(0.5) <= heard.latency_ms(0.99) < 10_000


async def test_a_publisher_may_set_headers() -> None:
    """The trace of a message can be begun by whoever publishes it."""
    async with running_gateway() as running, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{running.port}"
        async with running.client() as client:
            await client.subscribe(CHANNEL)
            await Publisher(session, url, "other", clock=CLOCK).publish(
                {"number": 1}, headers={"X-API-Key": API_KEY}
            )
            data = await client.published()

    assert data["number"] == 1
    assert data["sent"] <= CLOCK.monotonic()


async def test_a_message_that_is_refused_is_an_error() -> None:
    """The demo never shows numbers of messages that were not accepted."""
    async with running_gateway() as running, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{running.port}"
        publisher = Publisher(session, url, "wrong", clock=CLOCK)
        with pytest.raises(aiohttp.ClientResponseError):
            await publisher.publish({})

    assert publisher.published == 0


async def test_clients_answer_pings() -> None:
    """A tour that takes its time does not lose its audience."""
    async with running_gateway(ping_interval="1s", pong_timeout="500ms") as running:
        async with aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{running.port}"
            async with listening(session, url, clients=1, clock=CLOCK):
                (connection,) = running.gateway.connections
                seen = connection.messages_in
                await until(lambda: connection.messages_in > seen)

                assert connection.awaiting_pong_since is None


async def test_what_ends_the_listening_comes_out_as_it_is() -> None:
    """An error of the tour is told in one line, so it must not arrive wrapped in a group."""
    async with running_gateway() as running, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{running.port}"
        with pytest.raises(DemoError, match="in vain"):
            async with listening(session, url, clients=2, clock=CLOCK):
                raise DemoError("waited in vain")


def test_latencies_of_nothing_are_zero() -> None:
    """Numbers can be printed before the first message."""
    assert Listeners().latency_ms(0.99) == 0


@pytest.mark.parametrize(("quantile", "expected"), [(0.0, 1), (0.5, 3), (0.99, 4), (1.0, 4)])
def test_quantiles_are_of_the_ordered_latencies(quantile: float, expected: float) -> None:
    """In milliseconds, and never past the last."""
    heard = Listeners(latencies_s=[0.004, 0.002, 0.001, 0.003])

    assert heard.latency_ms(quantile) == pytest.approx(expected)
