"""A store of silences that records and fails on demand, and a small builder."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

from alerts.routing.silence import Silence
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage.errors import StorageError
from tests.support.alerts import START_MS

HOUR_MS = 3_600_000


class FakeSilenceSink:
    """Keeps what is put; fails for as long as ``fails_after`` puts succeeded, waits at ``gate``."""

    def __init__(self, *silences: Silence) -> None:
        self.silences = {silence.id: silence for silence in silences}
        self.puts: list[Silence] = []
        self.forgotten: list[str] = []
        self.fails_after: int | None = None
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def put(self, silence: Silence) -> None:
        self.arrived.set()
        await self.gate.wait()
        self._check()
        self.puts.append(silence)
        self.silences[silence.id] = silence

    async def load(self) -> tuple[Silence, ...]:
        return tuple(self.silences.values())

    async def forget(self, ids: Collection[str]) -> None:
        self._check()
        self.forgotten += ids
        for each in ids:
            self.silences.pop(each, None)

    def _check(self) -> None:
        if self.fails_after is None:
            return
        if self.fails_after == 0:
            raise StorageError("the disk is full")
        self.fails_after -= 1


def make_silence(
    *matchers: str | Matcher,
    starts_at_ms: int = START_MS,
    ends_at_ms: int = START_MS + HOUR_MS,
    **fields: str,
) -> Silence:
    """Return a silence of matchers, or of texts such as ``job=db``; for an hour unless said."""
    silence = Silence(
        id="",
        matchers=tuple(
            equal(each) if isinstance(each, str) else each for each in matchers or ("job=db",)
        ),
        starts_at_ms=starts_at_ms,
        ends_at_ms=ends_at_ms,
        updated_at_ms=0,
        created_by="me",
        comment="why",
        annotations=Labels(),
    )
    return replace(silence, **fields)  # type: ignore[arg-type]  # the fields are those of texts


def equal(text: str) -> Matcher:
    """Return the matcher of ``name=value``."""
    name, _, value = text.partition("=")
    return Matcher(MatchOp.EQUAL, name, value)
