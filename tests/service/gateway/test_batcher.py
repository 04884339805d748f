"""MessageBatcher: when it sends, what it does with failures, and that it loses nothing."""

import asyncio
import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.clock import ManualClock
from service.gateway.batcher import (
    Batch,
    BatcherClosedError,
    BatcherFullError,
    BatchLimits,
    FlushReason,
    MessageBatcher,
    RetryPolicy,
)


class Recorder:
    """A sink that keeps what it is given, and can be told to fail or to wait."""

    def __init__(self) -> None:
        self.batches: list[Batch[str]] = []
        self.failed: list[tuple[Batch[str], Exception]] = []
        self.failures: list[Exception] = []
        self.gate: asyncio.Event | None = None
        self.running = 0

    def __call__(self, batch: Batch[str]):
        if self.gate is not None:
            return self._later(batch)
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(batch)
        return None

    async def _later(self, batch: Batch[str]) -> None:
        assert self.gate is not None
        self.running += 1
        assert self.running == 1, "one batch is under way at a time"
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(batch)

    def on_error(self, batch: Batch[str], error: Exception) -> None:
        self.failed.append((batch, error))

    @property
    def items(self) -> list[str]:
        return [item for batch in self.batches for item in batch.items]

    @property
    def reasons(self) -> list[FlushReason]:
        return [batch.reason for batch in self.batches]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sink() -> Recorder:
    return Recorder()


def make(sink: Recorder, clock: ManualClock, retry: RetryPolicy | None = None, **limits):
    return MessageBatcher[str](
        sink,
        size_of=len,
        on_error=sink.on_error,
        clock=clock,
        limits=BatchLimits(**limits),
        retry=retry or RetryPolicy(),
        random=Random(1),
    )


async def test_an_idle_batcher_sends_its_first_item_at_once(sink, clock):
    """Batching costs a quiet source no latency."""
    batcher = make(sink, clock)

    await batcher.add("a")
    await clock.settle()

    assert sink.items == ["a"]
    assert sink.reasons == [FlushReason.EAGER]


async def test_an_idle_batcher_sends_what_it_is_given_in_one_go_as_one_batch(sink, clock):
    """Somebody with several items adds them all before the first is sent."""
    batcher = make(sink, clock)

    for item in "abc":
        batcher.add_nowait(item)
    await clock.settle()

    assert [batch.items for batch in sink.batches] == [("a", "b", "c")]
    assert sink.reasons == [FlushReason.EAGER]


async def test_a_flush_before_the_loop_is_yielded_to_leaves_nothing_to_send_then(sink, clock):
    """What waits for the end of the turn can be sent earlier, and is sent once."""
    batcher = make(sink, clock)
    batcher.add_nowait("a")

    batcher.flush_nowait()
    await clock.settle()

    assert [batch.items for batch in sink.batches] == [("a",)]


async def test_a_sink_that_keeps_the_loop_busy_does_not_end_the_window(clock):
    """The more a flush takes, the more is gathered for the next one, not the less."""
    batches: list[tuple[str, ...]] = []

    def slow(batch: Batch[str]) -> None:
        batches.append(batch.items)
        clock._elapsed_ns += 50_000_000  # no timer runs meanwhile

    batcher = MessageBatcher(
        slow, size_of=len, on_error=Recorder().on_error, clock=clock, limits=BatchLimits()
    )
    batcher.add_nowait("a")
    await clock.settle()
    batcher.add_nowait("b")
    await clock.settle()
    batcher.add_nowait("c")

    await clock.advance(0.010)

    assert batches == [("a",), ("b", "c")]


async def test_items_that_keep_coming_are_gathered_until_the_window_ends(sink, clock):
    """After an eager flush the next items wait for the rest of the window."""
    batcher = make(sink, clock, max_delay_s=0.010)
    await batcher.add("a")
    await clock.settle()
    await batcher.add("b")
    await batcher.add("c")
    await clock.advance(0.009)
    assert sink.items == ["a"]

    await clock.advance(0.001)

    assert [batch.items for batch in sink.batches] == [("a",), ("b", "c")]
    assert sink.reasons[1] is FlushReason.DELAY
    assert sink.batches[1].waited_s == pytest.approx(0.010)


async def test_a_batcher_is_idle_again_after_an_empty_window(sink, clock):
    """An item that comes after the window has ended is not held."""
    batcher = make(sink, clock, max_delay_s=0.010)
    await batcher.add("a")
    await clock.advance(0.010)

    await batcher.add("b")
    await clock.settle()

    assert sink.reasons == [FlushReason.EAGER, FlushReason.EAGER]


async def test_without_eager_the_first_item_waits_for_the_whole_delay(sink, clock):
    """The delay counts from the first waiting item."""
    batcher = make(sink, clock, eager=False, max_delay_s=0.5)
    await batcher.add("a")
    await clock.advance(0.3)
    await batcher.add("b")
    assert sink.batches == []

    await clock.advance(0.2)

    assert [batch.items for batch in sink.batches] == [("a", "b")]


@pytest.mark.parametrize(("items", "sent"), [(2, 0), (3, 1), (4, 1), (6, 2)])
async def test_a_full_count_is_sent_at_once(sink, clock, items, sent):
    """Limit minus one waits, the limit goes."""
    batcher = make(sink, clock, eager=False, max_messages=3)

    for _ in range(items):
        await batcher.add("x")

    assert len(sink.batches) == sent
    assert all(reason is FlushReason.COUNT for reason in sink.reasons)


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([4, 5], []),
        ([4, 6], [2]),
        ([4, 7], [1]),
        ([11], [1]),
        ([3, 20, 3], [1, 1]),
    ],
)
async def test_bytes_limit_a_batch_unless_one_item_is_larger(sink, clock, sizes, batches):
    """A batch never exceeds the limit; an item that does goes alone."""
    batcher = make(sink, clock, eager=False, max_bytes=10)

    for size in sizes:
        await batcher.add("x" * size)

    assert [len(batch.items) for batch in sink.batches] == batches


async def test_flush_sends_on_demand(sink, clock):
    """What waits goes now, whatever the limits say."""
    batcher = make(sink, clock, eager=False)
    await batcher.add("a")

    await batcher.flush()

    assert sink.reasons == [FlushReason.DEMAND]


async def test_order_is_kept_while_a_slow_sink_is_busy(sink, clock):
    """Items that come meanwhile follow, in order and within the limits."""
    sink.gate = asyncio.Event()
    batcher = make(sink, clock, max_messages=2)
    await batcher.add("a")
    await clock.settle()
    for item in "bcde":
        await batcher.add(item)
    assert sink.batches == []

    sink.gate.set()
    await batcher.flush()

    assert [batch.items for batch in sink.batches] == [("a",), ("b", "c"), ("d", "e")]


async def test_add_waits_while_the_batcher_is_full_and_serves_callers_in_order(sink, clock):
    """Backpressure reaches the caller; nobody overtakes."""
    sink.gate = asyncio.Event()
    batcher = make(sink, clock, max_messages=1, max_pending=2)
    await batcher.add("a")
    await batcher.add("b")
    waiting = [asyncio.create_task(batcher.add(item)) for item in "cd"]
    await clock.settle()
    assert not any(task.done() for task in waiting)
    with pytest.raises(BatcherFullError):
        batcher.add_nowait("x")

    sink.gate.set()
    await asyncio.gather(*waiting)
    await batcher.flush()

    assert sink.items == list("abcd")


async def test_a_cancelled_add_takes_nothing_and_passes_its_room_on(sink, clock):
    """Cancelling in the very moment room is granted must not lose the room."""
    sink.gate = asyncio.Event()
    batcher = make(sink, clock, max_messages=1, max_pending=1)
    await batcher.add("a")
    first = asyncio.create_task(batcher.add("b"))
    second = asyncio.create_task(batcher.add("c"))
    await clock.settle()
    batcher._grant_room()
    batcher._settled += 1  # room for one: it is granted to the first caller ...
    batcher._grant_room()
    batcher._settled -= 1
    first.cancel()  # ... who gives up before running

    sink.gate.set()
    await second
    await batcher.flush()

    assert sink.items == ["a", "c"]
    assert first.cancelled()


async def test_a_failing_sink_is_retried_in_order(sink, clock):
    """Later items wait behind the batch that is tried again."""
    sink.failures = [ConnectionError("one"), ConnectionError("two")]
    batcher = make(sink, clock, RetryPolicy(attempts=3, base_s=1.0, cap_s=10.0))
    await batcher.add("a")
    await batcher.add("b")
    assert sink.batches == []

    await clock.advance(30.0)

    assert sink.items == ["a", "b"]
    assert batcher.stats.retries == 2
    assert sink.failed == []


async def test_items_whose_sink_fails_for_good_reach_the_error_handler(sink, clock):
    """Nothing is dropped in silence, and what comes after is still sent."""
    error = ConnectionError("gone")
    sink.failures = [error]
    batcher = make(sink, clock)

    await batcher.add("a")
    await clock.settle()
    await batcher.add("b")
    await batcher.flush()

    assert [(batch.items, why) for batch, why in sink.failed] == [(("a",), error)]
    assert sink.items == ["b"]
    assert batcher.stats.failed_items == 1
    assert batcher.pending == 0


async def test_an_error_handler_that_raises_does_not_stop_the_batcher(sink, clock):
    """Its error goes to the loop's handler, the next batch to the sink."""
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    sink.failures = [ConnectionError("gone")]

    def on_error(batch, error):
        raise RuntimeError("the handler is broken")

    batcher = MessageBatcher[str](sink, size_of=len, on_error=on_error, clock=clock)
    await batcher.add("a")
    await clock.settle()
    await batcher.add("b")
    await batcher.flush()

    assert sink.items == ["b"]
    assert "error handler" in reported[0]["message"]


async def test_close_sends_what_waits_and_takes_nothing_more(sink, clock):
    """Everything taken is sent; the next item is refused."""
    batcher = make(sink, clock, eager=False)
    await batcher.add("a")

    left = await batcher.aclose(timeout_s=1.0)

    assert left == ()
    assert sink.reasons == [FlushReason.CLOSE]
    with pytest.raises(BatcherClosedError):
        await batcher.add("b")


async def test_close_says_what_it_could_not_send_in_time(sink, clock):
    """The batch under way and all that waits behind it are returned at the deadline."""
    sink.gate = asyncio.Event()
    batcher = make(sink, clock, max_messages=1)
    for item in "abc":
        await batcher.add(item)
    closing = asyncio.create_task(batcher.aclose(timeout_s=2.0))

    await clock.advance(2.0)

    assert await closing == ("a", "b", "c")
    assert batcher.stats.failed_items == 3
    assert batcher.stats.pending == 0


async def test_close_refuses_callers_that_were_waiting_for_room(sink, clock):
    """An item that was never taken is not silently kept."""
    sink.gate = asyncio.Event()
    batcher = make(sink, clock, max_messages=1, max_pending=1)
    await batcher.add("a")
    waiting = asyncio.create_task(batcher.add("b"))
    await clock.settle()

    closing = asyncio.create_task(batcher.aclose(timeout_s=1.0))
    with pytest.raises(BatcherClosedError):
        await waiting
    sink.gate.set()

    assert await closing == ()
    assert sink.items == ["a"]


async def test_threads_add_with_backpressure(sink, clock):
    """The future of add_threadsafe is done when the item is taken; one thread's order is kept."""
    batcher = make(sink, clock, eager=False, max_messages=10)

    def produce() -> None:
        for number in range(30):
            batcher.add_threadsafe(f"{number}").result(timeout=10)

    thread = threading.Thread(target=produce)
    thread.start()
    await asyncio.to_thread(thread.join)

    assert sink.items == [f"{number}" for number in range(30)]


async def test_counters_tell_the_whole_story(sink, clock):
    """Items, batches, bytes, reasons and waiting time add up."""
    batcher = make(sink, clock, max_delay_s=0.010)
    await batcher.add("aa")
    await clock.settle()
    await batcher.add("b")
    await batcher.add("c")
    assert batcher.stats.pending == 2

    await clock.advance(0.010)

    stats = batcher.stats
    assert (stats.items, stats.batches, stats.bytes, stats.pending) == (3, 2, 4, 0)
    assert stats.flushes[FlushReason.EAGER] == stats.flushes[FlushReason.DELAY] == 1
    assert stats.waited_s == pytest.approx(0.010)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 12)),
        st.tuples(st.just("advance"), st.sampled_from([0.001, 0.005, 0.02])),
        st.tuples(st.just("fail"), st.integers(1, 2)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=80)
@given(steps=steps, eager=st.booleans(), attempts=st.integers(1, 3), waits=st.booleans())
def test_every_item_is_sent_once_in_order_or_reported(steps, eager, attempts, waits):
    """For any interleaving of items, time, failures and flushes, within all limits."""

    async def run() -> None:
        clock, sink = ManualClock(), Recorder()
        batcher = make(
            sink, clock, RetryPolicy(attempts), eager=eager, max_messages=4, max_bytes=20
        )
        if waits:
            sink.gate = asyncio.Event()
            sink.gate.set()
        added: list[str] = []
        for step, value in steps:
            if step == "add":
                added.append(f"{len(added):02}".ljust(value, "."))
                await batcher.add(added[-1])
            elif step == "advance":
                await clock.advance(value)
            elif step == "fail":
                sink.failures += [ConnectionError("down")] * int(value)
            else:
                flushing = asyncio.create_task(batcher.flush())
                await clock.advance(60.0)
                await flushing
        closing = asyncio.create_task(batcher.aclose(timeout_s=600.0))
        await clock.advance(600.0)
        left = await closing

        failed = [item for batch, _ in sink.failed for item in batch.items]
        assert sorted([*sink.items, *failed, *left]) == sorted(added)
        assert sink.items == [item for item in added if item in set(sink.items)]
        for batch in sink.batches:
            assert len(batch.items) <= 4
            assert batch.size_bytes <= 20 or len(batch.items) == 1
        assert batcher.pending == batcher.stats.pending == 0

    asyncio.run(run())
