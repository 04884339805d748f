"""Methods that clients call, from the frame to the back end and back."""

from __future__ import annotations

import asyncio
from typing import Any

import centrifuge
import jwt
import pytest
from aiohttp import web

from service.codec import encode
from tests.support.back_end import back_end
from tests.support.gateway import running_gateway, until
from tests.support.http import RecordedTelemetry
from tests.support.sdk import connected

SECRET = "a secret of at least thirty-two bytes"


def rpc(upstream: Any, **options: Any) -> dict[str, Any]:
    """Return the settings that have methods executed by a back end."""
    return {"rpc": {"endpoint": upstream.url(), **options}}


async def test_a_client_calls_a_method():
    """The back end learns who it is; the client gets what the method returns."""
    token = jwt.encode({"sub": "56"}, SECRET)
    async with (
        back_end() as upstream,
        running_gateway(token={"hmac_secret": SECRET}, proxy=rpc(upstream)) as running,
        running.client(connect=False) as client,
    ):
        upstream.says({"result": {"data": {"year": 2019}}})
        connect = (await client.call(connect={"token": token}))["connect"]

        reply = await client.call(rpc={"method": "getYear", "data": {"of": "x"}})

    assert reply["rpc"] == {"data": {"year": 2019}}
    (asked,) = upstream.asked
    assert (asked["client"], asked["user"]) == (connect["client"], "56")
    assert (asked["method"], asked["data"]) == ("getYear", {"of": "x"})


async def test_a_method_without_a_result_is_answered():
    """With an empty result, also when the back end answers an empty object."""
    async with (
        back_end() as upstream,
        running_gateway(proxy=rpc(upstream)) as running,
        running.client() as client,
    ):
        upstream.says({})
        replies = [await client.call(rpc={"data": None}), await client.call(rpc={})]

    assert [reply["rpc"] for reply in replies] == [{}, {}]
    assert ["data" in asked for asked in upstream.asked] == [True, False]


async def test_replies_of_several_lines_stay_one():
    """A back end that writes JSON for people breaks no frame."""
    async with (
        back_end() as upstream,
        running_gateway(proxy=rpc(upstream)) as running,
        running.client() as client,
    ):
        upstream.says(b'{"result":\n {"data": {\n "a":\n [1,\n 2]}}}')

        assert (await client.call(rpc={"method": "m"}))["rpc"] == {"data": {"a": [1, 2]}}


@pytest.mark.parametrize(("method", "code"), [("shop:buy", 104), ("m" * 256, 107), ("plain", 1000)])
async def test_errors_are_replies(method: str, code: int):
    """Those of the back end, and those of methods that nobody has; the connection goes on."""
    async with (
        back_end() as upstream,
        running_gateway(proxy=rpc(upstream)) as running,
        running.client() as client,
    ):
        upstream.says({"error": {"code": 1000, "message": "custom error"}})

        assert (await client.call(rpc={"method": method}))["error"]["code"] == code
        assert "subscribe" in await client.call(subscribe={"channel": "news"})


async def test_a_back_end_can_end_the_connection():
    """With a code of its own."""
    async with (
        back_end() as upstream,
        running_gateway(proxy=rpc(upstream)) as running,
        running.client() as client,
    ):
        upstream.says({"disconnect": {"code": 4500, "reason": "banned"}})
        await client.send(b'{"id":9,"rpc":{"method":"m"}}')

        assert await client.closed() == (4500, "banned")


async def test_a_method_that_is_no_text_breaks_the_protocol():
    """As with every other field of a command."""
    async with (
        back_end() as upstream,
        running_gateway(proxy=rpc(upstream)) as running,
        running.client() as client,
    ):
        await client.send(b'{"id":9,"rpc":{"method":1}}')

        assert (await client.closed())[0] == 3501


async def test_commands_wait_for_the_call_before_them():
    """They are executed in the order they came, however long a method takes."""
    release = asyncio.Event()

    async def slowly(asked: Any) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"result": {"data": asked["data"]}})

    async with (
        back_end() as upstream,
        running_gateway(proxy=rpc(upstream, timeout="5s")) as running,
        running.client() as client,
        running.client() as other,
    ):
        upstream.answer = slowly
        await client.send(
            b"\n".join(
                encode(command)
                for command in (
                    {"id": 11, "rpc": {"method": "m", "data": 1}},
                    {"id": 12, "rpc": {"method": "m", "data": 2}},
                    {"id": 13, "subscribe": {"channel": "news"}},
                )
            )
        )
        await until(lambda: upstream.asked)
        await other.subscribe("news")
        assert (len(upstream.asked), running.gateway.stats.subscriptions) == (1, 1)
        release.set()

        assert [(await client.reply())["id"] for _ in range(3)] == [11, 12, 13]
        assert [asked["data"] for asked in upstream.asked] == [1, 2]


async def test_headers_of_the_client_reach_the_back_end():
    """Those of its request and those in its connect command, where settings name them."""
    settings = {"http_headers": ["Cookie"], "emulated_headers": ["Authorization"]}
    async with (
        back_end() as upstream,
        running_gateway(proxy=rpc(upstream, **settings)) as running,
        running.client(connect=False, headers={"Cookie": "s=1", "X-Other": "x"}) as client,
    ):
        await client.call(connect={"headers": {"authorization": "Bearer t", "x-user": "root"}})
        await client.call(rpc={"method": "m"})

    headers = upstream.headers[0]
    assert (headers["cookie"], headers["authorization"]) == ("s=1", "Bearer t")
    assert not {"x-other", "x-user"} & headers.keys()


async def test_a_recorded_call_is_one_trace_to_the_back_end():
    """It begins with the command and goes on in the request."""
    telemetry = RecordedTelemetry()
    async with (
        back_end() as upstream,
        running_gateway(
            proxy=rpc(upstream),
            instruments=telemetry.instruments,
            tracer_provider=telemetry.tracer_provider,
            sampling_ratio=1.0,
        ) as running,
        running.client() as client,
    ):
        await client.call(rpc={"method": "m"})

    (span,) = telemetry.spans("rpc *")
    assert upstream.headers[0]["traceparent"].split("-")[1] == f"{span.context.trace_id:032x}"


async def test_the_sdk_calls_methods():
    """Data both ways, and the error of a back end as the SDK's error."""
    async with back_end() as upstream, running_gateway(proxy=rpc(upstream)) as running:
        async with connected(running.websocket_url) as (client, _):
            upstream.says({"result": {"data": {"answer": "2019"}}})
            result = await client.rpc("getCurrentPrice", {"object_id": 12})
            upstream.says({"error": {"code": 1000, "message": "custom error"}})
            with pytest.raises(centrifuge.ReplyError) as caught:
                await client.rpc("getCurrentPrice", {"object_id": 12})

    assert result.data == {"answer": "2019"}
    assert upstream.asked[0]["data"] == {"object_id": 12}
    assert caught.value.code == 1000
