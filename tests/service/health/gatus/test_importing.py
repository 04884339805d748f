"""A Gatus configuration file becomes checks, and what cannot is said with its line."""

from __future__ import annotations

from typing import Any

import pytest

from alerts.documents import parse_document
from service.config.settings import Settings
from service.health.gatus.conditions import quoted_as_in_gatus
from service.health.gatus.importing import import_gatus

GATUS = """\
alerting:
  slack: {webhook-url: "https://hooks.slack.com/x"}
web: {port: 8080}
metrics: true
endpoints:
  - name: front-end
    group: core
    url: "https://twin.sh/health"
    interval: 5m
    client: {timeout: 1.5s, insecure: true, ignore-redirect: true, dns-resolver: "tcp://1.1.1.1:53"}
    headers: {X-Price: "5$$"}
    conditions:
      - "[STATUS] == 200"
      - "[BODY].status == UP"
      - "[RESPONSE_TIME] < 150"
      - "[DOMAIN_EXPIRATION] > 48h"
    alerts:
      - type: slack
        failure-threshold: 5
        success-threshold: 3
  - name: graph
    url: "http://localhost/playground"
    method: POST
    graphql: true
    body: "{ users { name } }"
    conditions: ["len([BODY].data.users) > 3"]
  - name: example-dns-query
    url: "8.8.8.8"
    dns: {query-name: "example.com", query-type: "A"}
    conditions: ["[DNS_RCODE] == NOERROR"]
  - {name: ping, group: a, url: "icmp://example.org", conditions: ["[CONNECTED] == true"]}
  - {name: ping, group: b, url: "tcp://10.0.0.1:80", body: hi, conditions: ["[STATUS] == 200"]}
  - {name: mail, url: "starttls://mail.example:25", conditions: ["[CERTIFICATE_EXPIRATION] > 2h"]}
  - {name: ws, url: "wss://echo.example.com/", body: hi, conditions: ["[BODY] == pat(*hi*)"]}
  - {name: rpc, url: "grpcs://localhost:50051", conditions: ["[CONNECTED] == true"]}
  - {name: shell, url: "ssh://example.com:22", ssh: {username: a, password: b}, conditions: []}
  - {name: dgram, url: "udp://example.com:22", conditions: ["[CONNECTED] == true"]}
  - {name: unused, url: "http://x/", enabled: false, conditions: ["[STATUS] == 200"]}
external-endpoints:
  - {name: backup, group: jobs, token: hush, heartbeat: {interval: 30m}}
suites:
  - name: shop
"""


def imported(text: str) -> tuple[dict[str, dict[str, Any]], list[str], Settings]:
    """Return the checks by name, the remarks, and the settings that the result is."""
    result = import_gatus(parse_document(text, "gatus.yaml"))
    checks: Any = result.health["checks"]
    settings = Settings.model_validate({"health": result.health})
    return (
        {check["name"]: check for check in checks},
        [str(each) for each in result.remarks],
        settings,
    )


def test_endpoints_become_checks():
    """Every scheme has its kind of probe, and the result can be used as it is."""
    checks, _, settings = imported(GATUS)

    assert [check.kind for check in settings.health.checks] == [
        *("http", "http", "dns", "icmp", "tcp", "tls", "websocket", "grpc", "push"),
    ]
    assert checks["front-end"] == {
        "name": "front-end",
        "group": "core",
        "interval": "5m",
        "failure_threshold": 5,
        "success_threshold": 3,
        "timeout": "1s500ms",
        "http": {
            "url": "https://twin.sh/health",
            "headers": {"X-Price": "5$"},
            "follow_redirects": False,
            "tls": {"verify": False},
        },
        "conditions": ["[STATUS] == 200", "[BODY].status == UP", "[RESPONSE_TIME] < 150"],
    }
    assert checks["graph"]["http"] == {
        "url": "http://localhost/playground",
        "method": "POST",
        "headers": {"Content-Type": "application/json"},
        "body": '{"query": "{ users { name } }"}',
    }
    assert checks["example-dns-query"]["dns"] == {
        "query_name": "example.com",
        "query_type": "A",
        "server": "8.8.8.8",
    }
    assert checks["b ping"]["tcp"] == {"address": "10.0.0.1:80", "send": "hi"}
    assert checks["mail"]["tls"] == {
        "address": "mail.example:25",
        "min_validity": "0s",
        "starttls": "smtp",
    }
    assert checks["rpc"]["grpc"] == {"address": "localhost:50051", "use_tls": True}
    assert checks["backup"]["push"] == {"token": "hush", "max_silence": "30m"}


def test_a_status_is_only_judged_by_conditions():
    """An endpoint that says nothing of the status takes any, as in Gatus."""
    checks, _, _ = imported(GATUS)

    assert checks["graph"]["conditions"] == ["len([BODY].data.users) > 3", "[STATUS] >= 0"]


@pytest.mark.parametrize(
    "remark",
    [
        "gatus.yaml:1:1: alerting: receivers are those of alerts.alertmanager_config",
        "gatus.yaml:3:1: web: where to listen is in operations.host",
        "gatus.yaml:10:68: dns-resolver: not carried over",
        "gatus.yaml:16:9: the condition '[DOMAIN_EXPIRATION] > 48h' is left out: at character 1",
        "gatus.yaml:17:5: alerts: the thresholds are kept; slack is up to routes",
        "gatus.yaml:31:6: the endpoint 'ping' becomes 'a ping'",
        "the condition '[STATUS] == 200' is left out: a tcp check has no [STATUS]",
        "gatus.yaml:36:19: shell: there are no ssh checks; left out",
        "gatus.yaml:37:19: dgram: there are no udp checks; left out",
        "gatus.yaml:38:38: unused: not enabled; left out",
        "gatus.yaml:40:5: backup: reports go to POST /health/push/backup now",
        "gatus.yaml:41:1: suites: there are no suites",
    ],
)
def test_what_is_not_carried_over_is_said(remark):
    """With its line, in the order of the file."""
    _, remarks, _ = imported(GATUS)
    lines = [int(each.split(":")[1]) for each in remarks]

    assert any(remark in each for each in remarks), "\n".join(remarks)
    assert lines == sorted(lines)
    assert not any("metrics" in each for each in remarks)


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("- a\n", "no configuration of Gatus"),
        ("endpoints: 3\n", "1:1: endpoints is no list"),
        ("endpoints: [3]\n", "1:13: no mapping"),
        ("endpoints: [{name: a, url: x}]\n", "1:23: a: 'x' is no URL; left out"),
        ("endpoints: [{name: a, url: 'http://'}]\n", "1:13: a: http.url: "),
        ("endpoints: [{name: a, url: 'tcp://x'}]\n", "tcp.address: Value error, 'x' is no address"),
        ("endpoints: [{name: a, url: 'http://x', interval: 5}]\n", "'5' is not a duration"),
        (
            "endpoints: [{name: a, url: 'http://$HOST/'}]\n",
            "url: the variable in it is not filled in",
        ),
        (
            "endpoints: [{name: a, url: 'http://x', body: '[ENDPOINT_NAME]'}]\n",
            "body: [ENDPOINT_NAME]",
        ),
        ("endpoints: [{name: a, url: 'http://x', client: 3}]\n", "client is no mapping"),
        ("endpoints: [{name: a/b, url: 'http://x'}]\n", "the endpoint 'a/b' becomes 'a-b'"),
        ("endpoints: [{url: 'http://x'}]\n", "the endpoint '' becomes 'endpoint'"),
        ("external-endpoints: [{name: a, token: t}]\n", "silence for a year is a failure"),
        ("maintenance: {start: '25:00', duration: 1h}\n", "1:14: maintenance.0.daily: "),
        ("external-endpoints: [{name: a}]\n", "push.token: Value error, is empty"),
    ],
)
def test_a_broken_file_leads_to_remarks(text, remark):
    """Nothing in a file is an error that ends the import."""
    _, remarks, _ = imported(text)

    assert any(remark in each for each in remarks), remarks


def test_maintenance_windows_are_taken_over():
    """Those of all checks and of one, every day or on some days."""
    text = """\
maintenance: {start: "23:00", duration: 1h, timezone: Europe/Berlin, every: [Monday, Thursday]}
endpoints:
- name: a
  url: http://x/
  maintenance-windows:
  - {start: "02:30", duration: 90m}
  - {start: "02:30", duration: 90m, enabled: false}
  - {start: "02:30"}
  - {start: "02:30", duration: 1h, every: [Caturday]}
  - {start: 23, duration: 1h}
"""
    checks, remarks, settings = imported(text)

    (common,) = settings.health.maintenance
    assert (common.weekly, common.duration, common.time_zone) == (
        "mon,thu 23:00",
        3600.0,
        "Europe/Berlin",
    )
    assert checks["a"]["maintenance"] == [{"daily": "02:30", "duration": "1h30m"}]
    assert remarks == [
        "gatus.yaml:8:5: a window needs start and duration; left out",
        "gatus.yaml:9:36: every names a day that is none; the window is left out",
        "gatus.yaml:10:5: a window needs start and duration; left out",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[BODY] == up", "[BODY] == up"),
        ('[BODY] == "up"', '[BODY] == "\\"up\\""'),
        ("'x' == [BODY]", "\"'x'\" == [BODY]"),
        ("[STATUS]", "[STATUS]"),
    ],
)
def test_quotes_are_part_of_the_text_in_gatus(text, expected):
    """What has quotes there is compared with its quotes."""
    assert quoted_as_in_gatus(text) == expected


DEFAULTS = """\
alerting:
  slack:
    default-alert: {failure-threshold: 5, success-threshold: 4}
  discord:
    default-alert: {enabled: false, failure-threshold: 1}
endpoints:
  - {name: a, url: "http://a/", alerts: [{type: slack}]}
  - {name: b, url: "http://b/", alerts: [{type: slack, failure-threshold: 2}]}
  - {name: c, url: "http://c/", alerts: [{type: discord}]}
  - {name: d, url: "http://d/", alerts: [{type: discord, enabled: true}, {type: email}]}
external-endpoints:
  - {name: e, token: t, alerts: [{type: slack}]}
"""


def test_thresholds_of_default_alerts():
    """What an alert leaves open is what the alerts of its kind have by default."""
    checks, _, _ = imported(DEFAULTS)

    found = {
        name: (check.get("failure_threshold"), check.get("success_threshold"))
        for name, check in checks.items()
    }
    assert found == {"a": (5, 4), "b": (2, 4), "c": (None, None), "d": (1, 2), "e": (5, 4)}


@pytest.mark.parametrize(
    ("start", "when"),
    [("23:00", "23:00"), ("1:05", "01:05"), ("01:05", "01:05"), ('"23:30"', "23:30")],
)
def test_times_of_day_without_quotes(start, when):
    """YAML reads some as numbers; they are times in Gatus."""
    window = f"{{start: {start}, duration: 1h, every: [Monday]}}"
    _, remarks, settings = imported(f"maintenance: {window}\nendpoints: []\n")

    assert remarks == []
    assert [each.weekly for each in settings.health.maintenance] == [f"mon {when}"]
