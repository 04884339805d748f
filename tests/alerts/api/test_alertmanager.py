"""The Alertmanager API: what it shows, filters and orders, and how it answers errors."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from alerts.clock import ManualClock
from alerts.routing.views import Acknowledgement, AlertStatus, GroupView
from alerts.series.labels import Labels
from alerts.storage.errors import StorageError
from tests.support.alertmanager import (
    CONFIG,
    KINDS,
    AlertmanagerServer,
    FakeEvent,
    make_view,
    serving_alertmanager,
)
from tests.support.alerts import START_MS
from tests.support.silences import HOUR_MS, make_silence

NOW = "2023-11-14T22:13:20.000Z"
SILENCED = AlertStatus("suppressed", silenced_by=("s1",))
INHIBITED = AlertStatus("suppressed", inhibited_by=("f1",))
UNPROCESSED = AlertStatus("unprocessed")
MUTED = AlertStatus("suppressed", muted_by=("nights",))


@pytest.fixture
async def server() -> AsyncIterator[AlertmanagerServer]:
    async with serving_alertmanager(ManualClock()) as running:
        yield running


def names(alerts: list[dict[str, Any]]) -> list[str]:
    """Return the names of alerts, sorted."""
    return sorted(alert["labels"]["alertname"] for alert in alerts)


async def test_status(server: AlertmanagerServer):
    """The status has every field that Alertmanager's specification requires."""
    assert await server.get("status") == {
        "cluster": {"status": "disabled", "peers": []},
        "versionInfo": {
            "version": "0.34.0",
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
            "applicationVersion": "1.2.3",
        },
        "config": {"original": CONFIG},
        "uptime": NOW,
    }


async def test_receivers(server: AlertmanagerServer):
    """Receivers come in order, with labels where they have some, and can be chosen by them."""
    pager = {"name": "pager", "labels": {"team": "ops"}}

    assert await server.get("receivers") == [{"name": "log"}, pager]
    assert await server.get("receivers", ("receiver_matchers", "team=ops")) == [pager]
    assert await server.get("receivers", ("receiver_matchers", "team!=ops")) == [{"name": "log"}]


async def test_no_alerts(server: AlertmanagerServer):
    """Nothing is an empty array, as clients expect it."""
    for path in ("alerts", "alerts/groups", "silences"):
        assert await server.get(path) == []


async def test_an_alert(server: AlertmanagerServer):
    """An alert is shown as Alertmanager does, field by field."""
    view = make_view(status=MUTED, receivers=("log", "pager"), alertname="Down")
    server.backend.shown = [view]

    assert await server.get("alerts") == [
        {
            "annotations": {"summary": "text"},
            "endsAt": "2023-11-14T22:14:20.000Z",
            "fingerprint": view.alert.fingerprint,
            "receivers": [{"name": "log"}, {"name": "pager"}],
            "startsAt": NOW,
            "status": {
                "inhibitedBy": [],
                "mutedBy": ["nights"],
                "silencedBy": [],
                "state": "suppressed",
            },
            "updatedAt": NOW,
            "labels": {"alertname": "Down"},
            "generatorURL": "http://x/y",
        }
    ]


async def test_an_alert_without_an_end(server: AlertmanagerServer):
    """No end is Go's zero time; no link is no field."""
    view = make_view(ends_at_ms=None, alertname="Down")
    server.backend.shown = [replace(view, alert=replace(view.alert, generator_url=""))]

    (alert,) = await server.get("alerts")

    assert alert["endsAt"] == "0001-01-01T00:00:00.000Z"
    assert "generatorURL" not in alert


async def test_the_order_of_alerts(server: AlertmanagerServer):
    """Alerts come by fingerprint; what has ended is not shown."""
    server.backend.shown = [
        *(make_view(alertname=f"n{number}") for number in range(20)),
        make_view(alertname="ends now", ends_at_ms=START_MS),
        make_view(alertname="ended", ends_at_ms=START_MS - 1),
    ]

    alerts = await server.get("alerts")

    fingerprints = [alert["fingerprint"] for alert in alerts]
    assert fingerprints == sorted(fingerprints)
    assert (len(alerts), "ended" in names(alerts)) == (21, False)


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ([], ["active", "both", "inhibited", "muted", "silenced", "unprocessed"]),
        ([("active", "false")], ["both", "inhibited", "muted", "silenced", "unprocessed"]),
        ([("silenced", "false")], ["active", "inhibited", "muted", "unprocessed"]),
        ([("inhibited", "0")], ["active", "muted", "silenced", "unprocessed"]),
        ([("unprocessed", "f")], ["active", "both", "inhibited", "muted", "silenced"]),
        (
            [("silenced", ""), ("active", "true")],
            ["active", "both", "inhibited", "muted", "silenced", "unprocessed"],
        ),
        ([("filter", 'alertname="active"')], ["active"]),
        (
            [("filter", "alertname=~.*ed"), ("filter", 'alertname!="muted"')],
            ["inhibited", "silenced", "unprocessed"],
        ),
        ([("filter", '{alertname=~"a.*", x=""}')], ["active"]),
        ([("filter", 'x!=""')], []),
        ([("receiver", "pager")], ["both"]),
        (
            [("receiver", "p.*|log")],
            ["active", "both", "inhibited", "muted", "silenced", "unprocessed"],
        ),
        ([("receiver", "page")], []),
        ([("receiver_matchers", "team=ops")], ["both"]),
        ([("receiver_matchers", "team=ops"), ("receiver", "log")], ["both"]),
        ([("receiver_matchers", "team=ops"), ("receiver", "none")], []),
    ],
)
async def test_filters(
    server: AlertmanagerServer, parameters: list[tuple[str, str]], found: list[str]
):
    """Flags hide, matchers and receivers choose, and all have to hold."""
    both = AlertStatus("suppressed", silenced_by=("s1",), inhibited_by=("f1",))
    server.backend.shown = [
        make_view(alertname="active"),
        make_view(alertname="both", status=both, receivers=("log", "pager")),
        make_view(alertname="inhibited", status=INHIBITED),
        make_view(alertname="muted", status=MUTED),
        make_view(alertname="silenced", status=SILENCED),
        make_view(alertname="unprocessed", status=UNPROCESSED),
    ]

    assert names(await server.get("alerts", *parameters)) == found


async def test_groups(server: AlertmanagerServer):
    """Groups come by labels and receiver, with the alerts that are wanted."""
    one, two = make_view(alertname="one"), make_view(alertname="two", status=SILENCED)
    a, b = Labels({"job": "a"}), Labels({"job": "b"})
    route = Labels({"team": "ops"})
    server.backend.group_views = [
        GroupView(b, Labels(), "log", (two,)),
        GroupView(a, Labels(), "pager", (one,)),
        GroupView(a, route, "log", (one, two)),
        GroupView(Labels(), Labels(), "log", (one,)),
    ]

    groups = await server.get("alerts/groups")

    shown = [(group["labels"], group["receiver"]["name"]) for group in groups]
    assert shown == [
        ({}, "log"),
        ({"job": "a"}, "log"),
        ({"job": "a"}, "pager"),
        ({"job": "b"}, "log"),
    ]
    assert groups[1]["routeLabels"] == {"team": "ops"}
    assert groups[1]["alerts"][0]["labels"] == {"alertname": "one"}
    assert set(groups[1]) == {"alerts", "labels", "receiver", "routeLabels"}


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ([], [("log", ["one", "two"]), ("log", ["three"])]),
        ([("silenced", "false")], [("log", ["one"]), ("log", ["three"])]),
        ([("muted", "false")], [("log", ["one", "two"])]),
        ([("filter", "alertname=three")], [("log", ["three"])]),
        ([("receiver", "pager")], []),
    ],
)
async def test_filters_of_groups(
    server: AlertmanagerServer,
    parameters: list[tuple[str, str]],
    found: list[tuple[str, list[str]]],
):
    """A group without an alert that is wanted is left out, and so is a muted one if it is not."""
    views = [
        make_view(alertname="one"),
        make_view(alertname="two", status=SILENCED),
        make_view(alertname="three", status=MUTED),
    ]
    server.backend.group_views = [
        GroupView(Labels({"job": "a"}), Labels(), "log", tuple(views[:2])),
        GroupView(Labels({"job": "b"}), Labels(), "log", tuple(views[2:])),
    ]

    groups = await server.get("alerts/groups", *parameters)

    assert [(each["receiver"]["name"], sorted(names(each["alerts"]))) for each in groups] == found


async def test_silences(server: AlertmanagerServer):
    """Silences are shown with their state, and chosen by state and by the matchers they have."""
    silences = server.backend.silences
    active = await silences.set(make_silence("job=db"))
    pending = await silences.set(make_silence("job=web", starts_at_ms=START_MS + 1))
    expired = await silences.set(make_silence("job=db", "a=b"))
    await silences.expire(expired)

    async def found(*parameters: tuple[str, str]) -> list[str]:
        return [silence["id"] for silence in await server.get("silences", *parameters)]

    assert await found() == [active, pending, expired]
    assert await found(("active", "false")) == [pending, expired]
    assert await found(("pending", "false"), ("expired", "false")) == [active]
    assert await found(("filter", 'job="db"')) == [active, expired]
    assert await found(("filter", 'job="db"'), ("filter", "a=b")) == [expired]
    assert await found(("filter", 'job=~"db"')) == []


async def test_a_silence(server: AlertmanagerServer):
    """A silence is shown as Alertmanager does, field by field."""
    silence_id = await server.backend.silences.set(make_silence())

    shown = await server.get(f"silence/{silence_id}")

    assert shown == {
        "id": silence_id,
        "status": {"state": "active"},
        "updatedAt": NOW,
        "annotations": {},
        "comment": "why",
        "createdBy": "me",
        "endsAt": "2023-11-14T23:13:20.000Z",
        "matchers": [{"isEqual": True, "isRegex": False, "name": "job", "value": "db"}],
        "startsAt": NOW,
    }
    assert await server.get("silences") == [shown]


async def test_an_acknowledgement_is_shown(server: AlertmanagerServer):
    """An alert that somebody looks after says who; no other alert has the field."""
    made = Acknowledgement("f", START_MS, "ada", START_MS, "on it")
    server.backend.shown = [
        make_view(alertname="a", acknowledgement=made),
        make_view(alertname="b"),
    ]

    alerts = {alert["labels"]["alertname"]: alert for alert in await server.get("alerts")}

    assert alerts["a"]["acknowledgement"] == {"at": NOW, "by": "ada", "note": "on it"}
    assert "acknowledgement" not in alerts["b"]


async def test_history(server: AlertmanagerServer):
    """What happened comes in pages, the newest first, each with the way to the next."""
    server.backend.events = [
        FakeEvent(START_MS - n, KINDS[n % 2], "f" * 16, Labels({"n": str(n)}), detail={"why": "x"})
        for n in range(5)
    ]

    first = await server.get("history", ("limit", "3"))
    last = await server.get("history", ("limit", "3"), ("before", first["next"]))

    assert first["events"][0] == {
        "annotations": {},
        "at": NOW,
        "detail": {"why": "x"},
        "fingerprint": "f" * 16,
        "kind": "firing",
        "labels": {"n": "0"},
    }
    assert [event["labels"]["n"] for event in first["events"] + last["events"]] == list("01234")
    assert last["next"] is None


async def test_filters_of_history(server: AlertmanagerServer):
    """Times, kinds, fingerprint and matchers reach whoever keeps the history."""
    await server.get(
        "history",
        ("since", "2023-11-14T22:13:20.5+01:00"),
        ("until", "1700000000.25"),
        ("kind", "firing"),
        ("kind", "resolved"),
        ("fingerprint", "f" * 16),
        ("filter", "job=db"),
    )

    (query,) = server.backend.queries
    assert query.since_ms == START_MS - HOUR_MS + 500
    assert query.until_ms == START_MS + 250
    assert (query.kinds, query.fingerprint) == (("firing", "resolved"), "f" * 16)
    assert [str(matcher) for matcher in query.matchers] == ['job="db"']
    assert (query.limit, query.before) == (100, None)


@pytest.mark.parametrize(
    ("path", "parameter", "said"),
    [
        ("alerts", ("active", "maybe"), '"maybe" is neither true nor false'),
        ("alerts", ("filter", "a"), "bad matcher format: a"),
        ("alerts", ("filter", ""), 'bad matcher format: "" has no matcher'),
        ("alerts", ("filter", "a=~("), "is no RE2 regular expression"),
        ("alerts", ("receiver", "("), "failed to parse receiver param"),
        ("alerts", ("receiver_matchers", "a"), "bad matcher format"),
        ("alerts/groups", ("muted", "2"), "neither true nor false"),
        ("alerts/groups", ("receiver", "["), "failed to parse receiver param"),
        ("silences", ("expired", "x"), "neither true nor false"),
        ("silences", ("filter", "a"), "bad matcher format"),
        ("receivers", ("receiver_matchers", "a"), "bad matcher format"),
        ("history", ("kind", "x"), 'kind: "x" is none of acknowledged, firing, resolved'),
        ("history", ("limit", "0"), "limit must be from 1 to 1000, not 0"),
        ("history", ("limit", "1001"), "limit must be from 1 to 1000, not 1001"),
        ("history", ("limit", "x"), "limit must be a number"),
        ("history", ("since", "x"), "Invalid time value for 'since'"),
        ("history", ("before", "x"), "before: 'x' is no cursor"),
    ],
)
async def test_bad_parameters(
    server: AlertmanagerServer, path: str, parameter: tuple[str, str], said: str
):
    """What cannot be used is refused with 400 and a JSON text that says why."""
    status, text = await server.refusal(path, parameter)

    assert status == 400
    assert said in text


@pytest.mark.parametrize(("method", "path"), [("GET", "silence/x"), ("DELETE", "silence/x")])
async def test_an_unknown_silence(server: AlertmanagerServer, method: str, path: str):
    """An id nobody has is 404."""
    assert await server.send(method, path) == (404, "silence not found")


async def test_the_database_fails(server: AlertmanagerServer):
    """A failure of the database is 503 with its reason."""
    server.backend.problem = StorageError("the disk is full")

    assert await server.refusal("history") == (503, "the disk is full")


async def test_a_defect(server: AlertmanagerServer, caplog: pytest.LogCaptureFixture):
    """A defect of ours is a JSON text, too, without what might be secret; the log has the rest."""
    server.backend.problem = RuntimeError("secret")

    with caplog.at_level(logging.ERROR):
        answer = await server.refusal("history")

    assert answer == (500, "RuntimeError; the log says more")
    assert "/api/v2/history broke" in caplog.text
