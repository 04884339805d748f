"""Silences in the database."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from alerts.routing.silence import Silence
from alerts.series.labels import Labels
from alerts.series.matchers import Matcher, MatchOp
from alerts.storage.database import Database
from alerts.storage.errors import StorageError
from alerts.storage.silences import SilenceStore
from alerts.storage.tables import SILENCE
from tests.support.alerts import START_MS

SILENCE_1 = Silence(
    "a",
    (Matcher(MatchOp.REGEX, "job", "db|web"), Matcher(MatchOp.NOT_EQUAL, "env", "test")),
    START_MS,
    START_MS + 60_000,
    START_MS + 1,
    "ann",
    "update",
    Labels({"ticket": "7"}),
)
SILENCE_2 = replace(SILENCE_1, id="b", starts_at_ms=START_MS - 1)
MATCHERS = st.builds(
    Matcher,
    st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]),
    st.text(min_size=1),
    st.text(),
) | st.builds(
    Matcher,
    st.sampled_from([MatchOp.REGEX, MatchOp.NOT_REGEX]),
    st.text(min_size=1),
    st.sampled_from(["", ".*", "a|b", "\\d+", "ü[^x]{2}"]),
)
MOMENTS = st.integers(0, 253_402_300_800_000)
SILENCES = st.builds(
    Silence,
    st.uuids().map(UUID.__str__),
    st.lists(MATCHERS, min_size=1, max_size=4).map(tuple),
    MOMENTS,
    MOMENTS,
    MOMENTS,
    st.text(),
    st.text(),
    st.dictionaries(st.text(), st.text(), max_size=3).map(Labels),
)


async def test_put_and_forget(database: Database) -> None:
    """A silence replaces the one of its id; those left are loaded by when they begin."""
    store = SilenceStore(database)
    await store.put(SILENCE_1)
    await store.put(SILENCE_2)
    changed = replace(SILENCE_1, comment="longer", ends_at_ms=START_MS + 120_000)
    await store.put(changed)

    assert await store.load() == (SILENCE_2, changed)

    await store.forget(["b", "unknown"])
    await store.forget([])
    assert await store.load() == (changed,)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(silences=st.lists(SILENCES, max_size=5, unique_by=lambda silence: silence.id))
async def test_round_trip(database: Database, silences: list[Silence]) -> None:
    """Every silence comes back as it was, whatever people wrote."""
    store = SilenceStore(database)
    for silence in silences:
        await store.put(silence)
    found = await store.load()
    await store.forget([silence.id for silence in silences])

    assert sorted(found, key=lambda silence: silence.id) == sorted(
        silences, key=lambda silence: silence.id
    )
    assert await store.load() == ()


@pytest.mark.parametrize(
    "matchers",
    [
        "nothing",
        '[{"name": "a", "op": "~", "value": ""}]',
        '[{"name": "a"}]',
        "[1]",
        '[{"name": "a", "op": "=~", "value": "("}]',
    ],
)
async def test_not_understood(database: Database, matchers: str) -> None:
    """A row that was changed by hand into something else is named."""
    store = SilenceStore(database)
    await store.put(SILENCE_1)
    async with database.transaction() as connection:
        await connection.execute(update(SILENCE).values(matchers=matchers))

    with pytest.raises(StorageError, match="the matchers of silence a cannot be understood"):
        await store.load()
