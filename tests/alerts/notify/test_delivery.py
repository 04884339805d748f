"""Delivery: at least once, in order, nobody waiting for anybody else."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from alerts.clock import ManualClock
from alerts.notify.channel import Channel, LogChannel
from alerts.notify.channels import ChannelContext, build_channels
from alerts.notify.delivery import MAX_ATTEMPTS_AT_A_TIME, Backoff, Delivery, DeliveryContext
from alerts.notify.errors import DeliveryError, FailureReason
from alerts.notify.log import NotificationLog
from alerts.notify.notification import Notification, trace_parent_of
from alerts.notify.outbox import Outbox
from alerts.notify.transport import Transport
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.telemetry import AlertsTelemetry
from tests.support.alerts import database_url, make_notification, until
from tests.support.channels import good_entry
from tests.support.webhook import (
    CLOSE,
    HANG,
    Answer,
    WebhookReceiver,
    aiohttp_transport,
    webhook_receiver,
)


class ScriptedChannel:
    """Raises what ``errors`` holds next, by group, and otherwise accepts."""

    def __init__(self, receiver: str, clock: ManualClock) -> None:
        self.receiver = receiver
        self.key = f"{receiver}/webhook/0"
        self.sends_resolved = True
        self.errors: dict[str, list[Exception]] = {}
        self.attempts: list[tuple[str, float]] = []
        self._clock = clock

    async def deliver(self, notification: Notification) -> None:
        self.attempts.append((notification.id, self._clock.monotonic()))
        await asyncio.sleep(0)
        errors = self.errors.get(notification.group_key)
        if errors:
            raise errors.pop(0)


class ConstantRandom(Random):
    """Draws the upper end of every range, so that delays are known."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Bench:
    """A delivery with its outbox over a database file."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.clock = clock
        self.outbox = Outbox(database)
        self.log = NotificationLog()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.telemetry = AlertsTelemetry.create(provider.get_tracer("t"), NoOpMeter("t"))

    def delivery(self, *channels: Channel, backoff: Backoff | None = None) -> Delivery:
        """Return a delivery that is not started."""
        context = DeliveryContext(
            self.outbox,
            self.log,
            self.clock,
            ConstantRandom(),
            self.telemetry,
            backoff or Backoff(1.0, 8.0),
        )
        return Delivery(channels, context, close_deadline_s=0.1)

    async def send(self, delivery: Delivery, *notifications: Notification) -> None:
        """Commit notifications and hand them on."""
        await self.outbox.commit(notifications, [])
        delivery.submit(notifications)

    async def drained(self, delivery: Delivery) -> None:
        """Wait until nothing is queued."""
        await until(self.clock, lambda: delivery.queued == 0)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench at a clock that stands still."""
    async with Database(database_url(tmp_path)) as database:
        yield Bench(database, ManualClock())


def temporary(retry_after_s: float | None = None) -> DeliveryError:
    """Return an error that is worth another attempt."""
    return DeliveryError("busy", FailureReason.SERVER_ERROR, retry_after_s=retry_after_s)


def channel_to(
    receiver: WebhookReceiver,
    name: str,
    transport: Transport,
    clock: ManualClock,
    timeout: str = "10s",
) -> Channel:
    """Return a webhook channel to a receiver on loopback."""
    config = good_entry("webhook", {"url": receiver.url, "timeout": timeout})
    (channel,) = build_channels(name, [config], ChannelContext(transport, clock))
    return channel


async def attempts_of(bench: Bench, channel: ScriptedChannel, count: int) -> None:
    """Wait until a channel was tried so many times."""
    await until(bench.clock, lambda: len(channel.attempts) >= count)


async def test_accepted(bench: Bench) -> None:
    """What is accepted leaves the outbox."""
    channel = ScriptedChannel("ops", bench.clock)
    async with bench.delivery(channel) as delivery:
        await bench.send(delivery, make_notification("n1"))
        await bench.drained(delivery)

    assert await bench.outbox.waiting() == ()
    assert delivery.stats["ops"].delivered == 1


async def test_backoff(bench: Bench) -> None:
    """Attempts are repeated after delays that double up to the cap."""
    channel = ScriptedChannel("ops", bench.clock)
    channel.errors["g"] = [temporary() for _ in range(5)]
    async with bench.delivery(channel) as delivery:
        await bench.send(delivery, make_notification("n1"))
        for count in range(1, 6):
            await attempts_of(bench, channel, count)
            await bench.clock.settle()
            await bench.clock.advance(8.0)
        await bench.drained(delivery)

    times = [moment for _, moment in channel.attempts]
    assert times[-1] - times[-2] == 8.0
    assert delivery.stats["ops"].retries == 5


@given(st.integers(1, 5000), st.randoms())
def test_jitter(failures: int, random: Random) -> None:
    """Every delay lies between nothing and the exponential limit, however long it lasts."""
    delay_s = Backoff(0.5, 30.0).delay_s(failures, random)

    assert 0 <= delay_s <= min(30.0, 0.5 * 2.0 ** min(failures - 1, 60))


async def test_first_delays(bench: Bench) -> None:
    """The first delays are the base, then twice that."""
    channel = ScriptedChannel("ops", bench.clock)
    channel.errors["g"] = [temporary(), temporary()]
    async with bench.delivery(channel) as delivery:
        await bench.send(delivery, make_notification("n1"))
        await attempts_of(bench, channel, 1)
        await bench.clock.advance(1.0)
        await attempts_of(bench, channel, 2)
        await bench.clock.advance(1.99)
        assert len(channel.attempts) == 2
        await bench.clock.advance(0.01)
        await bench.drained(delivery)

    assert [moment for _, moment in channel.attempts] == pytest.approx([0.0, 1.0, 3.0])


async def test_retry_after_holds_the_receiver(bench: Bench) -> None:
    """A wait the receiver asks for holds for all its groups."""
    channel = ScriptedChannel("ops", bench.clock)
    channel.errors["g"] = [temporary(retry_after_s=20.0)]
    async with bench.delivery(channel) as delivery:
        await bench.send(delivery, make_notification("n1"))
        await attempts_of(bench, channel, 1)
        await bench.send(delivery, make_notification("n2", group="other"))
        await bench.clock.advance(19.9)
        assert len(channel.attempts) == 1
        await bench.clock.advance(0.1)
        await bench.drained(delivery)

    assert {name for name, _ in channel.attempts} == {"n1", "n2"}


async def test_order_in_a_group(bench: Bench) -> None:
    """Within a group a later notification waits for the one before; other groups do not."""
    channel = ScriptedChannel("ops", bench.clock)
    channel.errors["a"] = [temporary()]
    async with bench.delivery(channel) as delivery:
        await bench.send(
            delivery,
            make_notification("a1", group="a"),
            make_notification("a2", group="a"),
            make_notification("b1", group="b"),
        )
        await attempts_of(bench, channel, 2)
        await bench.clock.advance(1.0)
        await bench.drained(delivery)

    assert [name for name, _ in channel.attempts] == ["a1", "b1", "a1", "a2"]


async def test_permanent_failure(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What can never be accepted is kept as failed, counted, logged, and holds up nothing."""
    channel = ScriptedChannel("ops", bench.clock)
    channel.errors["g"] = [DeliveryError("was 404", FailureReason.REFUSED, permanent=True)]
    async with bench.delivery(channel) as delivery:
        await bench.send(delivery, make_notification("n1"), make_notification("n2"))
        await bench.drained(delivery)

    ((failed, reason, error),) = await bench.outbox.failed()
    assert (failed.id, reason, error) == ("n1", "refused", "was 404")
    assert delivery.stats["ops"].failed == {FailureReason.REFUSED: 1}
    assert delivery.stats["ops"].delivered == 1
    assert "a notification for ops about g is given up: was 404" in caplog.text


async def test_defect_in_a_channel(bench: Bench) -> None:
    """A channel that breaks is tried again like any failure."""
    channel = ScriptedChannel("ops", bench.clock)
    channel.errors["g"] = [KeyError("a defect")]
    async with bench.delivery(channel) as delivery:
        await bench.send(delivery, make_notification("n1"))
        await attempts_of(bench, channel, 1)
        await bench.clock.advance(1.0)
        await bench.drained(delivery)

    assert len(channel.attempts) == 2


async def test_killed_before_the_answer(bench: Bench) -> None:
    """What was not answered when the process died is sent by the next, under the same key."""
    async with webhook_receiver() as receiver, aiohttp_transport() as transport:
        receiver.answers.append(HANG)
        channel = channel_to(receiver, "ops", transport, bench.clock)
        async with bench.delivery(channel) as first:
            await bench.send(first, make_notification("n1"))
            await receiver.wait_for(1)
        async with bench.delivery(channel) as second:
            await receiver.wait_for(2)
            await bench.drained(second)

    assert [request.key for request in receiver.received] == ["n1", "n1"]
    assert await bench.outbox.waiting() == ()


async def test_committed_but_never_tried(bench: Bench) -> None:
    """What was committed by a process that died at once is sent by the next, in order."""
    await bench.outbox.commit([make_notification("n1"), make_notification("n2")], [])
    channel = ScriptedChannel("ops", bench.clock)

    async with bench.delivery(channel) as delivery:
        await bench.drained(delivery)

    assert [name for name, _ in channel.attempts] == ["n1", "n2"]


@pytest.mark.parametrize("answer", [Answer(500), CLOSE, HANG])
async def test_bad_receiver(bench: Bench, answer: Answer) -> None:
    """A receiver that answers 500, closes the connection or hangs is tried again."""
    async with webhook_receiver() as receiver, aiohttp_transport() as transport:
        receiver.answers.append(answer)
        timeout = "1s" if answer is HANG else "10s"
        channel = channel_to(receiver, "ops", transport, bench.clock, timeout)
        async with bench.delivery(channel) as delivery:
            await bench.send(delivery, make_notification("n1"))
            await until(bench.clock, lambda: delivery.stats["ops"].retries == 1)
            await bench.clock.advance(1.0)
            await bench.drained(delivery)

    assert [request.key for request in receiver.received] == ["n1", "n1"]


async def test_hanging_receiver_delays_nobody(bench: Bench) -> None:
    """While one receiver hangs, another gets everything."""
    async with (
        webhook_receiver() as hanging,
        webhook_receiver() as working,
        aiohttp_transport() as transport,
    ):
        hanging.always = HANG
        slow = channel_to(hanging, "slow", transport, bench.clock)
        fast = channel_to(working, "fast", transport, bench.clock)
        async with bench.delivery(slow, fast) as delivery:
            await bench.send(delivery, make_notification("s", channel=slow.key))
            await hanging.wait_for(1)
            for number in range(5):
                await bench.send(delivery, make_notification(f"f{number}", channel=fast.key))
            await working.wait_for(5)

    assert [request.key for request in working.received] == ["f0", "f1", "f2", "f3", "f4"]
    assert [item.id for item in await bench.outbox.waiting()] == ["s"]


async def test_removed_receiver(bench: Bench) -> None:
    """What is left for a receiver that is configured no more is kept as failed."""
    await bench.outbox.commit([make_notification("n1", channel="gone/webhook/0")], [])

    async with bench.delivery(ScriptedChannel("ops", bench.clock)) as delivery:
        await bench.drained(delivery)

    ((failed, reason, _),) = await bench.outbox.failed()
    assert (failed.id, reason) == ("n1", "receiver_removed")
    assert delivery.stats["gone"].failed == {FailureReason.RECEIVER_REMOVED: 1}


class ForgetfulOutbox(Outbox):
    """Fails to remove as often as told."""

    failures = 1

    async def remove_all(self, ids: Collection[str]) -> None:
        if self.failures:
            self.failures -= 1
            raise StorageError("the disk is full")
        await super().remove_all(ids)


async def test_accepted_but_not_removed(tmp_path: Path) -> None:
    """What was accepted and could not be removed is only removed again, not sent again."""
    async with Database(database_url(tmp_path)) as database:
        bench = Bench(database, ManualClock())
        bench.outbox = ForgetfulOutbox(database)
        channel = ScriptedChannel("ops", bench.clock)
        async with bench.delivery(channel) as delivery:
            await bench.send(delivery, make_notification("n1"))
            await until(bench.clock, lambda: delivery.stats["ops"].retries == 1)
            await bench.clock.advance(1.0)
            await bench.drained(delivery)

        assert len(channel.attempts) == 1
        assert await bench.outbox.waiting() == ()


class CountingOutbox(Outbox):
    """Remembers how many notifications left in each transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.removed: list[int] = []

    async def remove_all(self, ids: Collection[str]) -> None:
        self.removed.append(len(ids))
        await super().remove_all(ids)


async def test_many_groups_at_a_time(tmp_path: Path) -> None:
    """A few groups are told side by side, and leave the outbox together; no group twice at once."""
    clock = ManualClock()
    busy: dict[str, int] = {}
    most = 0

    class SlowChannel(ScriptedChannel):
        async def deliver(self, notification: Notification) -> None:
            nonlocal most
            group = notification.group_key
            assert group not in busy
            busy[group] = 1
            most = max(most, len(busy))
            await clock.sleep(1)
            del busy[group]
            await super().deliver(notification)

    async with Database(database_url(tmp_path)) as database:
        bench = Bench(database, clock)
        bench.outbox = outbox = CountingOutbox(database)
        channel = SlowChannel("ops", clock)
        async with bench.delivery(channel) as delivery:
            for number in range(40):
                await bench.send(delivery, make_notification(f"n{number}", group=f"g{number % 20}"))
            while delivery.queued:
                await clock.advance(1)
                await asyncio.sleep(0.001)

    told = [name for name, _ in channel.attempts]
    assert most == MAX_ATTEMPTS_AT_A_TIME
    assert sorted(told) == sorted(f"n{number}" for number in range(40))
    assert all(told.index(f"n{first}") < told.index(f"n{first + 20}") for first in range(20))
    assert sum(outbox.removed) == 40
    assert len(outbox.removed) < 30


async def test_one_at_a_time_while_nobody_answers(tmp_path: Path) -> None:
    """A receiver that is away does not take the connections of the others; then all go on."""
    clock = ManualClock()
    busy, most = 0, [0]
    is_away = True

    class AwayChannel(ScriptedChannel):
        async def deliver(self, notification: Notification) -> None:
            nonlocal busy
            busy += 1
            most[-1] = max(most[-1], busy)
            await clock.sleep(1)
            busy -= 1
            if is_away:
                raise DeliveryError("no answer", FailureReason.TIMEOUT)

    async with Database(database_url(tmp_path)) as database:
        bench = Bench(database, clock)
        async with bench.delivery(AwayChannel("ops", clock)) as delivery:
            for number in range(20):
                await bench.send(delivery, make_notification(f"n{number}", group=f"g{number}"))
            await clock.advance(1)
            await until(clock, lambda: busy <= 1)
            most.append(0)
            await clock.advance(60)
            is_away = False
            most.append(0)
            while delivery.queued:
                await clock.advance(1)
                await asyncio.sleep(0.001)

    assert most == [MAX_ATTEMPTS_AT_A_TIME, 1, MAX_ATTEMPTS_AT_A_TIME]


async def test_span(bench: Bench) -> None:
    """An attempt is a root span linked to the evaluation, and current while it posts."""
    channel = ScriptedChannel("ops", bench.clock)
    channel.errors["g"] = [temporary()]
    evaluation = TracerProvider().get_tracer("t").start_span("evaluate g").get_span_context()
    notification = make_notification("n1", trace_parent=trace_parent_of(evaluation))
    async with bench.delivery(channel) as delivery:
        await bench.send(delivery, notification)
        await attempts_of(bench, channel, 1)
        await bench.clock.advance(1.0)
        await bench.drained(delivery)

    first, second = bench.spans.get_finished_spans()
    assert (first.name, first.kind, first.parent) == ("notify ops", SpanKind.PRODUCER, None)
    assert [link.context.span_id for link in first.links] == [evaluation.span_id]
    assert (first.attributes or {})["error.type"] == "server_error"
    assert first.events == ()
    assert dict(second.attributes or {}) == {
        "gateway.receiver": "ops",
        "gateway.alert.group_key": "g",
        "http.request.resend_count": 1,
    }


async def test_log_channel(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Without a receiver alerts are written to the log."""
    async with bench.delivery(LogChannel("log")) as delivery:
        await bench.send(delivery, make_notification("n1", channel="log/log/0"))
        await bench.drained(delivery)

    assert 'alert firing {alertname="Down"}: text' in caplog.text


@asynccontextmanager
async def stuck_channel(clock: ManualClock) -> AsyncIterator[ScriptedChannel]:
    """A channel that never comes back from an attempt."""

    class Stuck(ScriptedChannel):
        async def deliver(self, notification: Notification) -> None:
            await super().deliver(notification)
            await asyncio.sleep(math.inf)

    yield Stuck("ops", clock)


async def test_close_is_bounded(bench: Bench) -> None:
    """An attempt that does not end is cancelled at the deadline and stays in the outbox."""
    async with stuck_channel(bench.clock) as channel:
        async with asyncio.timeout(5), bench.delivery(channel) as delivery:
            await bench.send(delivery, make_notification("n1"))
            await attempts_of(bench, channel, 1)

        assert [item.id for item in await bench.outbox.waiting()] == ["n1"]


class PacedChannel(ScriptedChannel):
    """May send only once in ten seconds."""

    def ready_in_s(self) -> float:
        last_s = self.attempts[-1][1] if self.attempts else -10.0
        return last_s + 10.0 - self._clock.monotonic()

    _clock: ManualClock


async def test_pace(bench: Bench) -> None:
    """A channel waits for its receiver's limit; the others do not."""
    slow, quick = PacedChannel("slow", bench.clock), ScriptedChannel("quick", bench.clock)
    async with bench.delivery(slow, quick) as delivery:
        await bench.send(
            delivery,
            *(make_notification(f"s{n}", channel=slow.key, group=f"{n}") for n in range(3)),
            *(make_notification(f"q{n}", channel=quick.key, group=f"{n}") for n in range(3)),
        )
        await attempts_of(bench, quick, 3)
        await attempts_of(bench, slow, 1)
        for count in (2, 3):
            await bench.clock.advance(9.9)
            assert len(slow.attempts) == count - 1
            await bench.clock.advance(0.1)
            await attempts_of(bench, slow, count)
        await bench.drained(delivery)

    assert [moment for _, moment in slow.attempts] == pytest.approx([0.0, 10.0, 20.0])
    assert {moment for _, moment in quick.attempts} == {0.0}
