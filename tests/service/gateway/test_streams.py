"""Streams in memory: what is kept, what is dropped, and when."""

from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.clock import ManualClock
from service.gateway.streams import (
    ITEM_BYTES,
    STREAM_BYTES,
    MemoryStreams,
    Retention,
    StreamQuery,
)

HOUR = Retention(size=10, ttl_s=3600.0)
ALL = StreamQuery()


def make(clock: ManualClock, *, max_bytes: int = 1 << 20, meta_ttl_s: float = 86_400.0):
    return MemoryStreams(max_bytes=max_bytes, meta_ttl_s=meta_ttl_s, clock=clock)


def offsets(streams: MemoryStreams, name: str = "a", query: StreamQuery = ALL) -> list[int]:
    return [item.offset for item in streams.read(name, query).items]


def append(streams: MemoryStreams, times: int = 1, name: str = "a", retention=HOUR) -> None:
    for _ in range(times):
        streams.append(name, b'{"data":1}', retention)


def test_offsets_count_from_one_within_one_epoch():
    """The body carries its offset."""
    streams = make(ManualClock())

    first, body = streams.append("a", b'{"data":1}', HOUR)
    second, _ = streams.append("a", b'{"data":2}', HOUR)

    assert (first.offset, second.offset, body) == (1, 2, b'{"data":1,"offset":1}')
    assert first.epoch == second.epoch == streams.read("a", ALL).top.epoch
    assert streams.read("b", ALL).top.epoch != first.epoch


def test_pages_go_either_way_from_a_position():
    """A limit of 0 is the position alone."""
    streams = make(ManualClock())
    append(streams, 12)

    assert offsets(streams) == list(range(3, 13))
    assert offsets(streams, query=StreamQuery(after=10)) == [11, 12]
    assert offsets(streams, query=StreamQuery(limit=2, after=4)) == [5, 6]
    assert offsets(streams, query=StreamQuery(limit=2, after=1)) == [3, 4]
    assert offsets(streams, query=StreamQuery(limit=3, reverse=True)) == [12, 11, 10]
    assert offsets(streams, query=StreamQuery(after=6, reverse=True)) == [5, 4, 3]
    assert offsets(streams, query=StreamQuery(after=99)) == []
    assert offsets(streams, query=StreamQuery(limit=0)) == []


async def test_publications_go_when_the_newest_is_old_and_the_position_stays():
    """Then the position goes as well, and with it the epoch."""
    clock = ManualClock()
    streams = make(clock, meta_ttl_s=10_000.0)
    append(streams, 2)
    await clock.advance(3000)
    append(streams, 1)
    top = streams.read("a", ALL).top

    await clock.advance(3599)
    assert offsets(streams) == [1, 2, 3]
    await clock.advance(1)
    assert offsets(streams) == []
    assert streams.read("a", ALL).top == top
    await clock.advance(10_100)

    assert streams.stats.streams == 0
    assert streams.stats.bytes == 0
    assert streams.read("a", ALL).top.epoch != top.epoch


async def test_memory_comes_back_without_anybody_asking():
    """A timer lets go of what is over."""
    clock = ManualClock()
    streams = make(clock, meta_ttl_s=50.0)
    append(streams, 5, retention=Retention(10, 5.0))
    append(streams, 5, name="b", retention=Retention(10, 500.0))

    await clock.advance(120)
    assert (streams.stats.streams, streams.stats.items) == (1, 5)
    await clock.advance(600)

    assert (streams.stats.streams, streams.stats.items, streams.stats.bytes) == (0, 0, 0)


def test_past_the_bound_the_oldest_of_all_streams_goes_first():
    """It is counted, and the position of its stream stays."""
    body = b'{"data":1,"offset":1}'
    room = 2 * (STREAM_BYTES + 1) + 3 * (len(body) + ITEM_BYTES)
    streams = make(ManualClock(), max_bytes=room)
    append(streams, 1, name="a")
    append(streams, 2, name="b")
    assert streams.stats.evicted == 0

    append(streams, 1, name="b")

    assert (offsets(streams, "a"), offsets(streams, "b")) == ([], [1, 2, 3])
    assert streams.read("a", ALL).top.offset == 1
    assert streams.stats.evicted == 1


def test_streams_without_publications_are_bounded_too():
    """Asking for the history of any number of channels does not fill the memory."""
    streams = make(ManualClock(), max_bytes=10 * STREAM_BYTES)

    for number in range(1000):
        streams.read(f"channel-{number}", ALL)

    assert streams.stats.streams < 10
    assert streams.stats.bytes <= 10 * STREAM_BYTES


def test_clearing_keeps_the_position():
    """The next publication goes on from there."""
    streams = make(ManualClock())
    append(streams, 3)

    streams.clear("a")
    streams.clear("unknown")

    assert offsets(streams) == []
    append(streams)
    assert offsets(streams) == [4]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from("abc")),
        st.tuples(st.just("clear"), st.sampled_from("abc")),
        st.tuples(st.just("read"), st.sampled_from("abc")),
        st.tuples(st.just("wait"), st.sampled_from([1, 4, 30])),
    ),
    max_size=80,
)


@settings(max_examples=150)
@given(steps=steps, max_bytes=st.sampled_from([2500, 4000, 100_000]))
async def test_streams_have_no_holes_and_the_books_are_right(steps, max_bytes):
    """For any order of events: offsets are consecutive up to the top, and bytes add up."""
    clock = ManualClock()
    streams = make(clock, max_bytes=max_bytes, meta_ttl_s=40.0)
    for step, value in steps:
        if step == "append":
            streams.append(value, b'{"data":1}', Retention(3, 5.0))
        elif step == "clear":
            streams.clear(value)
        elif step == "read":
            page = streams.read(value, ALL)
            got = [item.offset for item in page.items]
            assert got == list(range(page.top.offset - len(got) + 1, page.top.offset + 1))
            assert len(got) <= 3
        else:
            await clock.advance(value)
        stats = streams.stats
        kept = [item for stream in streams._streams.values() for item in stream.items]
        assert stats.bytes <= max_bytes
        assert stats.items == len(kept)
        assert stats.bytes == sum(len(item.body) + ITEM_BYTES for item in kept) + sum(
            STREAM_BYTES + len(name) for name in streams._streams
        )
    await clock.advance(200)

    assert (streams.stats.streams, streams.stats.bytes) == (0, 0)
    assert not streams._order
