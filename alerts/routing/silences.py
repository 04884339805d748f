"""The silences there are, with Alertmanager's rules for making, changing and ending them.

A change is committed before it is acknowledged and before it takes effect, so a silence somebody
was told about outlives any end of the process. Changes are made one after the other; lookups need
no lock and are quick enough to be asked for every alert of every flush.

Source: Alertmanager, silence/silence.go (Set, canUpdate, expire, validateSilence).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from random import Random
from typing import Final, Protocol
from uuid import UUID

from alerts.clock import Clock
from alerts.errors import AlertsError
from alerts.routing.silence import Silence, SilenceState
from alerts.routing.silence_index import SilenceIndex
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp

MAX_SILENCES: Final = 10_000
"""Silences held at a time, those that have expired included."""

MAX_SILENCE_BYTES: Final = 64 * 1024
"""Length of all texts of one silence, in bytes of UTF-8."""

RETENTION_MS: Final = 120 * 3600 * 1000
"""How long a silence is kept after it ended, in milliseconds."""


class SilenceError(AlertsError):
    """A silence that is refused; says what would be right."""


class UnknownSilenceError(SilenceError):
    """There is no silence with this id, or there is none any more."""

    def __init__(self, silence_id: str) -> None:
        self.silence_id: Final = silence_id
        super().__init__("silence not found")


class SilenceSink(Protocol):
    """Where silences are kept for good."""

    async def put(self, silence: Silence) -> None:
        """Commit a silence; it takes the place of one with the same id.

        Raises:
            StorageError: It was not committed.
        """

    async def load(self) -> Sequence[Silence]:
        """Return all that were put and not forgotten."""

    async def forget(self, ids: Collection[str]) -> object:
        """Remove silences; ids that are not there are passed over."""


class SilenceEvent(StrEnum):
    """What became of a silence."""

    CREATED = "created"
    CHANGED = "changed"
    EXPIRED = "expired"


SilenceListener = Callable[[SilenceEvent, Silence], None]
"""Told of every change by a person once it is in effect; must not block."""


class Silences:
    """All silences, in memory over a store."""

    def __init__(
        self,
        sink: SilenceSink,
        *,
        clock: Clock,
        random: Random,
        listener: SilenceListener | None = None,
        max_silences: int = MAX_SILENCES,
    ) -> None:
        """Start empty; ``load`` brings in what the store has.

        Args:
            sink: Where silences are kept for good.
            clock: The time of day.
            random: Makes ids.
            listener: Told of changes.
            max_silences: How many are held, those that have expired included.
        """
        self._sink = sink
        self._clock = clock
        self._random = random
        self._listener = listener
        self._max_silences = max_silences
        self._silences: dict[str, Silence] = {}
        self._index = SilenceIndex()
        self._changing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._silences)

    async def load(self) -> None:
        """Take what the store has in place of what is held.

        Raises:
            StorageError: It cannot be read.
        """
        async with self._changing:
            stored = await self._sink.load()
            self._silences = {silence.id: silence for silence in stored}
            self._index = SilenceIndex()
            for silence in stored:
                self._index.put(silence)

    async def set(self, silence: Silence) -> str:
        """Make a silence, or change the one with its id, and return the id it has now.

        One that is active keeps its id while matchers and start (to the second) stay the same;
        one that is pending, while the matchers do and it is not to start in the past. In every
        other case the old one is expired and a new one made, so that what was silenced when stays
        on record.

        Args:
            silence: Without an id for a new one; ``updated_at_ms`` is not looked at. A start in
                the past becomes now.

        Raises:
            UnknownSilenceError: There is none with its id.
            SilenceError: It is refused; says why.
            StorageError: It could not be committed, and is not in effect; or it is in effect, and
                the one it was to take the place of goes on.
        """
        async with self._changing:
            now_ms = self._now_ms()
            _check(silence, now_ms)
            previous = self._previous(silence.id)
            silence = replace(silence, updated_at_ms=now_ms)
            if previous is not None and _is_same(previous, silence, now_ms):
                await self._commit(SilenceEvent.CHANGED, silence)
                return silence.id
            if len(self._silences) >= self._max_silences:
                raise SilenceError(
                    f"there are {len(self._silences)} silences, and no more than "
                    f"{self._max_silences} are held; one matcher such as "
                    'instance=~"a|b" does what several silences do, and expired silences go '
                    "after 120 hours"
                )
            new = replace(
                silence, id=self._new_id(), starts_at_ms=max(silence.starts_at_ms, now_ms)
            )
            # The new one first: whatever fails in between, nothing that was silenced is told.
            await self._commit(SilenceEvent.CREATED, new)
            if previous is not None:
                await self._expire(previous, now_ms)
            return new.id

    async def expire(self, silence_id: str) -> None:
        """End a silence now; one that has ended stays as it is.

        Raises:
            UnknownSilenceError: There is none with this id.
            StorageError: It could not be committed, and the silence goes on.
        """
        async with self._changing:
            await self._expire(self.get(silence_id), self._now_ms())

    def get(self, silence_id: str) -> Silence:
        """Return a silence.

        Raises:
            UnknownSilenceError: There is none with this id.
        """
        silence = self._silences.get(silence_id)
        if silence is None:
            raise UnknownSilenceError(silence_id)
        return silence

    def query(
        self,
        *,
        states: Collection[SilenceState] = frozenset(SilenceState),
        matchers: Iterable[Matcher] = (),
    ) -> list[Silence]:
        """Return silences as people want to see them.

        The active ones come first, what ends soonest before the others; then the pending ones,
        what begins soonest first; then the expired ones, what ended last first.

        Args:
            states: The states that are wanted.
            matchers: A silence has to have each of these among its own, to the letter.
        """
        now_ms = self._now_ms()
        wanted = tuple(matchers)
        found = [
            silence
            for silence in self._silences.values()
            if silence.state(now_ms) in states
            and all(matcher in silence.matchers for matcher in wanted)
        ]
        return sorted(found, key=lambda silence: _rank(silence, now_ms))

    def silencing(self, labels: Labels, now_ms: int) -> tuple[str, ...]:
        """Return the ids, sorted, of the silences that hold back an alert with these labels.

        Args:
            labels: Of the alert.
            now_ms: The moment that is asked about, in Unix milliseconds.
        """
        return self._index.silencing(labels, now_ms) if self._silences else ()

    async def prune(self, now_ms: int) -> int:
        """Remove what ended ``RETENTION_MS`` ago or longer, and return how many.

        Raises:
            StorageError: The store failed, and nothing was removed.
        """
        async with self._changing:
            old = [
                silence
                for silence in self._silences.values()
                if silence.ends_at_ms + RETENTION_MS <= now_ms
            ]
            if old:
                await self._sink.forget([silence.id for silence in old])
            for silence in old:
                del self._silences[silence.id]
                self._index.remove(silence.id)
            return len(old)

    def _previous(self, silence_id: str) -> Silence | None:
        return self.get(silence_id) if silence_id else None

    async def _expire(self, silence: Silence, now_ms: int) -> None:
        if silence.state(now_ms) is SilenceState.EXPIRED:
            return
        ended = replace(
            silence,
            starts_at_ms=min(silence.starts_at_ms, now_ms),
            ends_at_ms=now_ms,
            updated_at_ms=now_ms,
        )
        await self._commit(SilenceEvent.EXPIRED, ended)

    async def _commit(self, event: SilenceEvent, silence: Silence) -> None:
        await self._sink.put(silence)
        self._silences[silence.id] = silence
        self._index.put(silence)
        if self._listener is not None:
            self._listener(event, silence)

    def _new_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)


def _is_same(previous: Silence, changed: Silence, now_ms: int) -> bool:
    """Whether a change leaves what was silenced so far as it was."""
    if previous.matchers != changed.matchers:
        return False
    match previous.state(now_ms):
        case SilenceState.ACTIVE:
            return previous.starts_at_ms // 1000 == changed.starts_at_ms // 1000
        case SilenceState.PENDING:
            return changed.starts_at_ms >= now_ms
        case SilenceState.EXPIRED:
            return False


def _check(silence: Silence, now_ms: int) -> None:
    """Raise a SilenceError if a silence makes no sense, or is too large."""
    if not silence.matchers:
        raise SilenceError("invalid silence: at least one matcher required")
    for number, matcher in enumerate(silence.matchers):
        if not matcher.name:
            raise SilenceError(
                f"invalid silence: invalid label matcher {number}: a label name must not be empty"
            )
    if all(_matches_empty(matcher) for matcher in silence.matchers):
        raise SilenceError(
            "invalid silence: at least one matcher must not match the empty string; "
            f"{', '.join(map(str, silence.matchers))} fits every alert without these labels"
        )
    if silence.ends_at_ms < silence.starts_at_ms:
        raise SilenceError("invalid silence: end time must not be before start time")
    if silence.ends_at_ms < now_ms:
        raise SilenceError("invalid silence: end time can't be in the past")
    size = _size(silence)
    if size > MAX_SILENCE_BYTES:
        raise SilenceError(
            f"silence exceeded maximum size: {size} bytes (limit: {MAX_SILENCE_BYTES} bytes)"
        )


def _matches_empty(matcher: Matcher) -> bool:
    # Alertmanager takes every negative matcher for one that does not match the empty string.
    return matcher.op in (MatchOp.EQUAL, MatchOp.REGEX) and matcher.matches("")


def _size(silence: Silence) -> int:
    texts = [silence.created_by, silence.comment]
    for matcher in silence.matchers:
        texts += (matcher.name, matcher.op, matcher.value)
    for pair in silence.annotations.pairs:
        texts += pair
    return sum(len(text.encode()) for text in texts)


def _rank(silence: Silence, now_ms: int) -> tuple[int, int, str]:
    match silence.state(now_ms):
        case SilenceState.ACTIVE:
            return 0, silence.ends_at_ms, silence.id
        case SilenceState.PENDING:
            return 1, silence.starts_at_ms, silence.id
        case SilenceState.EXPIRED:
            return 2, -silence.ends_at_ms, silence.id
