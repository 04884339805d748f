"""Routes and receivers in Alertmanager's format."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.documents import parse_document
from alerts.errors import DocumentError
from alerts.notify.secret import Secret
from alerts.notify.webhook import WebhookConfig
from alerts.routing.config import (
    Receiver,
    Route,
    RoutingConfig,
    load_routing,
    log_routing,
    read_routing,
)

FULL = """\
global: {resolve_timeout: 3m}
route:
  receiver: ops
  group_by: [alertname, job]
  group_wait: 0s
  group_interval: 1m
  repeat_interval: 2h
receivers:
- name: ops
  webhook_configs:
  - url: https://host/T0K3N
    send_resolved: false
    max_alerts: 5
    timeout: 7s
    http_config: {authorization: {credentials: abc123}}
  - url: http://other:99/
    http_config: {basic_auth: {username: me, password: pw}}
- name: nobody
"""


def read(text: str) -> RoutingConfig:
    """Read a text as a configuration."""
    return read_routing(parse_document(text, "am.yml"))


def test_every_key(tmp_path: Path) -> None:
    """Every covered key is read."""
    (tmp_path / "am.yml").write_text(FULL)

    config = load_routing(tmp_path / "am.yml")

    assert config.resolve_timeout_s == 180.0
    assert config.route == Route("ops", ("alertname", "job"), 0.0, 60.0, 7200.0)
    assert config.receivers["nobody"] == Receiver("nobody")
    assert config.receivers["ops"].webhooks == (
        WebhookConfig(
            Secret("https://host/T0K3N"),
            send_resolved=False,
            max_alerts=5,
            timeout_s=7.0,
            headers=(("Authorization", Secret("Bearer abc123")),),
        ),
        WebhookConfig(
            Secret("http://other:99/"),
            headers=(("Authorization", Secret("Basic bWU6cHc=")),),
        ),
    )


def test_defaults() -> None:
    """What is left out has Alertmanager's default."""
    config = read("route: {receiver: a}\nreceivers: [{name: a}]")

    assert config.route == Route("a", (), 30.0, 300.0, 14400.0)
    assert config.resolve_timeout_s == 300.0


def test_no_file() -> None:
    """Without a file everything goes to the log, each alert on its own and at once."""
    config = log_routing()

    assert config.receivers[config.route.receiver].logs
    assert (config.route.group_by, config.route.group_wait_s) == (("...",), 0.0)


def test_secrets_do_not_show() -> None:
    """Neither URLs nor credentials show when a configuration is printed."""
    shown = repr(read(FULL))

    assert "T0K3N" not in shown
    assert "abc123" not in shown
    assert "bWU6cHc=" not in shown


ROUTE = "route: {receiver: a}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: an Alertmanager configuration must be a mapping, not nothing"),
        ("receivers: [{name: a}]", "1:1: route is missing: say which receiver gets the alerts"),
        (ROUTE, "1:19: there is no receiver 'a'; defined are none"),
        ("route: {}\nreceivers: [{name: a}]", "1:8: receiver is missing"),
        (ROUTE + "receivers: [{name: a}, {name: a}]", "2:31: a receiver named 'a' is defined"),
        (
            ROUTE + "receivers: [{name: a}]\ninhibit_rules: []",
            "3:1: inhibit_rules is not supported",
        ),
        (ROUTE + "receivers: [{name: a}]\ntemplate: []", "3:1: an Alertmanager configuration has"),
        (
            ROUTE + "receivers: [{name: a, slack_configs: []}]",
            "2:23: slack_configs is not supported yet; remove it",
        ),
        (
            ROUTE + "receivers: [{name: a, webhooks_config: []}]",
            "2:23: a receiver has no key 'webhooks_config'; did you mean 'webhook_configs'?",
        ),
        (
            "route: {receiver: a, routes: []}\nreceivers: [{name: a}]",
            "1:22: routes is not supported yet; remove it",
        ),
        (
            "route: {receiver: a, group_by: ['...', x]}\nreceivers: [{name: a}]",
            "1:32: '...' groups by all labels and must stand alone",
        ),
        (
            "route: {receiver: a, group_by: [x, x]}\nreceivers: [{name: a}]",
            "1:32: the label 'x' stands here twice",
        ),
        (
            "route: {receiver: a, group_interval: 0s}\nreceivers: [{name: a}]",
            "1:38: group_interval must be longer than 0s",
        ),
        (
            "global: {http_config: {}}\nroute: {receiver: a}\nreceivers: [{name: a}]",
            "1:10: http_config is not supported yet; remove it",
        ),
    ],
)
def test_wrong(text: str, problem: str) -> None:
    """What is wrong or not supported yet is said with its place."""
    with pytest.raises(DocumentError) as caught:
        read(text)

    (found,) = caught.value.problems
    assert str(found).startswith(f"am.yml:{problem}")


@pytest.mark.parametrize(
    ("webhook", "problem"),
    [
        ("{}", "url is missing"),
        ("{url: ftp://host/T0K3N}", "url is no URL that can be posted to"),
        ("{url: 'https://[T0K3N'}", "url is no URL that can be posted to"),
        ("{url: 'https://host/{{ .T0K3N }}'}", "a template in url is not supported yet"),
        ("{url_file: /T0K3N, url: http://h}", "url_file is not supported yet; remove it"),
        ("{url: http://h, max_alerts: many}", "max_alerts must be a whole number of 0 or more"),
        ("{url: http://h, send_resolved: 1}", "send_resolved must be true or false, not 1"),
        ("{url: http://h, http_config: {tls_config: {}}}", "tls_config is not supported yet"),
        (
            "{url: http://h, http_config: {authorization: {type: Basic, credentials: T0K3N}}}",
            "type must not be Basic; write basic_auth instead",
        ),
        (
            "{url: http://h, http_config: {authorization: {credentials: x}, basic_auth: {}}}",
            "http_config has either authorization or basic_auth, not both",
        ),
    ],
)
def test_wrong_webhook(webhook: str, problem: str) -> None:
    """What is wrong with a webhook is said without repeating what may be secret."""
    with pytest.raises(DocumentError) as caught:
        read(f"{ROUTE}receivers: [{{name: a, webhook_configs: [{webhook}]}}]")

    assert problem in str(caught.value)
    assert "T0K3N" not in str(caught.value)
