"""The server API, raw and through the client library back ends use."""

import asyncio
import json
import logging
import struct

import cent
import pytest

from service.config.gateway_settings import GatewaySettings
from tests.support.gateway import API_KEY, running_gateway


async def test_a_back_end_reaches_subscribers_through_the_client_library():
    """Publish, broadcast, channels and info as ``cent`` calls them."""
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("news")
        await client.subscribe("chat")
        api = cent.AsyncClient(f"http://127.0.0.1:{running.port}/api", API_KEY)
        try:
            await api.publish(cent.PublishRequest(channel="news", data={"n": 1}, tags={"a": "b"}))
            sent = await api.broadcast(cent.BroadcastRequest(channels=["news", "chat"], data="x"))
            channels = await api.channels(cent.ChannelsRequest())
            info = await api.info(cent.InfoRequest())
        finally:
            await api.close()

        first = (await client.reply())["push"]
        assert first == {"channel": "news", "pub": {"data": {"n": 1}, "tags": {"a": "b"}}}
        assert [response.error for response in sent.responses] == [None, None]
        assert {name: c.num_clients for name, c in channels.channels.items()} == {
            "news": 1,
            "chat": 1,
        }
        assert (info.nodes[0].num_clients, info.nodes[0].num_subs) == (1, 2)


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"X-API-Key": API_KEY}, "", 200),
        ({"Authorization": f"apikey {API_KEY}"}, "", 200),
        ({}, f"?api_key={API_KEY}", 200),
        ({"X-API-Key": "wrong"}, "", 401),
        ({"X-API-Key": "schlüssel"}, "", 401),
        ({"X-API-Key": ""}, "", 401),
        ({"Authorization": f"Bearer {API_KEY}"}, "", 401),
        ({}, "", 401),
    ],
)
async def test_the_key_is_required_and_taken_where_back_ends_put_it(headers, query, status):
    """Without it the answer is 401 and says so."""
    async with running_gateway() as running:
        async with running.http.post(
            running.api_url("info") + query, json={}, headers=headers
        ) as answer:
            assert answer.status == status
            told = await answer.text() == "X-API-Key is missing or wrong\n"
            assert told == (status == 401)


async def test_without_a_configured_key_every_request_is_refused():
    """An empty key is no key."""
    async with running_gateway(api_key=None) as running:
        async with running.http.post(
            running.api_url("info"), json={}, headers={"X-API-Key": ""}
        ) as answer:
            assert answer.status == 401
            text = await answer.text()
        assert text == "no API key is configured; set gateway.api_key\n"
        assert running.gateway.stats.bad_keys == 1


@pytest.mark.parametrize(
    ("method", "body", "code"),
    [
        ("publish", {}, 107),
        ("publish", {"channel": "a"}, 107),
        ("publish", {"channel": 5, "data": 1}, 107),
        ("publish", {"channel": "", "data": 1}, 107),
        ("publish", {"channel": "nowhere:a", "data": 1}, 102),
        ("publish", {"channel": "a", "data": 1, "tags": {"x": 1}}, 107),
        ("publish", {"channel": "a", "b64data": "eA=="}, 107),
        ("publish", {"channel": "a", "data": json.loads("[" * 300 + "]" * 300)}, 107),
        ("broadcast", {"data": 1}, 107),
        ("broadcast", {"channels": [], "data": 1}, 107),
        ("broadcast", {"channels": [1], "data": 1}, 107),
        ("broadcast", {"channels": ["a"] * 1025, "data": 1}, 107),
        ("channels", {"pattern": 1}, 107),
        ("channels", {"pattern": "*" * 256}, 107),
        ("presence", {"channel": "a"}, 108),
        ("history", {"channel": "a"}, 108),
        ("batch", {"commands": 1}, 107),
        ("batch", {"commands": [{}] * 1025}, 107),
        ("rpc", {"method": "x"}, 104),
        ("publish", {"channel": "a", "data": 1, "delta": True}, 107),
        ("publish", {"channel": "a", "data": 1, "skip_history": 1}, 107),
        ("publish", {"channel": "a", "data": 1, "idempotency_key": "k" * 257}, 107),
        ("subscribe", {"user": 1, "channel": "a"}, 107),
        ("subscribe", {"user": "u", "channel": "nowhere:a"}, 102),
        ("subscribe", {"user": "u", "channel": "a", "override": {"x": {"value": True}}}, 107),
        (
            "subscribe",
            {"user": "u", "channel": "a", "override": {"force_recovery": {"value": True}}},
            107,
        ),
        ("subscribe", {"user": "u", "channel": "a", "b64info": "!"}, 107),
        ("subscribe", {"user": "u", "channel": "a", "expire_at": "soon"}, 107),
        ("unsubscribe", {"user": "u", "channel": "nowhere:a"}, 102),
        ("disconnect", {"user": "u", "disconnect": {"code": 1000, "reason": "x"}}, 107),
        ("disconnect", {"user": "u", "disconnect": {"code": 4000, "reason": "{}"}}, 107),
        ("disconnect", {"user": "u", "disconnect": {"code": 4000, "reason": "x" * 124}}, 107),
        ("disconnect", {"user": "u", "whitelist": "x"}, 107),
        ("disconnect", {"user": "u", "disconnect": 1}, 107),
        ("refresh", {"user": "u", "expired": 1}, 107),
        ("disconnect", {}, 107),
    ],
)
async def test_a_request_that_cannot_be_done_says_why(method, body, code):
    """With status 200 and an error inside, as the API has it."""
    async with running_gateway() as running:
        answer = await running.api(method, body)

    assert answer["error"]["code"] == code
    assert answer["error"]["message"]


async def test_the_error_mode_transport_uses_http_statuses():
    """For callers that look at the status only."""
    async with running_gateway() as running:
        headers = {"X-API-Key": API_KEY, "X-Centrifugo-Error-Mode": "transport"}
        body = {"channel": "nowhere:a", "data": 1}
        async with running.http.post(
            running.api_url("publish"), json=body, headers=headers
        ) as answer:
            assert answer.status == 404
            assert (await answer.json())["code"] == 102


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [("publish", b"{", 400), ("publish", b"[]", 400), ("fly", b"{}", 404)],
)
async def test_what_is_no_request_gets_its_status(method, body, status):
    """Bad JSON is 400, an unknown method 404."""
    async with running_gateway() as running:
        headers = {"X-API-Key": API_KEY}
        async with running.http.post(running.api_url(method), data=body, headers=headers) as answer:
            assert answer.status == status


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
@pytest.mark.parametrize(("extra", "status"), [(-1, 200), (0, 200), (1, 413)])
async def test_the_size_of_a_request_is_bounded(extra, status, at_once):
    """At the limit it is taken, past it the answer is 413, whether the body comes with the head."""
    start, end = b'{"channel":"a","data":"', b'"}'
    body = start + b"x" * (1024 + extra - len(start) - len(end)) + end
    async with running_gateway(max_api_body_size=1024) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        head = post("publish", len(body), "" if at_once else "Expect: 100-continue")
        if at_once:
            writer.write(head + body)
        else:
            writer.write(head)
            await reader.readuntil(b"100 Continue\r\n\r\n")
            writer.write(body)
        assert (await reader.readline()).split()[1] == str(status).encode()
        writer.close()


async def test_a_key_that_is_withdrawn_while_the_body_comes_is_refused():
    """What was let in by its head is asked again."""
    async with running_gateway() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(post("info", 2, "Expect: 100-continue"))
        await reader.readuntil(b"100 Continue\r\n\r\n")
        settings = GatewaySettings.model_validate({"api_key": "another"})
        await running.gateway.use_keys(running.gateway.prepare_keys(settings))
        writer.write(b"{}")

        assert (await reader.readline()).split()[1] == b"401"
        writer.close()


def post(method: str, length: int, header: str = "") -> bytes:
    """Return the head of a request with the key."""
    lines = (
        f"POST /api/{method} HTTP/1.1",
        "Host: gateway",
        f"X-API-Key: {API_KEY}",
        f"Content-Length: {length}",
        *([header] if header else []),
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


async def test_one_bad_channel_does_not_spoil_a_broadcast():
    """Every channel has its own answer."""
    async with running_gateway() as running, running.client() as client:
        await client.subscribe("a")

        answer = await running.api("broadcast", {"channels": ["a", "nowhere:b"], "data": 7})

        assert [*answer["result"]["responses"][0]] == ["result"]
        assert answer["result"]["responses"][1]["error"]["code"] == 102
        assert await client.published() == 7


async def test_channels_are_listed_by_pattern():
    """Only those with subscribers, and only those that match."""
    async with running_gateway() as running, running.client() as client:
        for channel in ("news-1", "news-2", "chat"):
            await client.subscribe(channel)

        answer = await running.api("channels", {"pattern": "news-*"})

        assert sorted(answer["result"]["channels"]) == ["news-1", "news-2"]


async def test_health_says_whether_connections_are_taken():
    """200 while open, 503 while stopping."""
    async with running_gateway() as running:
        url = f"http://127.0.0.1:{running.port}/health"
        async with running.http.get(url) as answer:
            assert answer.status == 200
        await running.gateway.drain()
        async with running.http.get(url) as answer:
            assert answer.status == 503


@pytest.mark.parametrize("header", [b"X-API-Key: \xff\xfe", b"Authorization: apikey \xff"])
async def test_a_key_that_is_no_text_is_a_wrong_key(caplog, header):
    """401 and nothing in the log, as anyone can send that."""
    async with running_gateway() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(
            b"POST /api/info HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + header + b"\r\n\r\n"
        )
        assert await reader.readline() == b"HTTP/1.1 401 Unauthorized\r\n"
        writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_body_that_cannot_be_unpacked_is_400():
    """A wrong Content-Encoding is the caller's mistake."""
    async with running_gateway() as running:
        headers = {"X-API-Key": API_KEY, "Content-Encoding": "gzip"}
        async with running.http.post(
            running.api_url("publish"), data=b"no gzip", headers=headers
        ) as answer:
            assert answer.status == 400


async def test_a_caller_that_goes_away_halfway_is_no_fault(caplog):
    """Nothing is published and nothing logged."""
    async with running_gateway() as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(
            b"POST /api/publish HTTP/1.1\r\nHost: a\r\nX-API-Key: " + API_KEY.encode() + b"\r\n"
            b'Expect: 100-continue\r\nContent-Length: 100\r\n\r\n{"channel":"a","data":'
        )
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        socket = writer.get_extra_info("socket")
        socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0: a reset
        writer.transport.abort()
        await running.publish("b", 1)
        assert running.gateway.stats.received["api"] == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
