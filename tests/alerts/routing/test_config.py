"""Routes and receivers in Alertmanager's format."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from alerts.documents import parse_document
from alerts.errors import DocumentError
from alerts.notify.catalogue import ChannelCatalogue
from alerts.notify.channel_config import ChannelConfig
from alerts.routing.config import load_routing, read_routing
from alerts.routing.intervals import Range, TimeInterval
from alerts.routing.matchers import parse_matchers
from alerts.routing.model import InhibitRule, Receiver, log_routing
from alerts.sections import Section
from alerts.series.labels import Labels
from tests.support.routing import routing

SHOP = """\
global:
  resolve_timeout: 3m
  slack_api_url: https://hooks.slack.com/services/T/B/X
  http_config: {}
templates: [templates/*.tmpl, extra.tmpl]
route:
  receiver: log-only
  group_by: [alertname, cluster]
  group_wait: 45s
  routes:
    - receiver: pager
      matchers: [severity="page"]
      continue: true
      routes:
        - matchers: ['{team="db", env=~"prod|stage"}']
          receiver: db-pager
          mute_time_intervals: [weekends]
          labels: {runbook: "{{ .GroupLabels.alertname }}"}
    - match: {severity: ticket}
      match_re: {team: "web|api"}
      group_by: ['...']
      active_time_intervals: [office-hours]
      receiver: tickets
receivers:
  - name: log-only
  - name: pager
    labels: {owner: sre}
    webhook_configs: [{url: "https://host/T0K3N", send_resolved: false}]
  - name: db-pager
    webhook_configs: [{url: "http://db:9/"}, {url: "http://db:9/2"}]
  - name: tickets
inhibit_rules:
  - name: page hides ticket
    source_matchers: [severity=page]
    target_matchers: [severity=~"ticket|info"]
    equal: [alertname, cluster]
  - source_match: {alertname: Down}
    source_match_re: {job: "a.*"}
    target_match: {severity: info}
    target_match_re: {job: "b.*"}
time_intervals:
  - name: office-hours
    time_intervals:
      - times: [{start_time: 09:00, end_time: 17:30}]
        weekdays: ['monday:friday']
        location: Europe/Berlin
mute_time_intervals:
  - name: weekends
    time_intervals: [{weekdays: [saturday, sunday]}]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return a file as a shop could have it, and the templates it names beside it."""
    (tmp_path / "templates").mkdir()
    for name in ("templates/b.tmpl", "templates/a.tmpl", "extra.tmpl"):
        (tmp_path / name).write_text(f'{{{{ define "{name}" }}}}x{{{{ end }}}}', "utf-8")
    (tmp_path / "am.yml").write_text(SHOP, "utf-8")
    return tmp_path / "am.yml"


def test_a_whole_file(shop: Path) -> None:
    """Every part of a file is read."""
    config = load_routing(shop, channels=ChannelCatalogue.shipped())

    assert config.resolve_timeout_s == 180.0
    assert [route.receiver for route in config.route.walk()] == [
        *("log-only", "pager", "db-pager", "tickets")
    ]
    assert config.inhibit_rules == (
        InhibitRule(
            parse_matchers("severity=page"),
            parse_matchers('severity=~"ticket|info"'),
            ("alertname", "cluster"),
            "page hides ticket",
        ),
        InhibitRule(
            parse_matchers('alertname="Down",job=~"a.*"'),
            parse_matchers('job=~"b.*",severity="info"'),
        ),
    )
    assert config.time_intervals == {
        "weekends": (TimeInterval(weekdays=(Range(6, 6), Range(0, 0))),),
        "office-hours": (
            TimeInterval(
                times=(Range(9 * 60, 17 * 60 + 29),),
                weekdays=(Range(1, 5),),
                location="Europe/Berlin",
            ),
        ),
    }
    assert [Path(name).name for name, _ in config.templates.files] == [
        *("a.tmpl", "b.tmpl", "extra.tmpl")
    ]


def test_receivers(shop: Path) -> None:
    """Receivers have the channels their reader made of their entries, in file order."""
    receivers = load_routing(shop, channels=ChannelCatalogue.shipped()).receivers

    assert receivers["log-only"] == Receiver("log-only")
    (webhook,) = receivers["pager"].channels
    assert receivers["pager"] == Receiver("pager", (webhook,), labels=(("owner", "sre"),))
    assert (webhook.kind, webhook.send_resolved) == ("webhook", False)
    assert len(receivers["db-pager"].channels) == 2


def test_where_alerts_go(shop: Path) -> None:
    """Alerts reach the receivers Alertmanager would send them to."""
    route = load_routing(shop, channels=ChannelCatalogue.shipped()).route

    def receivers(**labels: str) -> list[str]:
        return [found.receiver for found in route.matching(Labels(labels))]

    assert receivers(severity="info") == ["log-only"]
    assert receivers(severity="page", team="web") == ["pager"]
    assert receivers(severity="page", team="db", env="prod") == ["db-pager"]
    assert receivers(severity="ticket", team="api") == ["tickets"]
    assert receivers(severity="ticket", team="db") == ["log-only"]


def test_defaults() -> None:
    """What is left out has Alertmanager's default."""
    config = routing("route: {receiver: a}\nreceivers: [{name: a}]")

    assert config.resolve_timeout_s == 300.0
    assert (config.inhibit_rules, config.time_intervals, config.templates.files) == ((), {}, ())


def test_no_file() -> None:
    """Without a file everything goes to the log, each alert on its own and at once."""
    config = log_routing()

    assert config.receivers[config.route.receiver].logs
    assert (config.route.group_by, config.route.group_wait_s) == (("...",), 0.0)


def test_secrets_do_not_show(shop: Path) -> None:
    """Neither URLs nor credentials show when a configuration is printed."""
    shown = repr(load_routing(shop, channels=ChannelCatalogue.shipped()))

    assert "T0K3N" not in shown
    assert "services/T/B/X" not in shown


@dataclass(frozen=True, slots=True)
class Heard:
    """What a reader of channels was handed."""

    kind: str
    entry: Mapping[str, object]
    defaults: Mapping[str, object]


class RecordingReader:
    """A ``ChannelReader`` that records what it is asked to read."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    @property
    def kinds(self) -> Collection[str]:
        return ("slack", "pigeon")

    @property
    def global_keys(self) -> Collection[str]:
        return ("pigeon_loft",)

    def read(self, kind: str, section: Section, defaults: Section | None) -> ChannelConfig:
        self.heard.append(Heard(kind, section.data, {} if defaults is None else defaults.data))
        section.report(None, f"no {kind} today")
        return ChannelConfig(kind, send_resolved=True)


def test_channels_are_read_by_who_knows_them(tmp_path: Path) -> None:
    """Entries and defaults go to the reader of channels; its problems are problems of the file."""
    text = (
        "global: {pigeon_loft: roof, slack_api_url: http://h}\nroute: {receiver: a}\n"
        "receivers:\n- name: a\n  pigeon_configs: [{ring: 7}]\n  slack_configs: [{channel: b}]\n"
    )
    channels = RecordingReader()
    with pytest.raises(DocumentError) as caught:
        read_routing(parse_document(text, "am.yml"), channels=channels, base_dir=tmp_path)

    defaults = {"pigeon_loft": "roof", "slack_api_url": "http://h"}
    assert channels.heard == [
        Heard("pigeon", {"ring": 7}, defaults),
        Heard("slack", {"channel": "b"}, defaults),
    ]
    assert [str(problem) for problem in caught.value.problems] == [
        "am.yml:5:20: no pigeon today",
        "am.yml:6:19: no slack today",
    ]


def test_all_problems_at_once() -> None:
    """One reading lists everything that is wrong, by place."""
    with pytest.raises(DocumentError) as caught:
        routing(
            "route:\n  receiver: b\n  grup_by: [x]\n  routes: [{matchers: [a=~'(']}]\n"
            "receivers: [{name: a, webhook_configs: [{}]}]\n"
            "time_intervals: [{name: t, time_intervals: [{months: [13]}]}]\n"
        )

    assert [(problem.line, problem.column) for problem in caught.value.problems] == [
        *((2, 13), (3, 3), (4, 27), (5, 41), (6, 55))
    ]


GOOD = "route: {receiver: a}\nreceivers: [{name: a}]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: an Alertmanager configuration must be a mapping, not nothing"),
        ("receivers: [{name: a}]", "1:1: route is missing: say which receiver gets the alerts"),
        ("route: []\nreceivers: [{name: a}]", "1:8: route must be a mapping, not a list"),
        ("route: {receiver: a}", "1:19: there is no receiver 'a'; none is defined"),
        ("route: {}\nreceivers: [{name: a}]", "1:8: receiver is missing"),
        (GOOD + "template: []", "3:1: an Alertmanager configuration has no key 'template'; did"),
        (GOOD + "tracing: {}", "3:1: tracing: gatewatch's own configuration says where traces"),
        (GOOD + "event_recorder: {}", "3:1: event_recorder: gatewatch keeps the history"),
        (GOOD + "global: {resolve_timeout: 0s}", "3:27: resolve_timeout must be longer than 0s"),
        (GOOD + "global: {slack_api_ulr: x}", "3:10: global has no key 'slack_api_ulr'; did you"),
        (
            GOOD + "global: {slack_api_url: x, slack_api_url_file: y}",
            "3:48: there is either slack_api_url or slack_api_url_file, not both",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a}, {name: a}]",
            "2:31: a receiver named 'a' is defined already",
        ),
        ("route: {receiver: a}\nreceivers: [{name: a}, {}]", "2:24: name is missing"),
        (
            "route: {receiver: a}\nreceivers: [{name: a, jira_configs: [{}]}]",
            "2:38: there is no channel jira; use webhook_configs",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a, webhooks_config: []}]",
            "2:23: a receiver has no key 'webhooks_config'; did you mean 'webhook_configs'?",
        ),
        (
            "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [null]}]",
            "2:41: an item of webhook_configs must be a mapping, not nothing",
        ),
        (
            GOOD + "inhibit_rules: [{sources: []}]",
            "3:18: sources is not supported yet; remove it",
        ),
        (
            GOOD + "inhibit_rules: [{source_matcher: []}]",
            "3:18: an inhibition rule has no key 'source_matcher'; did you mean 'source_matchers'?",
        ),
        (
            GOOD + "inhibit_rules: [{source_matchers: [a=b], equal: ['']}]",
            "3:50: '' cannot be the name of a label",
        ),
        (
            GOOD + "inhibit_rules: [{source_match: {a-b: x}}]",
            "3:33: 'a-b' is no name of letters, digits and _; write it in matchers",
        ),
        (GOOD + "time_intervals: [{}]", "3:18: name is missing"),
        (
            GOOD + "time_intervals: [{name: t}]\nmute_time_intervals: [{name: t}]",
            "3:25: a time interval named 't' is defined already",
        ),
        (
            GOOD + "time_intervals: [{name: t, time_intervals: [{hours: []}]}]",
            "3:46: a time interval has no key 'hours'",
        ),
        (GOOD + "templates: [none.tmpl]", "3:13: there is no template file none.tmpl"),
        (GOOD + "templates: none.tmpl", "3:12: templates must be a list, not a single value"),
    ],
)
def test_wrong(text: str, problem: str) -> None:
    """What is wrong or not supported is said with its place and what would be right."""
    with pytest.raises(DocumentError) as caught:
        routing(text)

    (found,) = caught.value.problems
    assert str(found).startswith(f"am.yml:{problem}")


def test_too_deep() -> None:
    """A tree that is too deep to be walked is refused, wherever it is noticed."""
    depth = 320
    tree = "{match: {a: b}, routes: [" * depth + "]}" * depth
    with pytest.raises(DocumentError, match=r"am\.yml: values are nested too deeply"):
        routing(f"route: {{receiver: a, routes: [{tree}]}}\nreceivers: [{{name: a}}]")


def test_templates_that_match_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pattern that matches no file is only logged: the folder may be empty for a while."""
    with caplog.at_level(logging.WARNING):
        config = routing(GOOD + "templates: ['*.tmpl']", base_dir=tmp_path)

    assert config.templates.files == ()
    assert caplog.messages == [f"no template file matches *.tmpl in {tmp_path}"]


@pytest.mark.parametrize(
    ("webhook", "problem"),
    [
        ("{}", "url is missing"),
        ("{url: ftp://host/T0K3N}", "url is no URL that can be requested"),
        ("{url: 'https://[T0K3N'}", "url is no URL that can be requested"),
        ("{url: http://h, max_alerts: many}", "max_alerts must be a whole number of 0 or more"),
        ("{url: http://h, send_resolved: 1}", "send_resolved must be true or false, not 1"),
    ],
)
def test_wrong_webhook(webhook: str, problem: str) -> None:
    """What is wrong with a webhook is said without repeating what may be secret."""
    with pytest.raises(DocumentError) as caught:
        routing(f"route: {{receiver: a}}\nreceivers: [{{name: a, webhook_configs: [{webhook}]}}]")

    assert problem in str(caught.value)
    assert "T0K3N" not in str(caught.value)
