"""Rules and alerts over HTTP."""

from typing import Any

import pytest

from tests.alerts.api.serving import NOW_S, Server


async def evaluated(server: Server, *at_s: float) -> None:
    """Evaluate every group at some times."""
    for seconds in at_s:
        for group in server.alerting.groups:
            await server.alerting.evaluate(group, round((NOW_S + seconds) * 1000))


def names(data: Any) -> list[str]:
    """Return the names of all rules."""
    return [rule["name"] for group in data["groups"] for rule in group["rules"]]


async def test_before_the_first_evaluation(server: Server):
    """Rules are listed by file and group before they ran, their state unknown."""
    data = await server.data("rules")

    assert [group["name"] for group in data["groups"]] == ["first", "second"]
    assert names(data) == ["Never", "job:up:sum", "Down"]
    (never,) = data["groups"][0]["rules"]
    assert (never["state"], never["health"]) == ("unknown", "unknown")
    assert never["lastEvaluation"] == "0001-01-01T00:00:00Z"


async def test_a_group_and_its_rules(server: Server):
    """Everything Prometheus says about groups and rules is there, and nothing else."""
    await evaluated(server, -60, -30, 0)

    group = (await server.data("rules", ("rule_group[]", "second")))["groups"][0]

    recording, alerting = group.pop("rules")
    for body in (group, recording, alerting):
        assert body.pop("evaluationTime") >= 0
        assert body.pop("lastEvaluation") == "2023-11-14T22:13:20Z"
    assert group == {"name": "second", "file": "r.yaml", "interval": 15.0, "limit": 7}
    assert recording == {
        "name": "job:up:sum",
        "query": "sum by (job) (up)",
        "labels": {"tier": "db"},
        "health": "ok",
        "type": "recording",
    }
    assert [alert["state"] for alert in alerting.pop("alerts")] == ["firing"]
    assert alerting == {
        "state": "firing",
        "name": "Down",
        "query": "up == 0",
        "duration": 30.0,
        "keepFiringFor": 60.0,
        "labels": {"severity": "page", "where": "{{ $labels.instance }}"},
        "annotations": {"summary": "{{ $labels.instance }} is down"},
        "health": "ok",
        "type": "alerting",
    }


async def test_an_alert(server: Server):
    """An alert has its own labels and texts, since when it holds, and its value."""
    await evaluated(server, 0)

    assert await server.data("alerts") == {
        "alerts": [
            {
                "labels": {
                    "alertname": "Down",
                    "instance": "b",
                    "job": "web",
                    "severity": "page",
                    "where": "b",
                },
                "annotations": {"summary": "b is down"},
                "state": "pending",
                "activeAt": "2023-11-14T22:13:20Z",
                "value": "0e+00",
            }
        ]
    }


async def test_an_alert_that_is_kept_firing(server: Server):
    """An alert whose expression holds no more says since when."""
    await evaluated(server, -60, 0)
    server.append(15, {"up;job=web;instance=b": 1})
    await evaluated(server, 15)

    (alert,) = (await server.data("alerts"))["alerts"]

    assert (alert["state"], alert["keepFiringSince"]) == ("firing", "2023-11-14T22:13:35Z")


async def test_a_rule_that_fails(server: Server):
    """A rule that cannot be evaluated says why."""
    for number in range(8):
        server.append(0, {f"up;instance=x{number}": 0}, source=f"s{number}")
    await evaluated(server, 0)

    (group,) = (await server.data("rules", ("rule_name[]", "Down")))["groups"]

    (rule,) = group["rules"]
    assert rule["health"] == "err"
    assert "limit of 7" in rule["lastError"]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ([("type", "alert")], ["Never", "Down"]),
        ([("type", "record")], ["job:up:sum"]),
        ([("rule_name[]", "Down"), ("rule_name[]", "job:up:sum")], ["job:up:sum", "Down"]),
        ([("rule_group[]", "first")], ["Never"]),
        ([("file[]", "r.yaml"), ("type", "record")], ["job:up:sum"]),
        ([("file[]", "other.yaml")], []),
        ([("match[]", '{severity="page"}')], ["Down"]),
        ([("match[]", '{tier="db"}'), ("match[]", '{severity=~"p.*"}')], ["job:up:sum", "Down"]),
        ([("match[]", '{severity="page", tier="db"}')], []),
    ],
)
async def test_filters(server: Server, parameters: list[tuple[str, str]], found: list[str]):
    """Filters of different kinds are all to hold, of those of one kind any."""
    assert names(await server.data("rules", *parameters)) == found


async def test_without_alerts(server: Server):
    """Who does not want the alerts gets the rules alone."""
    await evaluated(server, 0)

    data = await server.data("rules", ("exclude_alerts", "true"), ("rule_name[]", "Down"))

    assert data["groups"][0]["rules"][0]["alerts"] == []


async def test_pages(server: Server):
    """Groups come in pages, each with the way to the next."""
    first = await server.data("rules", ("group_limit", "1"))
    token = first["groupNextToken"]

    last = await server.data("rules", ("group_limit", "1"), ("group_next_token", token))

    assert (names(first), names(last)) == (["Never"], ["job:up:sum", "Down"])
    assert "groupNextToken" not in last


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ([("type", "both")], 'not supported value "both"'),
        ([("exclude_alerts", "maybe")], 'invalid parameter "exclude_alerts"'),
        ([("group_limit", "0")], "group_limit needs to be greater than 0"),
        ([("group_limit", "x")], "group_limit must be a number"),
        ([("group_next_token", "x")], "group_limit needs to be set"),
        ([("group_limit", "1"), ("group_next_token", "x")], "were rule groups changed?"),
        ([("match[]", "sum(")], 'invalid parameter "match[]"'),
    ],
)
async def test_bad_parameters(server: Server, parameters: list[tuple[str, str]], said: str):
    """What cannot be used is bad_data, with the reason."""
    status, kind, text = await server.refusal("rules", *parameters)

    assert (status, kind) == (400, "bad_data")
    assert said in text


@pytest.mark.parametrize("path", ["rules", "alerts"])
async def test_while_starting(server: Server, path: str):
    """Before there are rules the server says that it is not ready."""
    server.has_rules = False

    status, kind, _ = await server.refusal(path)

    assert (status, kind) == (503, "unavailable")
