"""Messages through the running process, with the clients applications use."""

from __future__ import annotations

from pathlib import Path

import cent
import pytest

from tests.support.process import API_KEY, serving
from tests.support.sdk import connected, subscribed


@pytest.mark.usefixtures("installed")
async def test_sdk_clients_and_a_back_end_exchange_messages(tmp_path: Path) -> None:
    """What the back end publishes reaches both clients, and so does what one of them publishes."""
    async with serving(tmp_path) as process:
        async with (
            connected(process.websocket_url) as (one, one_events),
            connected(process.websocket_url) as (two, two_events),
        ):
            await subscribed(one, one_events, "news")
            subscription = await subscribed(two, two_events, "news")
            back_end = cent.AsyncClient(process.api_url, API_KEY)
            try:
                await back_end.publish(cent.PublishRequest(channel="news", data={"from": "cent"}))
            finally:
                await back_end.close()
            got = [await one_events.published(), await two_events.published()]
            await subscription.publish({"from": "two"})
            got += [await one_events.published(), await two_events.published()]

            assert got == [{"from": "cent"}] * 2 + [{"from": "two"}] * 2
