"""The proxy against real back ends that answer, lie, hang and die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracerProvider

from alerts.clock import Clock, ManualClock, SystemClock
from service.config.proxy_settings import ProxySettings
from service.config.settings import HTTPPoolSettings
from service.gateway.circuit import CircuitState
from service.gateway.codes import DisconnectError, ProtocolError
from service.gateway.proxy import Proxy
from service.gateway.proxy_answers import RPCAnswer
from service.gateway.proxy_requests import ProxyClient, RPCRequest
from service.gateway.upstream import Upstream
from service.pools.http import HTTPConnectionPool
from service.telemetry.instruments import Instruments
from tests.support.back_end import back_end
from tests.support.http import RecordedTelemetry, raw_server, until
from tests.support.process import unused_port

CLIENT = ProxyClient(
    "c-1",
    "56",
    headers={"cookie": "s=1", "origin": "https://a"},
    emulated_headers={"authorization": "Bearer x", "cookie": "forged"},
)


@asynccontextmanager
async def proxy_to(
    url: str,
    *,
    clock: Clock | None = None,
    telemetry: RecordedTelemetry | None = None,
    more: dict[str, Any] | None = None,
    max_data_bytes: int = 1 << 20,
    **options: Any,
) -> AsyncIterator[Proxy]:
    """Have a proxy whose usual back end is at a URL."""
    used = clock or SystemClock()
    instruments = telemetry.instruments if telemetry else Instruments.disabled()
    settings = ProxySettings.model_validate(
        {"rpc": {"endpoint": url, "timeout": "5s", **options}, **(more or {})}
    )
    async with HTTPConnectionPool(
        HTTPPoolSettings(),
        instruments=instruments,
        tracer_provider=telemetry.tracer_provider if telemetry else NoOpTracerProvider(),
        clock=used,
    ) as pool:
        yield Proxy(
            settings,
            max_data_bytes=max_data_bytes,
            pool=pool,
            clock=used,
            random=Random(1),
            instruments=instruments,
        )


async def call(
    proxy: Proxy, method: str = "m", data: bytes | None = None, parent: Context | None = None
) -> RPCAnswer:
    return await proxy.rpc(CLIENT, RPCRequest(method, data), parent=parent)


async def refused(proxy: Proxy, method: str = "m") -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        await call(proxy, method)
    return caught.value


def usual(proxy: Proxy) -> Upstream:
    return next(proxy.upstreams())


async def test_a_method_is_executed_by_the_back_end():
    """It learns who calls what, and its data comes back."""
    async with back_end() as upstream, proxy_to(upstream.url("/rpc")) as proxy:
        upstream.says({"result": {"data": {"answer": "2019"}}})

        answer = await call(proxy, "getCurrentPrice", b'{"params":{"object_id":12}}')

    assert answer == RPCAnswer(b'{"answer":"2019"}')
    assert upstream.asked == [
        {
            "client": "c-1",
            "transport": "websocket",
            "protocol": "json",
            "encoding": "json",
            "user": "56",
            "method": "getCurrentPrice",
            "data": {"params": {"object_id": 12}},
        }
    ]
    assert upstream.headers[0]["content-type"] == "application/json"


async def test_only_the_headers_that_settings_name_are_passed_on():
    """Those of the request go before emulated ones, and static ones are always there."""
    async with (
        back_end() as upstream,
        proxy_to(
            upstream.url(),
            http_headers=["Cookie"],
            emulated_headers=["Cookie", "Authorization"],
            static_headers={"X-Key": "k"},
        ) as proxy,
    ):
        await call(proxy)

    headers = upstream.headers[0]
    assert (headers["cookie"], headers["authorization"], headers["x-key"]) == (
        "s=1",
        "Bearer x",
        "k",
    )
    assert "origin" not in headers


async def test_namespaces_lead_to_their_back_ends():
    """A namespace that is not there has no methods; without any back end nothing has."""
    async with back_end() as usual_one, back_end() as other:
        more = {
            "proxies": [{"name": "other", "endpoint": other.url()}],
            "rpc_namespaces": [{"name": "shop", "proxy_name": "other"}, {"name": "chat"}],
        }
        async with proxy_to(usual_one.url(), more=more) as proxy:
            for method in ("plain", "chat:a", "shop:buy", ""):
                await call(proxy, method)
            error = await refused(proxy, "unknown:a")
            too_long = await refused(proxy, "m" * 256)
        async with HTTPConnectionPool(
            HTTPPoolSettings(),
            instruments=Instruments.disabled(),
            tracer_provider=NoOpTracerProvider(),
            clock=SystemClock(),
        ) as pool:
            nothing = Proxy(
                ProxySettings(),
                max_data_bytes=1,
                pool=pool,
                clock=SystemClock(),
                random=Random(1),
                instruments=Instruments.disabled(),
            )
            codes = [(await refused(nothing, method)).code for method in ("a", "a:b")]

    assert [asked.get("method") for asked in usual_one.asked] == ["plain", "chat:a", None]
    assert [asked["method"] for asked in other.asked] == ["shop:buy"]
    assert (error.code, too_long.code, codes) == (104, 107, [108, 108])


async def test_errors_and_disconnects_of_the_back_end_reach_the_client():
    """They are answers: the circuit stays closed however many come."""
    async with (
        back_end() as upstream,
        proxy_to(upstream.url(), circuit={"failure_threshold": 1}) as proxy,
    ):
        upstream.says({"error": {"code": 1000, "message": "custom error"}})
        error = await refused(proxy)
        upstream.says({"disconnect": {"code": 4500, "reason": "banned"}})
        with pytest.raises(DisconnectError) as ended:
            await call(proxy)
        state = usual(proxy).circuit.state

    assert (error.code, error.message, error.temporary) == (1000, "custom error", False)
    assert (ended.value.close.code, ended.value.close.reason) == (4500, "banned")
    assert state is CircuitState.CLOSED


async def test_statuses_mean_what_settings_say():
    """Others than 200 are internal errors otherwise."""
    transforms = [
        {"status_code": 404, "to_error": {"code": 404, "message": "not found"}},
        {"status_code": 403, "to_disconnect": {"code": 4503, "reason": "forbidden"}},
    ]
    async with (
        back_end() as upstream,
        proxy_to(upstream.url(), status_to_code_transforms=transforms) as proxy,
    ):
        upstream.says({}, status=404)
        not_found = await refused(proxy)
        upstream.says({}, status=403)
        with pytest.raises(DisconnectError) as forbidden:
            await call(proxy)
        others = []
        for status in (201, 204, 400, 429, 500, 503):
            upstream.says({"result": {"data": "not to be believed"}}, status=status)
            others.append(await refused(proxy))

    assert (not_found.code, not_found.message) == (404, "not found")
    assert forbidden.value.close.code == 4503
    assert {(error.code, error.temporary) for error in others} == {(100, True)}


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"result":[]}', b'{"error":{"code":7}}', b'{"result":{"data":'],
)
async def test_a_lying_back_end_is_an_internal_error(body: bytes, caplog: pytest.LogCaptureFixture):
    """The client is told no detail; the log is."""
    async with back_end() as upstream, proxy_to(upstream.url()) as proxy:
        upstream.says(body)
        error = await refused(proxy)

    assert (error.code, error.message, error.temporary) == (100, "internal server error", True)
    assert "the back end rpc was asked about rpc" in caplog.text


async def test_redirects_are_not_followed():
    """Nobody could tell what was executed where."""
    async with back_end() as target, back_end() as upstream, proxy_to(upstream.url()) as proxy:

        async def redirect(_asked: Any) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": target.url()})

        upstream.answer = redirect
        error = await refused(proxy)

    assert (error.code, target.asked) == (100, [])


async def test_huge_answers_are_cut_off():
    """An endless one too, long before its time is over; and data that fits no client's queue."""
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    async with raw_server(endless, repeat=b"x" * 65536) as port:
        async with proxy_to(f"http://127.0.0.1:{port}/", max_answer_size="64KiB") as proxy:
            error = await refused(proxy)
    async with back_end() as upstream, proxy_to(upstream.url(), max_data_bytes=100) as proxy:
        upstream.says({"result": {"data": "x" * 98}})
        await call(proxy)
        upstream.says({"result": {"data": "x" * 99}})
        too_large = await refused(proxy)

    assert (error.code, too_large.code) == (100, 100)


@pytest.mark.parametrize(
    "chunks",
    [
        (),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",),
        (b"not HTTP at all\r\n\r\n",),
    ],
)
async def test_a_connection_that_breaks_is_an_internal_error(chunks: tuple[bytes, ...]):
    """A method that may have been executed is not called again."""
    async with raw_server(*chunks) as port, proxy_to(f"http://127.0.0.1:{port}/") as proxy:
        error = await refused(proxy)
        retries = usual(proxy).stats.retries

    assert (error.code, retries) == (100, 0)


async def test_a_slow_back_end_is_given_up_in_time():
    """After the timeout of the settings, and the method is not called again."""
    never = asyncio.Event()

    async def hang(_asked: Any) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    async with back_end() as upstream, proxy_to(upstream.url(), timeout="50ms") as proxy:
        upstream.answer = hang
        error = await refused(proxy)
        asked = len(upstream.asked)
        never.set()

    assert (error.code, error.temporary, asked) == (100, True, 1)


async def test_a_refused_connection_is_tried_again():
    """Nothing was sent, so nothing can happen twice; a back end that restarts is waited for."""
    clock = ManualClock()
    port = unused_port()
    async with proxy_to(f"http://127.0.0.1:{port}/", clock=clock) as proxy:
        calling = asyncio.create_task(call(proxy))
        await until(lambda: bool(clock._timers))
        async with back_end(port=port) as upstream:
            await clock.advance(0.1)
            await calling
            asked = len(upstream.asked)
        retries = usual(proxy).stats.retries

    assert (asked, retries) == (1, 1)


async def test_a_back_end_that_stays_away_is_given_up():
    """After two repetitions."""
    async with proxy_to(f"http://127.0.0.1:{unused_port()}/") as proxy:
        error = await refused(proxy)
        retries = usual(proxy).stats.retries

    assert (error.code, retries) == (100, 2)


async def test_a_back_end_that_fails_is_left_alone_until_it_works_again():
    """Calls are answered at once meanwhile; one finds out whether it is back."""
    clock = ManualClock()
    circuit = {"failure_threshold": 2, "open_for": "5s"}
    async with (
        back_end() as upstream,
        proxy_to(upstream.url(), clock=clock, circuit=circuit) as proxy,
    ):
        upstream.says({}, status=500)
        for _ in range(4):
            assert (await refused(proxy)).code == 100
        asked_while_failing = len(upstream.asked)
        upstream.says({"result": {}})
        assert (await refused(proxy)).code == 100
        await clock.advance(5)
        await call(proxy)
        state = usual(proxy).circuit.state

    assert (asked_while_failing, len(upstream.asked)) == (2, 3)
    assert state is CircuitState.CLOSED


async def test_client_errors_do_not_open_the_circuit():
    """A 4xx may be about one client; what sends it works."""
    async with (
        back_end() as upstream,
        proxy_to(upstream.url(), circuit={"failure_threshold": 1}) as proxy,
    ):
        upstream.says({}, status=400)
        await refused(proxy)
        upstream.says({"result": {}})

        await call(proxy)


async def test_a_client_error_as_the_answer_to_a_trial_closes_the_circuit():
    """What answers works again."""
    clock = ManualClock()
    circuit = {"failure_threshold": 1, "open_for": "1s"}
    async with (
        back_end() as upstream,
        proxy_to(upstream.url(), clock=clock, circuit=circuit) as proxy,
    ):
        upstream.says({}, status=500)
        await refused(proxy)
        await clock.advance(1)
        upstream.says({}, status=404)
        await refused(proxy)

        assert usual(proxy).circuit.state is CircuitState.CLOSED


async def test_no_more_calls_are_in_flight_than_settings_allow():
    """One more is told to come back, and a call that ends makes room."""
    release = asyncio.Event()

    async def hang(_asked: Any) -> web.StreamResponse:
        await release.wait()
        return web.json_response({"result": {}})

    async with back_end() as upstream, proxy_to(upstream.url(), max_in_flight=2) as proxy:
        upstream.answer = hang
        calls = [asyncio.create_task(call(proxy)) for _ in range(2)]
        await until(lambda: len(upstream.asked) == 2)
        error = await refused(proxy)
        release.set()
        await asyncio.gather(*calls)
        await call(proxy)

    assert (error.code, error.temporary) == (111, True)


async def test_a_call_that_is_cancelled_leaves_nothing_behind():
    """It frees its place, and as the one trial of a circuit it makes room for the next."""
    clock = ManualClock()
    never = asyncio.Event()

    async def hang(_asked: Any) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    options: dict[str, Any] = {
        "max_in_flight": 1,
        "circuit": {"failure_threshold": 1, "open_for": "1s"},
    }
    async with back_end() as upstream, proxy_to(upstream.url(), clock=clock, **options) as proxy:
        upstream.says({}, status=500)
        await refused(proxy)
        await clock.advance(1)
        upstream.answer = hang
        calling = asyncio.create_task(call(proxy))
        await until(lambda: len(upstream.asked) == 2)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        never.set()
        upstream.says({"result": {}})

        await call(proxy)
        active = usual(proxy).stats.active

    assert active == 0


async def test_a_recorded_call_is_a_span_and_its_request_one_below_it():
    """The back end gets the trace; the histogram says how the call ended."""
    telemetry = RecordedTelemetry()
    async with back_end() as upstream, proxy_to(upstream.url(), telemetry=telemetry) as proxy:
        await call(proxy, parent=Context())
        upstream.says({}, status=500)
        with pytest.raises(ProtocolError):
            await call(proxy, parent=Context())

    good, bad = telemetry.spans("ask rpc")
    below = telemetry.spans("POST")
    assert good.attributes == {
        "gateway.proxy.event": "rpc",
        "gateway.proxy.upstream": "rpc",
        "gateway.proxy.template": "*",
        "gateway.proxy.outcome": "result",
    }
    assert (bad.attributes or {})["gateway.proxy.outcome"] == "status"
    assert not bad.status.is_ok
    assert [span.parent and span.parent.span_id for span in below] == [
        good.context.span_id,
        bad.context.span_id,
    ]
    sent = upstream.headers[0]["traceparent"].split("-")
    assert sent[1:3] == [f"{good.context.trace_id:032x}", f"{below[0].context.span_id:016x}"]
    assert int(sent[3], 16) & 1
    outcomes = {
        (point.attributes or {})["gateway.proxy.outcome"]: point.count
        for point in telemetry.points("gateway.proxy.duration")
    }
    assert outcomes == {"result": 1, "status": 1}


async def test_a_call_that_is_not_recorded_tells_the_back_end_so():
    """Its request has no span of its own, and a trace context with the flag unset."""
    telemetry = RecordedTelemetry()
    async with back_end() as upstream, proxy_to(upstream.url(), telemetry=telemetry) as proxy:
        await call(proxy)

    assert upstream.headers[0]["traceparent"].endswith("-00")
    assert telemetry.spans() == []


async def test_secrets_are_in_no_error_and_no_log(caplog: pytest.LogCaptureFixture):
    """Neither the password in a URL nor its query nor a header."""
    url = f"http://user:hunter2@127.0.0.1:{unused_port()}/?token=hunter2"
    telemetry = RecordedTelemetry()
    async with proxy_to(url, telemetry=telemetry, static_headers={"X-Key": "hunter2"}) as proxy:
        with pytest.raises(ProtocolError) as caught:
            await call(proxy, parent=Context())

    spans = [(each.name, each.attributes, each.events) for each in telemetry.spans()]
    told = caplog.text + str(caught.value) + str(caught.value.__cause__) + repr(spans)
    assert spans
    assert "hunter2" not in told
