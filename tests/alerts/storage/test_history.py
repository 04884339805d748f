"""The history in the database."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.routing.silence import Silence
from alerts.routing.views import Acknowledgement
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage import history as history_module
from alerts.storage.acknowledgements import AcknowledgementStore
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.storage.history import EventKind, History, HistoryCursor, HistoryEvent, record_in
from alerts.storage.posted_alerts import PostedAlerts
from alerts.storage.silences import SilenceStore
from tests.support.alerts import START_MS, make_alert

FAR_MS = START_MS * 2
TEXTS = st.dictionaries(st.text(), st.text(), max_size=3)
EVENTS = st.builds(
    HistoryEvent,
    st.integers(START_MS, START_MS + 3),
    st.sampled_from(EventKind),
    st.sampled_from(["0" * 16, "f" * 16, ""]),
    TEXTS.map(Labels),
    TEXTS.map(Labels),
    TEXTS,
)


def event(at_ms: int, kind: EventKind = EventKind.FIRING, **labels: str) -> HistoryEvent:
    """Return an event some milliseconds after the start."""
    found = Labels(labels)
    return HistoryEvent(START_MS + at_ms, kind, found.fingerprint(), found)


@pytest.fixture
def history(database: Database) -> History:
    """An empty history."""
    return History(database)


async def every(history: History, **options: object) -> list[HistoryEvent]:
    """Return all events a query finds, page by page."""
    found: list[HistoryEvent] = []
    before: HistoryCursor | None = None
    while True:
        arguments = {"since_ms": 0, "until_ms": FAR_MS, "limit": 3, **options}
        page = await history.query(before=before, **arguments)  # type: ignore[arg-type]  # options are those of query
        found += page.events
        if page.following is None:
            return found
        before = HistoryCursor.parse(str(page.following))


async def test_newest_first(history: History) -> None:
    """Events come newest first; of the same moment, the one recorded last comes first."""
    await history.record([event(1, job="a"), event(2, job="b")])
    await history.record([event(2, job="c"), event(0, job="d")])
    await history.record([])

    assert [found.labels["job"] for found in await every(history)] == ["c", "b", "a", "d"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
async def test_pages(history: History, limit: int) -> None:
    """Pages of any size hold every event once, and only the last has no place behind it."""
    events = [event(at_ms, n=str(at_ms)) for at_ms in (1, 1, 1, 2, 2)]
    await history.record(events)
    page = await history.query(since_ms=0, until_ms=FAR_MS, limit=limit)

    assert len(page.events) == min(limit, 5)
    assert (page.following is None) == (limit >= 5)
    assert sorted(found.at_ms for found in await every(history, limit=limit)) == [
        found.at_ms for found in events
    ]


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "expected"), [(0, 3, 3), (1, 2, 1), (1, 1, 0), (2, 9, 1), (3, 9, 0)]
)
async def test_range(history: History, since_ms: int, until_ms: int, expected: int) -> None:
    """A query sees from its beginning, inclusive, to its end, exclusive."""
    await history.record([event(at_ms) for at_ms in range(3)])
    page = await history.query(since_ms=START_MS + since_ms, until_ms=START_MS + until_ms, limit=9)

    assert len(page.events) == expected


async def test_filters(history: History) -> None:
    """Fingerprint, kinds and matchers each leave what they fit, and all of them together."""
    firing = event(1, job="a", env="x")
    resolved = event(2, EventKind.RESOLVED, job="a", env="x")
    other = event(3, job="b")
    await history.record([firing, resolved, other])
    job_a = Matcher(MatchOp.EQUAL, "job", "a")
    no_env = Matcher(MatchOp.EQUAL, "env", "")

    assert await every(history, fingerprint=firing.fingerprint) == [resolved, firing]
    assert await every(history, kinds=[EventKind.FIRING]) == [other, firing]
    assert await every(history, kinds=[EventKind.FIRING, EventKind.RESOLVED]) == [
        other,
        resolved,
        firing,
    ]
    assert await every(history, matchers=[job_a]) == [resolved, firing]
    assert await every(history, matchers=[no_env]) == [other]
    assert await every(history, matchers=[job_a, no_env]) == []
    assert await every(
        history, matchers=[job_a], kinds=[EventKind.FIRING], fingerprint=firing.fingerprint
    ) == [firing]


async def test_rare_events(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that looks in vain for long says where to go on, and nothing is passed over."""
    monkeypatch.setattr(history_module, "BATCH", 2)
    monkeypatch.setattr(history_module, "LOOKED_AT", 4)
    await history.record([event(at_ms, n=str(at_ms % 5)) for at_ms in range(20)])
    wanted = Matcher(MatchOp.EQUAL, "n", "0")
    page = await history.query(since_ms=0, until_ms=FAR_MS, limit=3, matchers=[wanted])

    assert page.events == ()
    assert page.following is not None
    found = await every(history, matchers=[wanted])
    assert [each.at_ms - START_MS for each in found] == [15, 10, 5, 0]


async def test_more_than_a_batch(history: History) -> None:
    """A page may be larger than what is fetched at a time."""
    await history.record([event(at_ms, n=str(at_ms)) for at_ms in range(1201)])
    page = await history.query(since_ms=0, until_ms=FAR_MS, limit=1200)

    assert [each.at_ms - START_MS for each in page.events] == list(range(1200, 0, -1))
    assert page.following is not None


async def test_pruned(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is older than a time is deleted, over as many transactions as it takes."""
    monkeypatch.setattr(history_module, "_OLD", 2)
    await history.record([event(at_ms) for at_ms in range(7)])

    assert await history.prune(START_MS + 5) == 5
    assert await history.prune(START_MS + 5) == 0
    assert [each.at_ms - START_MS for each in await every(history)] == [6, 5]


async def test_within_a_transaction(database: Database, history: History) -> None:
    """Events recorded in a transaction are there if it is, and not if it is not."""
    async with database.transaction() as connection:
        await record_in(connection, (event(at_ms) for at_ms in range(2)))

    async def fail() -> None:
        async with database.transaction() as connection:
            await record_in(connection, [event(3)])
            raise LookupError

    with pytest.raises(LookupError):
        await fail()

    assert len(await every(history)) == 2


async def test_with_what_happened(database: Database, history: History) -> None:
    """What is stored and what the history says of it are one transaction."""
    alert = make_alert(ends_at_ms=START_MS, job="a")
    silence = Silence("a", (Matcher(MatchOp.EQUAL, "a", "b"),), 1, 2, 3, "ann", "")
    acknowledgement = Acknowledgement(alert.fingerprint, START_MS, "ann", START_MS)
    events = [event(at_ms) for at_ms in range(5)]
    posted, acknowledged = PostedAlerts(database), AcknowledgementStore(database)
    await posted.save([(alert, START_MS)], events=events[:1])
    await SilenceStore(database).put(silence, events=events[1:2])
    await acknowledged.put(acknowledgement, events=events[2:3])
    await acknowledged.forget([alert.fingerprint], events=events[3:4])
    await posted.forget_ended(START_MS, events=events[4:])

    assert await every(history) == events[::-1]


async def test_not_with_what_failed(database: Database, history: History) -> None:
    """What was not stored is not in the history either."""
    silence = Silence("a", (Matcher(MatchOp.EQUAL, "a", "b"),), 1, 2, 3, "ann", "")
    wrong = replace(event(1), fingerprint=None)  # type: ignore[arg-type]  # what no column takes
    with pytest.raises(StorageError):
        await SilenceStore(database).put(silence, events=[wrong])

    assert await SilenceStore(database).load() == ()
    assert await every(history) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(EVENTS, max_size=8))
async def test_round_trip(history: History, events: list[HistoryEvent]) -> None:
    """Every event comes back as it was, over pages, in an order that is its own."""
    await history.record(events)
    found = await every(history)
    await history.prune(FAR_MS)

    expected = events[::-1]
    expected.sort(key=lambda each: -each.at_ms)
    assert found == expected


@given(st.builds(HistoryCursor, st.integers(-(10**15), 10**15), st.integers(0, 10**15)))
def test_cursor(cursor: HistoryCursor) -> None:
    """The text of a place names the place."""
    assert HistoryCursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["", "-", "1", "1-", "-1", "1-x", "x-1", "1 -2", "1-²", "1-" + "9" * 19]
)
def test_no_cursor(text: str) -> None:
    """A text that names no place is refused."""
    with pytest.raises(ValueError, match="is no place in the history"):
        HistoryCursor.parse(text)
