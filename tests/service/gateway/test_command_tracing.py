"""Which commands of clients are traced, whose traces they belong to, and what their spans say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from alerts.clock import SystemClock
from service.codec import encode
from service.telemetry.late_spans import LatePolicy
from service.telemetry.sampling import MessageSampling
from service.telemetry.sampling_rules import SamplingRule
from tests.support.back_end import back_end
from tests.support.gateway import running_gateway
from tests.support.http import RecordedTelemetry

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CHAT = {"namespaces": [{"name": "chat", "allow_publish_for_subscriber": True}]}


def traced(telemetry: RecordedTelemetry, **options: Any):
    """Run a gateway that records what the sampling says."""
    sampling = options.pop("sampling", None) or MessageSampling(1.0)
    return running_gateway(
        instruments=telemetry.instruments,
        tracer_provider=telemetry.tracer_provider,
        sampling=sampling,
        **options,
    )


def ids(span: ReadableSpan) -> tuple[str, str]:
    """Return trace and parent of a span in hex."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}" if span.parent else ""


async def test_a_command_goes_on_with_the_trace_of_its_client():
    """What a client writes into ``meta`` is the parent, and the publication is below it."""
    telemetry = RecordedTelemetry()
    async with traced(telemetry, **CHAT) as running, running.client() as client:
        await client.subscribe("chat:a")
        meta = {"traceparent": TRACEPARENT, "tracestate": "vendor=1"}
        assert "publish" in await client.call(publish={"channel": "chat:a", "data": 1}, meta=meta)
        publication = (await client.reply())["push"]["pub"]

    command, publish = sorted(telemetry.spans("publish chat:*"), key=lambda span: span.kind.value)
    assert (command.kind, publish.kind) == (SpanKind.SERVER, SpanKind.PRODUCER)
    assert ids(command) == (TRACE, PARENT)
    assert ids(publish) == (TRACE, f"{command.context.span_id:016x}")
    assert command.context.trace_state.get("vendor") == "1"
    assert publication["tags"]["traceparent"].split("-")[1:3] == [
        TRACE,
        f"{publish.context.span_id:016x}",
    ]
    (deliver,) = telemetry.spans("deliver chat:*")
    assert ids(deliver)[0] == TRACE


async def test_connect_brings_its_trace_in_its_headers():
    """SDKs can say it there, and ``meta`` goes before it."""
    telemetry, nonsense = RecordedTelemetry(), {"traceparent": "00-1-2"}
    async with traced(telemetry) as running:
        for command in (
            {"connect": {"headers": {"traceparent": TRACEPARENT}}},
            {"connect": {"headers": nonsense}, "meta": {"traceparent": TRACEPARENT}},
            {"connect": {"headers": nonsense}},
        ):
            async with running.client(connect=False) as client:
                assert "connect" in await client.call(**command)

    first, second, third = telemetry.spans("connect")
    assert ids(first) == ids(second) == (TRACE, PARENT)
    assert ids(third) != (TRACE, PARENT)


@pytest.mark.parametrize(
    "meta",
    [
        pytest.param({}, id="empty"),
        pytest.param({"traceparent": "nonsense"}, id="malformed"),
        pytest.param({"traceparent": TRACEPARENT, "tracestate": "a=" + "b" * 5000}, id="giant"),
        pytest.param({"baggage": "x" * 30_000, "more": [1]}, id="others"),
        pytest.param(None, id="null"),
    ],
)
async def test_odd_meta_disturbs_nothing(meta):
    """A trace that cannot be read is left aside, and the command is executed."""
    telemetry = RecordedTelemetry()
    async with traced(telemetry) as running, running.client() as client:
        answer = await client.call(subscribe={"channel": "news"}, meta=meta)

    assert "subscribe" in answer
    (span,) = telemetry.spans("subscribe *")
    assert not span.context.trace_state


@pytest.mark.parametrize("meta", [1, "text", [TRACEPARENT], {"traceparent": 7}])
async def test_meta_that_is_none_breaks_the_protocol(meta):
    """As everywhere in a frame, a field of the wrong type ends the connection."""
    async with running_gateway() as running, running.client() as client:
        command = {"id": 9, "subscribe": {"channel": "a"}, "meta": meta}
        await client.send(json.dumps(command))

        assert (await client.closed())[0] == 3501


async def test_a_proxied_publication_is_one_trace():
    """The question to the back end and the publication are below the same command."""
    telemetry = RecordedTelemetry()
    async with back_end() as upstream:
        options = {
            "channels": {"publish_proxy_enabled": True},
            "proxy": {"publish": {"endpoint": upstream.url()}},
        }
        async with traced(telemetry, **options) as running, running.client() as client:
            await client.call(publish={"channel": "news", "data": 1})

    command, publish = sorted(telemetry.spans("publish *"), key=lambda span: span.kind.value)
    (ask,) = telemetry.spans("ask publish")
    assert ids(ask) == ids(publish) == (ids(command)[0], f"{command.context.span_id:016x}")
    assert ids(command)[1] == ""


async def test_errors_are_said_with_their_code():
    """What a client does wrong is no error of the span, what went wrong here is."""
    telemetry = RecordedTelemetry()
    async with back_end() as upstream:
        upstream.says(b"not JSON")
        proxy = {"rpc": {"endpoint": upstream.url()}}
        async with traced(telemetry, proxy=proxy) as running, running.client() as client:
            await client.call(subscribe={"channel": "nowhere:a"})
            await client.call(rpc={"method": "m"})

    (refused,) = telemetry.spans("subscribe")
    (failed,) = telemetry.spans("rpc *")
    assert (refused.attributes or {})["error.type"] == "102"
    assert refused.status.status_code is StatusCode.UNSET
    assert (failed.attributes or {})["error.type"] == "100"
    assert failed.status.status_code is StatusCode.ERROR


async def test_a_rule_is_about_a_namespace():
    """Commands about its channels have its share, all others have the usual one."""
    telemetry = RecordedTelemetry()
    rules = [SamplingRule(0.0, namespace="chat"), SamplingRule(0.0, name="connect")]
    sampling = MessageSampling(1.0, rules=rules)
    async with traced(telemetry, sampling=sampling, **CHAT) as running, running.client() as client:
        await client.subscribe("chat:a")
        await client.subscribe("news")

    assert [span.name for span in telemetry.spans()] == ["subscribe *"]


@pytest.mark.parametrize("tag", [True, False])
async def test_a_publication_carries_its_trace_if_it_may(tag):
    """With ``gateway.publication_traceparent`` off the publication goes out as it came."""
    telemetry = RecordedTelemetry()
    options = {"publication_traceparent": tag}
    async with traced(telemetry, **options) as running, running.client() as client:
        await client.subscribe("news")
        await client.call(publish={"channel": "news", "data": 1})
        publication = (await client.reply())["push"]["pub"]

    assert ("tags" in publication) is tag


def late(ratio: float = 1e-9, slow_s: float = 0.0, **options) -> MessageSampling:
    """Return a sampling that draws nothing, and what ended badly nevertheless."""
    policy = LatePolicy(SystemClock(), errors=True, slow_s=slow_s)
    return MessageSampling(ratio, late=policy, random_source=lambda: 1.0, **options)


async def test_an_unsampled_command_that_fails_is_told_of():
    """One span from its beginning to its end, in its client's trace; refusals are not."""
    telemetry = RecordedTelemetry()
    async with back_end() as upstream:
        upstream.says(b"not JSON")
        proxy = {"rpc": {"endpoint": upstream.url()}}
        async with traced(telemetry, sampling=late(), proxy=proxy) as running:
            async with running.client() as client:
                await client.call(subscribe={"channel": "nowhere:a"})
                await client.call(rpc={"method": "m"}, meta={"traceparent": TRACEPARENT[:-1] + "0"})

    (span,) = telemetry.spans()
    assert (span.name, span.status.status_code) == ("rpc *", StatusCode.ERROR)
    assert (span.attributes or {})["gateway.sampling.reason"] == "error"
    assert ids(span) == (TRACE, PARENT)
    assert span.start_time is not None and span.end_time is not None
    assert span.start_time < span.end_time


async def test_an_unsampled_command_that_is_slow_is_told_of():
    """What takes longer than the setting says is recorded, unless a rule's share is 0."""
    telemetry = RecordedTelemetry()
    sampling = late(slow_s=1e-9, rules=[SamplingRule(0.0, name="connect")])
    async with traced(telemetry, sampling=sampling) as running, running.client() as client:
        await client.subscribe("news")

    (span,) = telemetry.spans()
    assert (span.attributes or {})["gateway.sampling.reason"] == "slow"
    assert span.name == "subscribe *"


async def test_durations_say_what_commands_failed_of():
    """With the code of the error or of the disconnect; those that succeed have none."""
    telemetry = RecordedTelemetry()
    async with traced(telemetry, sampling=MessageSampling(0.0)) as running:
        async with running.client() as client:
            assert "error" in await client.call(rpc={"method": "x", "data": {}})
            await client.send(encode({"send": {"data": 1}}))
            assert (await client.closed())[0] == 3508

    found = {
        (each["messaging.operation.name"], each.get("error.type"))
        for each in (
            dict(point.attributes or {}) for point in telemetry.points("messaging.process.duration")
        )
    }
    assert found == {("connect", None), ("rpc", "108"), ("send", "3508")}
