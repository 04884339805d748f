"""Alerts, silences and acknowledgements that clients send: what is taken, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from alerts.api.alertmanager_answers import show_time
from alerts.api.alertmanager_fields import FIRST_MS, LAST_MS, BadRequestError, parse_moment
from alerts.api.alertmanager_requests import MAX_ALERTS, read_alerts
from alerts.clock import ManualClock
from alerts.model import Alert
from alerts.series.labels import Labels
from alerts.storage.errors import StorageError
from tests.support.alertmanager import MAX_BODY_BYTES, AlertmanagerServer, serving_alertmanager
from tests.support.alerts import START_MS
from tests.support.silences import HOUR_MS

DOWN = {"labels": {"alertname": "Down"}}
LATER = "2023-11-14T23:13:20Z"
MATCHER = {"name": "job", "value": "db", "isRegex": False}
SILENCE = {
    "matchers": [MATCHER],
    "startsAt": "2023-11-14T22:13:20Z",
    "endsAt": LATER,
    "createdBy": "me",
    "comment": "why",
}


@pytest.fixture
async def server() -> AsyncIterator[AlertmanagerServer]:
    async with serving_alertmanager(ManualClock()) as running:
        yield running


async def posted(server: AlertmanagerServer, *alerts: object) -> tuple[Alert, ...]:
    """Post alerts that are all valid and return how they arrived."""
    assert await server.send("POST", "alerts", list(alerts)) == (200, None)
    return server.backend.posts[-1]


async def test_an_alert(server: AlertmanagerServer):
    """Everything an alert says arrives."""
    (alert,) = await posted(
        server,
        {
            "labels": {"alertname": "Down", "service.name": "shop"},
            "annotations": {"summary": "it is down"},
            "startsAt": "2023-11-14T22:13:20.123456789+01:00",
            "endsAt": LATER,
            "generatorURL": "http://prometheus/graph?g0.expr=up%20%3D%3D%200",
            "unknown": [1],
        },
    )

    assert alert == Alert(
        Labels({"alertname": "Down", "service.name": "shop"}),
        Labels({"summary": "it is down"}),
        START_MS - HOUR_MS + 123,
        START_MS + HOUR_MS,
        "http://prometheus/graph?g0.expr=up%20%3D%3D%200",
    )


@pytest.mark.parametrize(
    ("times", "starts_at_ms", "ends_at_ms"),
    [
        ({}, START_MS, None),
        ({"startsAt": None, "endsAt": None}, START_MS, None),
        ({"startsAt": "", "endsAt": ""}, START_MS, None),
        (
            {"startsAt": "0001-01-01T00:00:00.000Z", "endsAt": "0001-01-01T00:00:00Z"},
            START_MS,
            None,
        ),
        ({"endsAt": LATER}, START_MS + HOUR_MS, START_MS + HOUR_MS),
        ({"startsAt": LATER, "endsAt": LATER}, START_MS + HOUR_MS, START_MS + HOUR_MS),
        ({"startsAt": LATER}, START_MS + HOUR_MS, None),
        ({"startsAt": "2023-11-14T22:13:20"}, START_MS, None),
    ],
    ids=["missing", "null", "empty", "zero", "end alone", "no length", "start alone", "no offset"],
)
async def test_times_of_an_alert(
    server: AlertmanagerServer, times: dict[str, Any], starts_at_ms: int, ends_at_ms: int | None
):
    """Without a start an alert begins when it ends, or else now; an end may be left open."""
    (alert,) = await posted(server, {**DOWN, **times})

    assert (alert.starts_at_ms, alert.ends_at_ms) == (starts_at_ms, ends_at_ms)


async def test_empty_labels_are_none(server: AlertmanagerServer):
    """A label or annotation without a value is dropped."""
    (alert,) = await posted(
        server, {"labels": {"a": "b", "c": "", "d": None}, "annotations": {"e": "", "f": None}}
    )

    assert (alert.labels, alert.annotations) == (Labels({"a": "b"}), Labels())


async def test_nothing_to_post(server: AlertmanagerServer):
    """An empty batch is fine, and nobody is bothered with it."""
    assert await server.send("POST", "alerts", []) == (200, None)
    assert server.backend.posts == []


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        (None, "alert 0 must be an object, not nothing"),
        ([], "alert 0 must be an object, not an array"),
        ({}, "alert 0: labels is required"),
        ({"labels": {}}, "alert 0: at least one label pair required"),
        ({"labels": {"a": ""}}, "alert 0: at least one label pair required"),
        ({"labels": {"": "x"}}, 'alert 0: labels: invalid name ""'),
        ({"labels": {"a": 1}}, 'alert 0: labels["a"] must be a text, not a number'),
        ({"labels": "a"}, "alert 0: labels must be an object, not a text"),
        ({**DOWN, "annotations": {"": "x"}}, 'alert 0: annotations: invalid name ""'),
        ({**DOWN, "annotations": []}, "alert 0: annotations must be an object, not an array"),
        ({**DOWN, "startsAt": 5}, "alert 0: startsAt must be a text, not a number"),
        ({**DOWN, "startsAt": "2023-11-14"}, 'startsAt: "2023-11-14" is no time such as 2006-01'),
        ({**DOWN, "startsAt": "2023-02-30T00:00:00Z"}, "startsAt: cannot parse"),
        ({**DOWN, "startsAt": "2023-11-14T22:13:20+0100"}, "startsAt: cannot parse"),
        ({**DOWN, "endsAt": "0001-01-01T00:00:00+01:00"}, "endsAt: "),
        (
            {**DOWN, "startsAt": LATER, "endsAt": "2023-11-14T23:13:19.999Z"},
            "alert 0: start time must be before end time",
        ),
        ({**DOWN, "generatorURL": "not a url"}, 'generatorURL must be of type uri: "not a url"'),
        ({**DOWN, "generatorURL": "http://x/%zz"}, "generatorURL must be of type uri"),
        ({**DOWN, "generatorURL": "http://x/\n"}, "generatorURL must be of type uri"),
        ({**DOWN, "generatorURL": True}, "generatorURL must be a text, not true or false"),
        ({**DOWN, "annotations": {"a": "x" * 65_536}}, "have 65550 bytes, and at most 65536"),
    ],
)
async def test_an_invalid_alert(server: AlertmanagerServer, alert: object, said: str):
    """What is wrong with an alert is answered with 400; the others of the batch are taken."""
    status, text = await server.send("POST", "alerts", [alert, DOWN])

    assert status == 400
    assert said in text
    assert [each.labels for (each,) in server.backend.posts] == [Labels(DOWN["labels"])]


async def test_many_invalid_alerts(server: AlertmanagerServer):
    """Of many problems the first ten are told."""
    status, text = await server.send("POST", "alerts", [{}] * 12)

    assert status == 400
    assert text.startswith("alert 0: labels is required\nalert 1: labels")
    assert text.endswith("alert 9: labels is required\nand 2 more")
    assert server.backend.posts == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is no JSON"),
        (b"[", "the body is no JSON"),
        (b'[{"labels": {"a": "\xff"}}]', "the body is no JSON"),
        (b'[{"labels": {"a": "\\ud800"}}]', "the body is no JSON"),
        (b"[" * 100_000, "the body is no JSON"),
        (b"null", "alerts must be an array, not nothing"),
        (b"{}", "alerts must be an array, not an object"),
        (b"1e999", "the body is no JSON"),
    ],
)
async def test_a_body_that_is_no_batch(server: AlertmanagerServer, body: bytes, said: str):
    """What is no array in JSON is refused whole."""
    status, text = await server.send("POST", "alerts", body)

    assert status == 400
    assert said in text


def test_how_many_alerts_there_may_be():
    """A batch at the limit is taken, a larger one refused whole."""
    assert len(read_alerts(orjson.dumps([DOWN] * MAX_ALERTS), START_MS).alerts) == MAX_ALERTS
    with pytest.raises(BadRequestError, match="10001 alerts are too many"):
        read_alerts(orjson.dumps([DOWN] * (MAX_ALERTS + 1)), START_MS)


async def test_how_large_a_body_may_be(server: AlertmanagerServer):
    """A body past the server's limit is 413, with a JSON text as for any error."""
    status, text = await server.send("POST", "alerts", b" " * (MAX_BODY_BYTES + 1))

    assert status == 413
    assert f"Maximum request body size {MAX_BODY_BYTES} exceeded" in text


async def test_a_body_that_does_not_say_it_is_json(server: AlertmanagerServer):
    """A form, which pages of other sites can send, is 415."""
    async with server.http.post(f"{server.url}/alerts", data=b"[]") as answer:
        status, text = answer.status, await answer.json()

    assert (status, "only application/json is taken" in text) == (415, True)


async def test_alerts_that_are_not_stored(server: AlertmanagerServer):
    """Nothing is acknowledged that is not committed."""
    server.backend.problem = StorageError("the disk is full")

    assert await server.send("POST", "alerts", [DOWN]) == (503, "the disk is full")


async def test_a_silence_is_made_and_changed(server: AlertmanagerServer):
    """A silence gets an id, keeps it when it is changed in place, and is shown as it was sent."""
    body = {**SILENCE, "annotations": {"ticket": "7"}}
    status, made = await server.send("POST", "silences", body)
    changed = {**body, "id": made["silenceID"], "comment": "new"}

    assert status == 200
    assert await server.send("POST", "silences", changed) == (200, made)

    shown = await server.get(f"silence/{made['silenceID']}")
    assert (shown["comment"], shown["annotations"]) == ("new", {"ticket": "7"})
    assert shown["matchers"] == [{**MATCHER, "isEqual": True}]


@pytest.mark.parametrize(("regex", "equal"), [(r, e) for r in (True, False) for e in (True, False)])
async def test_matchers(server: AlertmanagerServer, regex: bool, equal: bool):
    """Each of the four kinds of matcher comes back as it was sent."""
    matcher = {"name": "job", "value": "db", "isRegex": regex, "isEqual": equal}

    _, made = await server.send("POST", "silences", {**SILENCE, "matchers": [matcher]})

    assert (await server.get(f"silence/{made['silenceID']}"))["matchers"] == [matcher]


async def test_a_silence_without_a_start(server: AlertmanagerServer):
    """Go's zero time as a start is now."""
    body = {**SILENCE, "startsAt": "0001-01-01T00:00:00Z"}

    _, made = await server.send("POST", "silences", body)

    assert server.backend.silences.get(made["silenceID"]).starts_at_ms == START_MS


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"matchers": None}, "silence: matchers is required"),
        ({"matchers": []}, "silence: matchers should have at least 1 items"),
        ({"matchers": [1]}, "silence: matchers[0] must be an object, not a number"),
        ({"matchers": [{"name": "a", "value": "b"}]}, "matchers[0]: isRegex is required"),
        ({"matchers": [{**MATCHER, "isEqual": 1}]}, "isEqual must be true or false, not a number"),
        ({"matchers": [{**MATCHER, "name": ""}]}, "a label name must not be empty"),
        ({"matchers": [{**MATCHER, "value": ""}]}, "must not match the empty string"),
        ({"matchers": [{**MATCHER, "value": "(", "isRegex": True}]}, "no RE2 regular expression"),
        ({"startsAt": None}, "silence: startsAt is required"),
        ({"endsAt": "soon"}, "silence: endsAt:"),
        ({"endsAt": SILENCE["startsAt"]}, "start time must be before end time"),
        ({"endsAt": "0001-01-01T00:00:00Z"}, "start time must be before end time"),
        (
            {"startsAt": "2023-11-14T20:00:00Z", "endsAt": "2023-11-14T21:00:00Z"},
            "end time can't be in the past",
        ),
        ({"createdBy": None}, "silence: createdBy is required"),
        ({"comment": None}, "silence: comment is required"),
        ({"id": 5}, "silence: id must be a text"),
        ({"comment": "x" * 65_536}, "silence exceeded maximum size"),
    ],
)
async def test_a_silence_that_is_refused(
    server: AlertmanagerServer, changes: dict[str, Any], said: str
):
    """What makes no silence is 400 with the reason."""
    status, text = await server.send("POST", "silences", {**SILENCE, **changes})

    assert status == 400
    assert said in text
    assert server.backend.sink.puts == []


async def test_changing_an_unknown_silence(server: AlertmanagerServer):
    """An unknown id is 404, by which amtool's import knows to leave it out."""
    answer = await server.send("POST", "silences", {**SILENCE, "id": "unknown"})

    assert answer == (404, "silence not found")


async def test_expiring_a_silence(server: AlertmanagerServer):
    """A silence that was expired is shown as expired; doing it again is fine."""
    _, made = await server.send("POST", "silences", SILENCE)
    path = f"silence/{made['silenceID']}"

    assert await server.send("DELETE", path) == (200, None)
    assert await server.send("DELETE", path) == (200, None)

    assert (await server.get(path))["status"] == {"state": "expired"}


async def test_silences_that_are_not_stored(server: AlertmanagerServer):
    """A silence that is not committed is not acknowledged and not there."""
    _, made = await server.send("POST", "silences", SILENCE)
    server.backend.sink.fails_after = 0

    assert await server.send("POST", "silences", SILENCE) == (503, "the disk is full")
    assert await server.send("DELETE", f"silence/{made['silenceID']}") == (503, "the disk is full")

    assert [each["status"]["state"] for each in await server.get("silences")] == ["active"]


async def test_acknowledging_an_alert(server: AlertmanagerServer):
    """Who looks after an alert is shown with it until that is taken back."""
    (alert,) = await posted(server, DOWN)
    path = f"alert/{alert.fingerprint}/acknowledgement"

    answer = await server.send("PUT", path, {"by": " ada ", "note": "on it"})
    (shown,) = await server.get("alerts")

    made = {"at": "2023-11-14T22:13:20.000Z", "by": "ada", "note": "on it"}
    assert answer == (200, made)
    assert shown["acknowledgement"] == made
    assert await server.send("DELETE", path) == (200, None)
    assert "acknowledgement" not in (await server.get("alerts"))[0]


@pytest.mark.parametrize("fingerprint", ["0" * 16, "x", "0" * 17])
async def test_acknowledging_an_unknown_alert(server: AlertmanagerServer, fingerprint: str):
    """An alert that is not there is 404."""
    path = f"alert/{fingerprint}/acknowledgement"

    assert await server.send("PUT", path, {"by": "ada"}) == (404, "alert not found")
    assert await server.send("DELETE", path) == (404, "alert not found")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "acknowledgement must be an object"),
        ({}, "acknowledgement: by is required"),
        ({"by": " "}, "by must say who looks after the alert"),
        ({"by": "ada", "note": 1}, "note must be a text"),
        ({"by": "ö" * 129}, "by has 258 bytes, and at most 256 are kept"),
        ({"by": "ada", "note": "x" * 4097}, "note has 4097 bytes, and at most 4096 are kept"),
    ],
)
async def test_an_acknowledgement_that_is_refused(
    server: AlertmanagerServer, body: object, said: str
):
    """Somebody has to sign, and within bounds."""
    (alert,) = await posted(server, DOWN)

    status, text = await server.send("PUT", f"alert/{alert.fingerprint}/acknowledgement", body)

    assert status == 400
    assert said in text


@given(
    st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 - the zone is the other argument
    st.integers(-23 * 60, 23 * 60),
    st.integers(0, 9),
)
def test_any_time(moment: datetime, offset_min: int, digits: int):
    """Any RFC 3339 time is read to the millisecond and shown as the same moment in UTC."""
    zone = timezone(timedelta(minutes=offset_min))
    aware = moment.replace(microsecond=0, tzinfo=zone)
    fraction = f".{'123456789'[:digits]}" if digits else ""
    text = aware.isoformat().replace(aware.isoformat()[19:], "") + fraction + aware.isoformat()[19:]

    moment_ms = parse_moment(text)

    expected = (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    assert moment_ms == expected + int("123"[:digits].ljust(3, "0"))
    assert parse_moment(show_time(moment_ms)) == moment_ms


def test_times_beyond_the_calendar():
    """What no calendar holds is shown as its end."""
    assert show_time(FIRST_MS - 1) == "0001-01-01T00:00:00.000Z"
    assert show_time(LAST_MS + 1) == "9999-12-31T23:59:59.999Z"


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(
        [
            "2023-11-14T22:13:20Z",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00Z",
            "http://x",
            "a(",
            "\0",
        ]
    ),
)
KEYS = st.sampled_from(
    [
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
        "id",
        "matchers",
        "name",
        "value",
        "isRegex",
        "isEqual",
        "createdBy",
        "comment",
        "by",
        "note",
        "",
        "a",
    ]
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
TEXTS = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
ALERTS = st.lists(
    st.fixed_dictionaries(
        {"labels": TEXTS},
        optional={
            "annotations": TEXTS | JSON,
            "startsAt": LEAVES,
            "endsAt": LEAVES,
            "generatorURL": LEAVES,
        },
    ),
    max_size=3,
)
SILENCES = st.fixed_dictionaries(
    {
        "matchers": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.text(max_size=2),
                    "value": st.text(max_size=3),
                    "isRegex": st.booleans(),
                },
                optional={"isEqual": st.booleans()},
            ),
            max_size=2,
        ),
        "startsAt": st.just("2023-11-14T22:13:20Z") | LEAVES,
        "endsAt": st.just(LATER) | LEAVES,
        "createdBy": st.text(max_size=3) | LEAVES,
        "comment": st.text(max_size=3) | LEAVES,
    },
    optional={"annotations": TEXTS | JSON, "id": LEAVES},
)
BODIES = st.one_of(
    st.tuples(st.just("POST"), st.just("alerts"), ALERTS | JSON),
    st.tuples(st.just("POST"), st.just("silences"), SILENCES | JSON),
    st.tuples(st.just("PUT"), st.just(f"alert/{'0' * 16}/acknowledgement"), JSON),
)
PARAMETERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "active",
                "silenced",
                "expired",
                "muted",
                "filter",
                "receiver",
                "receiver_matchers",
                "since",
                "until",
                "kind",
                "limit",
                "before",
                "fingerprint",
            ]
        ),
        st.sampled_from(
            ["true", "", "a=b", '{a="b"', "a=~(", "(", "\ud800", "1e400", "-1", "firing"]
        )
        | st.text(max_size=5).map(lambda text: text.encode(errors="replace").decode()),
    ),
    max_size=4,
)


def test_no_body_breaks_the_server():
    """Any JSON is taken or refused as a bad request, and what was taken can be shown."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        server = runner.run(stack.enter_async_context(serving_alertmanager(ManualClock())))

        @given(BODIES)
        @settings(max_examples=300)
        def any_body(request: tuple[str, str, object]) -> None:
            method, path, value = request
            status, body = runner.run(server.send(method, path, orjson.dumps(value)))

            assert status in {200, 400, 404}, body
            assert status == 200 or (isinstance(body, str) and body)
            assert status != 404 or b'"id"' in orjson.dumps(value) or "alert/" in path

        try:
            any_body()
            runner.run(server.send("POST", "alerts", [DOWN]))
            runner.run(server.send("POST", "silences", SILENCE))
            for path in ("alerts", "alerts/groups", "silences"):
                assert runner.run(server.get(path))
        finally:
            runner.run(stack.aclose())


def test_no_query_breaks_the_server():
    """Any parameters are answered, or refused as a bad request."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        server = runner.run(stack.enter_async_context(serving_alertmanager(ManualClock())))

        async def ask(path: str, encoded: str) -> tuple[int, Any]:
            url = URL(f"{server.url}/{path}?{encoded}", encoded=True)
            async with server.http.get(url) as answer:
                return answer.status, await answer.json()

        @given(
            st.sampled_from(
                ["alerts", "alerts/groups", "silences", "receivers", "history", "status"]
            ),
            PARAMETERS,
        )
        @settings(max_examples=300)
        def any_query(path: str, parameters: list[tuple[str, str]]) -> None:
            encoded = "&".join(
                f"{name}={quote(value, errors='surrogatepass')}" for name, value in parameters
            )
            status, body = runner.run(ask(path, encoded))

            assert status in {200, 400}, body
            assert status == 200 or isinstance(body, str)

        try:
            any_query()
        finally:
            runner.run(stack.aclose())
