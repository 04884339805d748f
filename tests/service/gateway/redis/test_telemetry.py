"""What the broker tells of itself, and traces that lead through it."""

from opentelemetry.trace import SpanKind

from service.gateway.observation import GatewayObservation
from tests.service.test_observation import Page
from tests.support.app import labels
from tests.support.gateway import running_gateway, until
from tests.support.http import RecordedTelemetry
from tests.support.redis import RedisServer
from tests.support.redis_gateways import broker_of, redis_settings, two_gateways


async def test_connections_commands_and_messages_are_counted():
    """Levels of what is, counts of what was; of history, which is in Redis, there are none here."""
    with RedisServer(keep_data=False) as server:
        async with two_gateways(server, redis={"timeout": "200ms"}) as (one, other):
            page = Page()
            GatewayObservation(one.gateway).register(page.observers)
            async with one.client() as client:
                await client.subscribe("news")
                await other.publish("news", 1)
                server.command("PUBLISH", broker_of(one)._keys.topic("news").decode(), "x")
                await until(lambda: broker_of(one).redis_stats.unreadable)
                there = page.read()
                server.kill()
                await until(lambda: one.gateway.broker.away)
                refused = await one.api("publish", {"channel": "news", "data": 2})
                gone = page.read()

            assert refused["error"]["code"] == 100
            assert there["gateway.broker.connections"] == {labels(): 2}
            assert there["gateway.broker.away"] == {labels(): 0}
            assert not [name for name in there if name.startswith("gateway.history.")]
            assert there["gateway.broker.messages"][labels(error__type="unreadable")] == 1
            assert gone["gateway.broker.connections"] == {labels(): 0}
            assert gone["gateway.broker.away"] == {labels(): 1}
            assert gone["gateway.broker.reconnects"] == {labels(): 2}
            assert gone["gateway.broker.errors"][labels(error__type="away")] >= 1
            assert gone["gateway.broker.queue.size"][labels()] >= 0


async def test_a_trace_leads_from_one_process_to_the_other(server):
    """The delivery in one is a child of the publication in the other; the tags carry it."""
    sender, receiver = RecordedTelemetry(), RecordedTelemetry()
    broker = redis_settings(server.url)
    async with (
        running_gateway(broker=broker, instruments=sender.instruments, sampling_ratio=1.0) as one,
        running_gateway(broker=broker, instruments=receiver.instruments) as other,
        one.client() as publisher,
        other.client() as client,
    ):
        await client.subscribe("news")
        await publisher.subscribe("news")
        await publisher.call(publish={"channel": "news", "data": 1})
        pushed = (await client.reply())["push"]["pub"]
        await until(lambda: receiver.spans("deliver *"))

        (published,) = [
            span for span in sender.spans("publish *") if span.kind is SpanKind.PRODUCER
        ]
        (delivered,) = receiver.spans("deliver *")
        assert delivered.parent is not None
        assert delivered.parent.span_id == published.context.span_id
        assert delivered.context.trace_id == published.context.trace_id
        trace_id = f"{published.context.trace_id:032x}"
        assert pushed["tags"]["traceparent"].split("-")[1] == trace_id
