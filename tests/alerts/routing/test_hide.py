"""The configuration as it is shown."""

from __future__ import annotations

import pytest
import yaml

from alerts.documents import parse_document
from alerts.routing.hide import shown_configuration
from tests.support.routing import routing


def shown(text: str) -> str:
    """Return a configuration as it is shown."""
    return shown_configuration(parse_document(text, "am.yml"))


def entry(text: str, kind: str = "slack") -> object:
    """Return what is shown of one channel of a receiver."""
    document = f"receivers:\n- name: a\n  {kind}_configs:\n  - {text}\n"
    return yaml.safe_load(shown(document))["receivers"][0][f"{kind}_configs"][0]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{api_url: https://hooks/T/B/S}", {"api_url": "https://hooks/<secret>"}),
        ("{url: 'http://me:S@h:9/S?t=S#S'}", {"url": "http://h:9/<secret>"}),
        ("{url: https://h/}", {"url": "https://h/"}),
        ("{url: https://S@h}", {"url": "https://h/<secret>"}),
        ("{url: 'https://h/{{ .S }}'}", {"url": "<secret>"}),
        ("{url: 'https://{{.S}}/x'}", {"url": "<secret>"}),
        ("{url: smtp://h/S}", {"url": "<secret>"}),
        ("{url: 'http://[S/x'}", {"url": "<secret>"}),
        ("{bot_token: S}", {"bot_token": "<secret>"}),
        ("{bot_token: 0123}", {"bot_token": "<secret>"}),
        ("{bot_token: , api_key: ''}", {"bot_token": None, "api_key": ""}),
        ("{bot_token_file: /run/token}", {"bot_token_file": "/run/token"}),
        (
            "{routing_key: S, service_key_file: f}",
            {"routing_key": "<secret>", "service_key_file": "f"},
        ),
        (
            "{auth_password: S, auth_username: me}",
            {"auth_password": "<secret>", "auth_username": "me"},
        ),
        (
            "{http_config: {authorization: {type: Bearer, credentials: S}}}",
            {"http_config": {"authorization": {"type": "Bearer", "credentials": "<secret>"}}},
        ),
        (
            "{http_config: {http_headers: {X-Id: {values: [S], secrets: [S], files: [f]}}}}",
            {
                "http_config": {
                    "http_headers": {
                        "X-Id": {"values": ["<secret>"], "secrets": ["<secret>"], "files": ["f"]}
                    }
                }
            },
        ),
        (
            "{http_config: {oauth2: {client_id: me, endpoint_params: {aud: S}, scopes: [x]}}}",
            {
                "http_config": {
                    "oauth2": {
                        "client_id": "me",
                        "endpoint_params": {"aud": "<secret>"},
                        "scopes": ["x"],
                    }
                }
            },
        ),
        (
            "{headers: {Authorization: S, To: me}}",
            {"headers": {"Authorization": "<secret>", "To": "me"}},
        ),
        (
            "{payload: {deep: [{er: S}], more: true}}",
            {"payload": {"deep": [{"er": "<secret>"}], "more": True}},
        ),
        (
            "{links: [{href: 'https://h/S', text: t}]}",
            {"links": [{"href": "https://h/<secret>", "text": "t"}]},
        ),
        (
            "{text: 'see <https://h/S|this>, http://i/'}",
            {"text": "see <https://h/<secret>|this>, http://i/"},
        ),
        ("{send_resolved: true, max_alerts: 7}", {"send_resolved": True, "max_alerts": 7}),
        ("{chat_id: -100, message_thread_id: 0x1f}", {"chat_id": -100, "message_thread_id": 31}),
    ],
)
def test_entries(text: str, wanted: object) -> None:
    """What could be a secret is hidden; of a URL the host stays; everything else is as it was."""
    assert entry(text) == wanted


TEXT = """\
# a comment with S3CR3T
global: {resolve_timeout: 5m, smtp_auth_password: S3CR3T, pigeon_loft: roof}
route:
  receiver: a
  routes:
    - match: {token: visible, code: 007, on: yes}
      matchers: ['key="visible"']
      labels: {url: https://h/visible}
inhibit_rules:
  - {source_match: {password: visible}, target_matchers: [a=b], equal: [x]}
time_intervals:
  - name: t
    time_intervals: [{times: [{start_time: 09:00, end_time: '17:00'}], years: [2024]}]
receivers:
  - &base
    name: a
    pigeon_configs: [{ring: S3CR3T}]
    webhook_configs: &hooks [{url: https://host/S3CR3T}]
  - {name: b, webhook_configs: *hooks}
  - <<: *base
    name: c
  - name: d
"""


def test_a_whole_file() -> None:
    """Only global and receivers are changed: secrets hidden, what is gatewatch's own left out."""
    text = shown(TEXT)
    before, after = yaml.safe_load(TEXT), yaml.safe_load(text)

    hooks = [{"url": "https://host/<secret>"}]
    assert "S3CR3T" not in text
    assert after["global"] == {"resolve_timeout": "5m", "smtp_auth_password": "<secret>"}
    assert after["receivers"] == [
        *({"name": name, "webhook_configs": hooks} for name in "abc"),
        {"name": "d"},
    ]
    for key in ("route", "inhibit_rules", "time_intervals"):
        assert after[key] == before[key]
    assert "code: 007" in text


def test_it_can_be_read_again() -> None:
    """What is shown is a configuration with the same routes."""
    config = routing(
        "route: {receiver: a, routes: [{matchers: ['x=\"1\"'], receiver: b}]}\n"
        "receivers: [{name: a, webhook_configs: [{url: 'https://h/S'}]}, {name: b}]"
    )
    again = routing(config.original)

    assert again.route == config.route
    assert again.original == config.original
    assert "https://h/S" not in config.original
