"""Many publications in one request, answered line by line."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.gateway import API_KEY, running_gateway, until

HEADERS = {"X-API-Key": API_KEY}
KEPT = {"history_size": 1000, "history_ttl": "1h"}


def line(**request) -> bytes:
    return json.dumps(request).encode() + b"\n"


async def answers(answer) -> list[dict[str, Any]]:
    """Return all lines of an answer."""
    return [json.loads(text) for text in (await answer.read()).splitlines()]


async def test_each_line_is_answered_in_order():
    """Errors too, and the last line needs no end."""
    async with running_gateway(channels=KEPT) as running:
        body = b"".join(
            [
                line(channel="a", data=1),
                b"\n",
                b"no json\n",
                b"[]\n",
                line(channel="nowhere:a", data=1),
                line(channel="a", data=2).rstrip(),
            ]
        )
        async with running.http.post(
            running.api_url("publish_stream"), data=body, headers=HEADERS
        ) as answer:
            assert answer.content_type == "application/x-ndjson"
            lines = await answers(answer)

    assert [entry.get("result", {}).get("offset") for entry in lines] == [1, None, None, None, 2]
    assert [entry["error"]["code"] for entry in lines[1:4]] == [107, 107, 102]


async def test_a_line_is_answered_before_the_next_is_sent():
    """A publisher may keep one request open and go on as long as it likes."""
    async with running_gateway(channels=KEPT) as running, running.client() as client:
        await client.subscribe("a")
        more: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def body():
            while (chunk := await more.get()) is not None:
                yield chunk

        more.put_nowait(line(channel="a", data=1)[:10])
        async with running.http.post(
            running.api_url("publish_stream"), data=body(), headers=HEADERS
        ) as answer:
            more.put_nowait(line(channel="a", data=1)[10:])
            assert json.loads(await answer.content.readline())["result"]["offset"] == 1
            assert await client.published() == 1
            more.put_nowait(line(channel="a", data=2))
            assert json.loads(await answer.content.readline())["result"]["offset"] == 2
            more.put_nowait(None)
            assert await answer.content.readline() == b""


async def test_ten_thousand_publications_in_one_request():
    """In order, through the same windows as all others."""
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("a")
        body = b"".join(line(channel="a", data=number) for number in range(10_000))

        async with running.http.post(
            running.api_url("publish_stream"), data=body, headers=HEADERS
        ) as answer:
            lines = await answers(answer)

        assert lines == [{"result": {}}] * 10_000
        assert [await client.published() for _ in range(10_000)] == list(range(10_000))


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_without_end_is_the_last(end):
    """It is answered with an error, and the connection ends."""
    async with running_gateway(max_queue_size="16KiB") as running:
        body = line(channel="a", data=1) + b"x" * 16_385 + end + line(channel="a", data=2)
        async with running.http.post(
            running.api_url("publish_stream"), data=body, headers=HEADERS
        ) as answer:
            lines = await answers(answer)

    assert lines[-1]["error"]["message"].endswith("a line is longer than 16384 bytes")
    assert len(lines) <= 2


async def test_it_needs_the_key():
    """As every method does."""
    async with running_gateway() as running:
        async with running.http.post(running.api_url("publish_stream"), data=b"{}") as answer:
            assert answer.status == 401


async def test_a_stop_ends_the_stream():
    """What was answered is published, and nothing after."""
    async with running_gateway() as running:
        more: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def body():
            while (chunk := await more.get()) is not None:
                yield chunk

        more.put_nowait(line(channel="a", data=1))
        async with running.http.post(
            running.api_url("publish_stream"), data=body(), headers=HEADERS
        ) as answer:
            assert await answer.content.readline() == b'{"result":{}}\n'
            await running.gateway.drain()
            assert await answer.content.read() == b""
            more.put_nowait(line(channel="a", data=2))
            more.put_nowait(None)
        await until(lambda: running.gateway.stats.received["api"] == 1)
