"""The catalogue: files of channels and entries of receivers, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.clock import ManualClock
from alerts.errors import DocumentError
from alerts.notify.catalogue import ChannelCatalogue
from alerts.notify.settings import InFile, Written
from tests.support.alerts import FakeTransport, make_notification
from tests.support.channels import catalogue, channel_of, good_entry, read_entry

MINE = """\
channel: mine
settings:
  url: {type: secret_url, required: true}
  level: {type: text, default: high, choices: [high, low]}
requests:
  - url: "{{ $settings.url }}"
    json: {text: "{{ .Status }}", level: "{{ $settings.level }}"}
"""


def problems_of(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a channel file, each as ``line:column: message``."""
    file = folder / "c.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        ChannelCatalogue.shipped([folder])
    return [str(each).removeprefix(f"{file}:") for each in caught.value.problems]


async def test_a_channel_of_ones_own(tmp_path: Path) -> None:
    """A file in a folder is a channel like any other."""
    (tmp_path / "mine.yaml").write_text(MINE, encoding="utf-8")
    channels = ChannelCatalogue.shipped([tmp_path])
    clock = ManualClock()
    transport = FakeTransport(clock)
    config = good_entry("mine", {"url": "http://h/x"}, channels=channels)

    await channel_of(config, transport, clock).deliver(make_notification())

    assert transport.posts[0].body == b'{"text":"firing","level":"high"}'


def test_stands_in(tmp_path: Path) -> None:
    """A channel of a folder takes the place of one that is shipped."""
    (tmp_path / "slack.yaml").write_text(MINE.replace("mine", "slack"), encoding="utf-8")

    assert {
        each.name for each in ChannelCatalogue.shipped([tmp_path]).definitions["slack"].settings
    } == {
        "url",
        "level",
    }


def test_equal() -> None:
    """Read twice, channels and entries are the same, so that a reload sees no change."""
    entry = {"url": "http://h/{{ .Status }}"}

    assert ChannelCatalogue.shipped().definitions == catalogue().definitions
    assert good_entry("webhook", entry) == good_entry("webhook", entry)
    assert good_entry("webhook", entry) != good_entry("webhook", {"url": "http://h/other"})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("channel: mine", "channel: Mine"),
            "1:10: 'Mine' is no name of a channel: a-z, 0-9 and _",
        ),
        (
            ("settings:", "setting:"),
            "2:1: a channel file has no key 'setting'; did you mean 'settings'?",
        ),
        (("secret_url", "secret-url"), "3:15: there is no type 'secret-url' of settings"),
        (
            ("choices: [high, low]", "choices: [low]"),
            "4:32: default must be one of 'low', not 'high'",
        ),
        (
            ("$settings.url", "$settings.uri"),
            "6:10: there is no setting 'uri'; known are level, url",
        ),
        (("{{ .Status }}", "{{ .Status }"), "7:"),
        (("{{ .Status }}", "{{ nope }}"), "7:22: there is no function 'nope'"),
        (("{{ .Status }}", "{{ $nope }}"), "7:22: there is no $nope"),
        (("{text:", "{$text:"), "7:19: there is no $text; known are"),
        (("json:", "jason:"), "7:5: a request has no key 'jason'; did you mean 'json'?"),
        (
            ("requests:", "answer: {accepted: [{json: {code: 0}}]}\nrequests:"),
            "5:35: 'code' is no JSON pointer",
        ),
        (
            ("requests:", "answer: {accepted: [{status: [20x]}]}\nrequests:"),
            "5:30: '20x' is no HTTP status",
        ),
        (
            ("requests:", "pace: [{requests: 0, per: 1s}]\nrequests:"),
            "5:19: requests must be 1 or more",
        ),
        (
            ("requests:", "body_limit: {bytes: 5, shorten: [x]}\nrequests:"),
            "5:33: there is no setting 'x'",
        ),
        (("requests:", "one_of: [[url, token]]\nrequests:"), "5:10: there is no setting 'token'"),
        (("requests:", "carrier: pigeon\nrequests:"), "5:10: carrier must be 'http'"),
        (
            ("level: {type: text,", "level: {type: text, limit: {lines: 3},"),
            "4:31: limit has no key 'lines'",
        ),
        (
            ("level: {type: text,", "timeout: {type: text,"),
            "4:3: every channel has timeout already",
        ),
    ],
)
def test_wrong_files(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    """What is wrong with a channel file is said with its place when it is read."""
    found = problems_of(tmp_path, MINE.replace(*change, 1))

    assert any(each.startswith(problem) for each in found), found


def test_missing_parts(tmp_path: Path) -> None:
    """A file without a name or requests, a second of the same name, a folder that is not there."""
    assert problems_of(tmp_path, "{}") == [
        "1:1: channel is missing",
        "1:1: requests are missing: a channel makes at least one",
    ]
    (tmp_path / "a.yaml").write_text(MINE, encoding="utf-8")
    assert "is defined in" in problems_of(tmp_path, MINE)[0]
    with pytest.raises(DocumentError, match="there is no such folder"):
        ChannelCatalogue.shipped([tmp_path / "gone"])


@pytest.mark.parametrize("kind", ["jira", "sns", "wechat", "incidentio"])
def test_not_shipped(kind: str) -> None:
    """A channel of Alertmanager's that is not here is refused by name, with what to use."""
    _, problems = read_entry(kind, {"send_resolved": True})

    assert kind in catalogue().kinds
    assert problems == [f"1:1: there is no channel {kind}; {problems[0].partition('; ')[2]}"]
    assert "use " in problems[0]


@pytest.mark.parametrize(
    ("kind", "entry", "problem"),
    [
        ("webhook", "{url: x}", "1:7: url is no URL that can be requested"),
        ("webhook", "{url: http://h, url_file: f}", "1:27: url and url_file exclude each other"),
        ("webhook", "{}", "1:1: url is missing"),
        ("webhook", "{url: ''}", "1:7: url must not be empty"),
        ("webhook", "{url: 'http://h/{{ nope }}'}", "1:20: url: there is no function 'nope'"),
        ("webhook", "{url: http://h, max_alerts: -1}", "1:29: max_alerts must be a whole number"),
        ("webhook", "{url: http://h, urls: x}", "1:17: webhook_configs has no key 'urls'"),
        ("slack", "{channel: '#a'}", "1:1: one of these must be set: api_url, app_token, global"),
        ("slack", "{api_url: http://h, app_token: x}", "1:32: api_url and app_token exclude"),
        (
            "slack",
            "{api_url: http://h, update_message: true}",
            "1:21: update_message is not supported",
        ),
        ("slack", "{api_url: http://h, fields: [{title: a}]}", "1:30: value is missing"),
        (
            "slack",
            "{api_url: http://h, fields: [{titel: a}]}",
            "1:31: an item of fields has no key",
        ),
        ("telegram", "{bot_token: a, chat_id: x y}", "1:25: chat_id must match"),
        (
            "telegram",
            "{bot_token: a, chat_id: 1, parse_mode: html}",
            "1:40: parse_mode must be one of",
        ),
        (
            "telegram",
            "{chat_id: 1}",
            "1:1: bot_token is missing, and so is global.telegram_bot_token",
        ),
        ("webex", "{room_id: a}", "1:1: http_config.authorization is missing"),
        (
            "email",
            "{to: a@b, from: c@d}",
            "1:1: smarthost is missing, and so is global.smtp_smarthost",
        ),
        (
            "email",
            "{to: a@b, from: c@d, smarthost: mail}",
            "1:33: smarthost must be a host and a port",
        ),
        (
            "mattermost",
            "{webhook_url: http://h, priority: {prio: x}}",
            "1:36: priority has no key 'prio'",
        ),
        (
            "pagerduty",
            "{routing_key: a, service_key: b}",
            "1:31: routing_key and service_key exclude",
        ),
    ],
)
def test_wrong_entries(kind: str, entry: str, problem: str) -> None:
    """What is wrong with an entry is said with its place."""
    _, problems = read_entry(kind, entry)

    assert any(each.startswith(problem) for each in problems), problems


def test_defaults_of_global() -> None:
    """What an entry leaves out comes from global, unless it sets an alternative itself."""
    from_global = good_entry("slack", {}, {"slack_api_url": "http://global/x"})
    own = good_entry("slack", {"app_token": "t"}, {"slack_api_url": "http://global/x"})
    in_file = good_entry("opsgenie", {}, {"opsgenie_api_key_file": "key.txt"}, file="/etc/am.yml")

    url = from_global.settings["api_url"]
    assert isinstance(url, Written)
    assert url.text.source == "http://global/x"
    assert own.settings["api_url"] is None
    assert in_file.settings["api_key"] == InFile(Path("/etc/key.txt"))


def test_secrets_do_not_show() -> None:
    """Neither an entry nor its settings show what is secret."""
    config = good_entry(
        "pagerduty",
        {
            "routing_key": "T0K3N",
            "http_config": {"basic_auth": {"username": "u", "password": "P4SS"}},
        },
    )

    assert "T0K3N" not in repr(config) + repr(config.settings)
    assert "P4SS" not in repr(config) + repr(config.http)


ALERTMANAGER_KEYS = {
    "discord": "webhook_url webhook_url_file content title message username avatar_url",
    "email": "to from hello smarthost auth_username auth_password auth_password_file auth_secret "
    "auth_secret_file auth_identity headers html text require_tls tls_config force_implicit_tls "
    "threading",
    "mattermost": "webhook_url webhook_url_file channel username text fallback color pretext "
    "author_name author_link author_icon title title_link fields thumb_url footer footer_icon "
    "image_url icon_url icon_emoji attachments type props priority",
    "msteams": "webhook_url webhook_url_file title summary text",
    "msteamsv2": "webhook_url webhook_url_file title text",
    "opsgenie": "api_key api_key_file api_url message description source details entity responders "
    "actions tags note priority update_alerts",
    "pagerduty": "service_key service_key_file routing_key routing_key_file url client client_url "
    "description details images links source severity class component group timeout",
    "pushover": "user_key user_key_file token token_file title message url url_title device sound "
    "priority retry expire ttl html monospace",
    "rocketchat": "api_url token_id token_id_file token token_file channel color title title_link "
    "text fields short_fields emoji icon_url image_url thumb_url link_names actions",
    "slack": "api_url api_url_file app_token app_token_file app_url channel username color title "
    "title_link pretext text message_text fields short_fields footer fallback callback_id "
    "icon_emoji icon_url image_url thumb_url link_names mrkdwn_in actions update_message timeout",
    "telegram": "api_url bot_token bot_token_file chat_id chat_id_file message_thread_id message "
    "disable_notifications parse_mode",
    "victorops": "api_key api_key_file api_url routing_key message_type state_message "
    "entity_display_name monitoring_tool custom_fields",
    "webex": "api_url message room_id",
    "webhook": "url url_file max_alerts timeout payload",
}
"""The keys of Alertmanager 0.34, besides ``send_resolved`` and ``http_config``."""


@pytest.mark.parametrize("kind", ALERTMANAGER_KEYS)
def test_keys_of_alertmanager(kind: str) -> None:
    """An entry may have every key it has there, so that files work unchanged."""
    keys = [*ALERTMANAGER_KEYS[kind].split(), "send_resolved"]
    _, problems = read_entry(kind, dict.fromkeys(keys))

    assert not [each for each in problems if "has no key" in each]


def test_send_resolved_of_alertmanager() -> None:
    """Whether ends are told unless an entry says otherwise is as there."""
    silent = {kind for kind in ALERTMANAGER_KEYS if not catalogue().definitions[kind].send_resolved}

    assert silent == {"email", "rocketchat", "slack"}
