"""Silences: Alertmanager's rules for changing them, lookups, and what a failing store does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from alerts.clock import ManualClock
from alerts.routing.silence import Silence, SilenceState
from alerts.routing.silences import (
    MAX_SILENCE_BYTES,
    RETENTION_MS,
    SilenceError,
    SilenceEvent,
    Silences,
    UnknownSilenceError,
)
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage.errors import StorageError
from tests.support.alerts import START_MS
from tests.support.silences import HOUR_MS, FakeSilenceSink, equal, make_silence

T = TypeVar("T")
DB = Labels({"job": "db", "instance": "a"})


@dataclass
class Held:
    """Silences over a fake store, and what was told of them."""

    silences: Silences
    sink: FakeSilenceSink
    clock: ManualClock
    told: list[tuple[SilenceEvent, Silence]]


@pytest.fixture
def held() -> Held:
    clock, sink = ManualClock(), FakeSilenceSink()
    told: list[tuple[SilenceEvent, Silence]] = []
    silences = Silences(
        sink,
        clock=clock,
        random=Random(1),
        listener=lambda event, silence: told.append((event, silence)),
    )
    return Held(silences, sink, clock, told)


async def test_a_new_silence(held: Held):
    """A silence gets an id, is stored, and holds alerts back from then on."""
    silence_id = await held.silences.set(make_silence())

    assert UUID(silence_id).version == 4
    silence = held.silences.get(silence_id)
    assert silence == replace(make_silence(), id=silence_id, updated_at_ms=START_MS)
    assert held.sink.puts == [silence]
    assert held.told == [(SilenceEvent.CREATED, silence)]
    assert held.silences.silencing(DB, START_MS) == (silence_id,)
    assert held.silences.silencing(Labels({"job": "web"}), START_MS) == ()


async def test_a_start_in_the_past_becomes_now(held: Held):
    """Nobody can make it look as if something had been silenced before."""
    silence_id = await held.silences.set(make_silence(starts_at_ms=START_MS - HOUR_MS))

    assert held.silences.get(silence_id).starts_at_ms == START_MS


async def test_an_active_silence_is_changed_in_place(held: Held):
    """End, comment and author may change; the start counts to the second."""
    silence_id = await held.silences.set(make_silence())
    await held.clock.advance(60)

    changed = make_silence(
        starts_at_ms=START_MS + 999, ends_at_ms=START_MS + 2 * HOUR_MS, id=silence_id, comment="new"
    )
    assert await held.silences.set(changed) == silence_id

    assert held.silences.get(silence_id) == replace(changed, updated_at_ms=START_MS + 60_000)
    assert len(held.silences) == 1
    assert held.told[-1][0] is SilenceEvent.CHANGED


@pytest.mark.parametrize(
    "changed",
    [
        make_silence("job=web"),
        make_silence("job=db", "instance=a"),
        make_silence(starts_at_ms=START_MS + 1000),
        make_silence(starts_at_ms=START_MS - 1),
    ],
    ids=["other matcher", "more matchers", "later start", "earlier start"],
)
async def test_what_was_silenced_stays_on_record(held: Held, changed: Silence):
    """A change of matchers or start expires the silence and makes a new one."""
    old_id = await held.silences.set(make_silence())
    await held.clock.advance(60)

    new_id = await held.silences.set(replace(changed, id=old_id))

    now_ms = START_MS + 60_000
    assert new_id != old_id
    assert held.silences.get(old_id) == replace(
        make_silence(), id=old_id, ends_at_ms=now_ms, updated_at_ms=now_ms
    )
    assert held.silences.get(new_id).starts_at_ms == now_ms
    assert [event for event, _ in held.told[1:]] == [SilenceEvent.CREATED, SilenceEvent.EXPIRED]


async def test_a_pending_silence_is_moved_in_place(held: Held):
    """Until a silence begins it may begin at any other time from now on."""
    pending = make_silence(starts_at_ms=START_MS + 1000)
    silence_id = await held.silences.set(pending)

    moved = replace(pending, id=silence_id, starts_at_ms=START_MS)
    assert await held.silences.set(moved) == silence_id
    assert held.silences.silencing(DB, START_MS) == (silence_id,)


async def test_a_pending_silence_is_not_moved_into_the_past(held: Held):
    """A start in the past makes a new silence that begins now."""
    silence_id = await held.silences.set(make_silence(starts_at_ms=START_MS + 1000))

    new_id = await held.silences.set(make_silence(starts_at_ms=START_MS - 1, id=silence_id))

    assert held.silences.get(silence_id).state(START_MS) is SilenceState.EXPIRED
    assert held.silences.get(silence_id).starts_at_ms == START_MS
    assert held.silences.get(new_id).starts_at_ms == START_MS


async def test_an_expired_silence_comes_back_as_another(held: Held):
    """The expired one is left as it is."""
    old_id = await held.silences.set(make_silence())
    await held.silences.expire(old_id)
    expired = held.silences.get(old_id)

    new_id = await held.silences.set(make_silence(id=old_id))

    assert new_id != old_id
    assert held.silences.get(old_id) == expired


async def test_expiring(held: Held):
    """A silence ends now; ending it again changes nothing."""
    silence_id = await held.silences.set(make_silence())
    assert held.silences.silencing(DB, START_MS) == (silence_id,)
    await held.clock.advance(1)

    await held.silences.expire(silence_id)
    await held.clock.advance(1)
    await held.silences.expire(silence_id)

    assert held.silences.get(silence_id).ends_at_ms == START_MS + 1000
    assert held.silences.silencing(DB, START_MS + 1000) == ()
    assert len(held.sink.puts) == 2


@pytest.mark.parametrize("change", ["set", "expire", "get"])
async def test_an_unknown_id(held: Held, change: str):
    """An id nobody got is an error, and nothing changes."""
    with pytest.raises(UnknownSilenceError, match="silence not found"):
        if change == "set":
            await held.silences.set(make_silence(id="unknown"))
        elif change == "expire":
            await held.silences.expire("unknown")
        else:
            held.silences.get("unknown")

    assert held.sink.puts == []


@pytest.mark.parametrize(
    ("silence", "said"),
    [
        (replace(make_silence(), matchers=()), "at least one matcher required"),
        (make_silence("job="), "must not match the empty string"),
        (
            make_silence(Matcher(MatchOp.REGEX, "job", ".*"), "a="),
            "fits every alert without these labels",
        ),
        (make_silence("=db"), "label matcher 0: a label name must not be empty"),
        (make_silence(ends_at_ms=START_MS - 1), "end time must not be before start time"),
        (
            make_silence(starts_at_ms=START_MS - 2, ends_at_ms=START_MS - 1),
            "end time can't be in the past",
        ),
        (make_silence(comment="x" * MAX_SILENCE_BYTES), "exceeded maximum size: 65544 bytes"),
    ],
)
async def test_what_is_refused(held: Held, silence: Silence, said: str):
    """A silence that makes no sense is refused with the reason, and nothing is stored."""
    with pytest.raises(SilenceError, match=said):
        await held.silences.set(silence)

    assert held.sink.puts == []


async def test_a_negative_matcher_is_enough(held: Held):
    """As in Alertmanager, a negative matcher counts as one that does not take the empty value."""
    silence_id = await held.silences.set(make_silence(Matcher(MatchOp.NOT_EQUAL, "job", "web")))

    assert held.silences.silencing(DB, START_MS) == (silence_id,)


async def test_how_large_a_silence_may_be(held: Held):
    """A silence at the limit is taken."""
    overhead = len("me" + "job" + "=" + "db")

    await held.silences.set(make_silence(comment="x" * (MAX_SILENCE_BYTES - overhead)))

    assert len(held.silences) == 1


async def test_how_many_silences_there_may_be(held: Held):
    """At the limit silences can be changed, but none can be added."""
    silences = Silences(held.sink, clock=held.clock, random=Random(1), max_silences=2)
    first = await silences.set(make_silence())
    second = await silences.set(make_silence("job=web"))

    assert await silences.set(make_silence(id=first, comment="new")) == first
    await silences.expire(second)
    with pytest.raises(SilenceError, match="there are 2 silences, and no more than 2 are held"):
        await silences.set(make_silence())


async def test_the_store_fails(held: Held):
    """What could not be stored takes no effect."""
    silence_id = await held.silences.set(make_silence())
    held.sink.fails_after = 0

    with pytest.raises(StorageError):
        await held.silences.set(make_silence("job=web"))
    with pytest.raises(StorageError):
        await held.silences.set(make_silence(id=silence_id, comment="new"))
    with pytest.raises(StorageError):
        await held.silences.expire(silence_id)
    await held.clock.advance(RETENTION_MS)
    with pytest.raises(StorageError):
        await held.silences.prune(START_MS + HOUR_MS + RETENTION_MS)

    assert held.silences.query() == [replace(make_silence(), id=silence_id, updated_at_ms=START_MS)]
    assert len(held.told) == 1


async def test_the_store_fails_between_the_new_and_the_old(held: Held):
    """When the old silence cannot be expired both are in effect, and nothing is told meanwhile."""
    old_id = await held.silences.set(make_silence())
    held.sink.fails_after = 1

    with pytest.raises(StorageError):
        await held.silences.set(make_silence("instance=a", id=old_id))

    (new_id,) = {each.id for each in held.silences.query()} - {old_id}
    assert held.silences.silencing(DB, START_MS) == tuple(sorted((old_id, new_id)))
    assert set(held.sink.silences) == {old_id, new_id}


async def test_no_effect_before_the_commit(held: Held):
    """While the store has not answered the silence is in no lookup."""
    held.sink.gate.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(held.silences.set(make_silence()))
        await held.sink.arrived.wait()
        assert (held.silences.silencing(DB, START_MS), held.silences.query()) == ((), [])
        held.sink.gate.set()

    assert held.silences.silencing(DB, START_MS) == (task.result(),)


async def test_cancelled_while_it_is_committed(held: Held):
    """A change that is given up leaves the way free for the next."""
    held.sink.gate.clear()
    task = asyncio.create_task(held.silences.set(make_silence()))
    await held.sink.arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held.sink.gate.set()

    await held.silences.set(make_silence("job=web"))

    assert len(held.silences) == 1


async def test_changes_come_one_after_the_other(held: Held):
    """Two changes of one silence at a time make one new silence each, and expire the old once."""
    silence_id = await held.silences.set(make_silence())

    ids = await asyncio.gather(
        held.silences.set(make_silence("job=web", id=silence_id)),
        held.silences.set(make_silence("job=x", id=silence_id)),
    )

    assert len({silence_id, *ids}) == 3
    assert [event for event, _ in held.told].count(SilenceEvent.EXPIRED) == 1


async def test_after_a_start(held: Held):
    """What the store has is in effect after loading."""
    stored = replace(make_silence(), id="a")
    held.sink.silences = {"a": stored}

    await held.silences.load()

    assert held.silences.get("a") == stored
    assert held.silences.silencing(DB, START_MS) == ("a",)


async def test_the_order_of_silences(held: Held):
    """First what ends soonest, then what begins soonest, then what ended last."""
    for name, start, end in (
        ("active later", -5, 20),
        ("active soon", -5, 10),
        ("pending later", 9, 10),
        ("pending soon", 1, 30),
        ("expired first", -9, -8),
        ("expired last", -9, -7),
    ):
        held.sink.silences[name] = make_silence(
            starts_at_ms=START_MS + start, ends_at_ms=START_MS + end, id=name
        )
    await held.silences.load()

    assert [each.id for each in held.silences.query()] == [
        "active soon",
        "active later",
        "pending soon",
        "pending later",
        "expired last",
        "expired first",
    ]
    found = held.silences.query(states={SilenceState.PENDING, SilenceState.EXPIRED})
    assert [each.id for each in found][::3] == ["pending soon", "expired first"]


async def test_a_filter_compares_to_the_letter(held: Held):
    """A silence is found by the matchers it has, not by what they fit."""
    regex = Matcher(MatchOp.REGEX, "job", "db|web")
    silence_id = await held.silences.set(make_silence(regex, "instance=a"))

    assert [each.id for each in held.silences.query(matchers=[regex])] == [silence_id]
    assert held.silences.query(matchers=[equal("job=db")]) == []
    assert held.silences.query(matchers=[equal("instance=a"), equal("x=y")]) == []


async def test_lookups_when_the_clock_steps_back(held: Held):
    """A moment in the past is answered as it would have been then."""
    silence_id = await held.silences.set(make_silence())
    later_ms = START_MS + HOUR_MS

    assert held.silences.silencing(DB, later_ms) == ()
    assert held.silences.silencing(DB, later_ms - 1) == (silence_id,)


async def test_pruning(held: Held):
    """What ended 120 hours ago is gone, from the store as well."""
    old = await held.silences.set(make_silence())
    new = await held.silences.set(make_silence(ends_at_ms=START_MS + HOUR_MS + 1))

    assert await held.silences.prune(START_MS + HOUR_MS + RETENTION_MS - 1) == 0
    assert await held.silences.prune(START_MS + HOUR_MS + RETENTION_MS) == 1

    assert [each.id for each in held.silences.query()] == [new]
    assert held.sink.forgotten == [old]


async def test_many_silences_and_alerts(held: Held):
    """Thousands of silences are not tried against every alert."""
    for number in range(3000):
        held.sink.silences[str(number)] = make_silence(
            Matcher(MatchOp.REGEX, "job", ".+"), f"instance=i{number}", id=str(number)
        )
    await held.silences.load()
    alerts = [Labels({"job": "db", "instance": f"i{number}"}) for number in range(10_000)]

    found = [held.silences.silencing(each, START_MS) for each in alerts]

    assert found[:2] == [("0",), ("1",)]
    assert sum(map(len, found)) == 3000


NAMES = st.sampled_from(["job", "instance"])
MATCHERS = st.builds(
    Matcher,
    st.sampled_from(MatchOp),
    NAMES,
    st.sampled_from(["", "a", "b", "a|b", ".+"]),
)
ALERTS = [Labels({"job": job, "instance": at}) for job in ("", "a", "b") for at in ("", "a", "c")]


@dataclass
class Modelled:
    """What the model knows of a silence."""

    matchers: tuple[Matcher, ...]
    start_ms: int
    end_ms: int

    def silences(self, labels: Labels, now_ms: int) -> bool:
        return self.start_ms <= now_ms < self.end_ms and all(
            matcher.matches(labels.get(matcher.name, "")) for matcher in self.matchers
        )


class SilencesMachine(RuleBasedStateMachine):
    """Any order of changes, failures and restarts, against a model that knows no index or cache."""

    ids = Bundle("ids")

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.sink = self.runner.run(self._make_sink())
        self.model: dict[str, Modelled] = {}
        self.random = Random(0)
        self._restart()

    async def _make_sink(self) -> FakeSilenceSink:
        return FakeSilenceSink()

    def _restart(self) -> None:
        self.silences = Silences(self.sink, clock=self.clock, random=self.random)
        self._run(self.silences.load())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @property
    def now_ms(self) -> int:
        return int(self.clock.time() * 1000)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    @rule(
        target=ids,
        matchers=st.lists(MATCHERS, max_size=3),
        start=st.integers(-5, 5),
        length=st.integers(-1, 9),
    )
    def create(self, matchers: list[Matcher], start: int, length: int) -> Any:
        silence = self._silence("", matchers, start, length)
        return self._set(silence, lambda: None)

    @rule(
        target=ids,
        silence_id=ids,
        matchers=st.none() | st.lists(MATCHERS, min_size=1, max_size=2),
        start=st.none() | st.integers(-3, 3),
        length=st.integers(0, 9),
    )
    def change(
        self, silence_id: str, matchers: list[Matcher] | None, start: int | None, length: int
    ) -> Any:
        old = self.model.get(silence_id)
        if old is None:
            with pytest.raises(SilenceError):
                self._run(self.silences.set(self._silence(silence_id, matchers or [], 0, 1)))
            return multiple()
        silence = self._silence(silence_id, matchers or list(old.matchers), start or 0, length)
        if start is None:
            silence = replace(silence, starts_at_ms=old.start_ms)
            silence = replace(silence, ends_at_ms=max(silence.ends_at_ms, old.start_ms))
        return self._set(silence, lambda: old)

    def _set(self, silence: Silence, previous: Callable[[], Modelled | None]) -> Any:
        if not self._is_valid(silence):
            with pytest.raises(SilenceError):
                self._run(self.silences.set(silence))
            return multiple()
        made = self._run(self.silences.set(silence))
        old = previous()
        keeps = old is not None and self._keeps(old, silence)
        assert (made == silence.id) is keeps
        if old is not None and not keeps and old.end_ms > self.now_ms:
            old.start_ms, old.end_ms = min(old.start_ms, self.now_ms), self.now_ms
        start_ms = silence.starts_at_ms if keeps else max(silence.starts_at_ms, self.now_ms)
        self.model[made] = Modelled(silence.matchers, start_ms, silence.ends_at_ms)
        return multiple() if keeps else made

    def _is_valid(self, silence: Silence) -> bool:
        positive = {MatchOp.EQUAL, MatchOp.REGEX}
        has_sense = any(
            each.op not in positive or not each.matches("") for each in silence.matchers
        )
        return has_sense and max(silence.starts_at_ms, self.now_ms) <= silence.ends_at_ms

    def _keeps(self, old: Modelled, silence: Silence) -> bool:
        if old.matchers != silence.matchers or self.now_ms >= old.end_ms:
            return False
        if self.now_ms < old.start_ms:
            return silence.starts_at_ms >= self.now_ms
        return old.start_ms // 1000 == silence.starts_at_ms // 1000

    def _silence(
        self, silence_id: str, matchers: list[Matcher], start: int, length: int
    ) -> Silence:
        start_ms = self.now_ms + start * 700
        return replace(
            make_silence(id=silence_id, starts_at_ms=start_ms, ends_at_ms=start_ms + length * 700),
            matchers=tuple(matchers),
        )

    @rule(silence_id=ids)
    def expire(self, silence_id: str) -> None:
        known = self.model.get(silence_id)
        if known is None:
            with pytest.raises(UnknownSilenceError):
                self._run(self.silences.expire(silence_id))
            return
        self._run(self.silences.expire(silence_id))
        if known.end_ms > self.now_ms:
            known.start_ms, known.end_ms = min(known.start_ms, self.now_ms), self.now_ms

    @rule(seconds=st.sampled_from([0.3, 1.0, 2.5]))
    def wait(self, seconds: float) -> None:
        self._run(self.clock.advance(seconds))

    @rule()
    def wait_for_the_retention(self) -> None:
        self._run(self.clock.advance(RETENTION_MS / 1000))

    @rule()
    def prune(self) -> None:
        gone = [
            each for each, known in self.model.items() if known.end_ms + RETENTION_MS <= self.now_ms
        ]
        assert self._run(self.silences.prune(self.now_ms)) == len(gone)
        for each in gone:
            del self.model[each]

    @rule(silence_id=consumes(ids))
    def fail(self, silence_id: str) -> None:
        known = self.model.get(silence_id)
        self.sink.fails_after = 0
        if known is not None and known.end_ms > self.now_ms:
            with pytest.raises(StorageError):
                self._run(self.silences.expire(silence_id))
        self.sink.fails_after = None

    @rule()
    def restart(self) -> None:
        self._restart()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "silences"):
            return
        assert {each.id for each in self.silences.query()} == set(self.model)
        for labels in ALERTS:
            for now_ms in (self.now_ms, self.now_ms + 1500):
                expected = sorted(
                    each for each, known in self.model.items() if known.silences(labels, now_ms)
                )
                assert self.silences.silencing(labels, now_ms) == tuple(expected)


SilencesMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestSilencesMachine = SilencesMachine.TestCase
