"""Acknowledgements in the database."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.routing.views import Acknowledgement
from alerts.storage.acknowledgements import AcknowledgementStore
from alerts.storage.database import Database
from tests.support.alerts import START_MS


async def test_put_and_forget(database: Database) -> None:
    """The newest acknowledgement of an alert is kept until it is forgotten."""
    store = AcknowledgementStore(database)
    first = Acknowledgement("aa", START_MS, "ann", START_MS + 1, "on it")
    second = Acknowledgement("bb", START_MS, "bob", START_MS + 2)
    later = Acknowledgement("aa", START_MS + 5, "cat", START_MS + 6)
    for acknowledgement in (second, first, later):
        await store.put(acknowledgement)

    assert await store.load() == (later, second)

    await store.forget(["aa", "unknown"])
    await store.forget([])
    assert await store.load() == (second,)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(by=st.text(st.characters()), note=st.text(st.characters()))
async def test_round_trip(database: Database, by: str, note: str) -> None:
    """Whatever people wrote comes back as it was."""
    store = AcknowledgementStore(database)
    acknowledgement = Acknowledgement("aa", START_MS, by, START_MS, note)
    await store.put(acknowledgement)

    assert await store.load() == (acknowledgement,)
