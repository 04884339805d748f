"""Routes and receivers, read from a file in Alertmanager's format.

Covered: ``global.resolve_timeout``, the root route, and receivers with ``webhook_configs``. What
else Alertmanager knows is refused by name, with file, line and column.

Source: Alertmanager documentation, "Configuration".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from alerts.documents import Document, read_document
from alerts.errors import DocumentError, Problem
from alerts.notify.secret import Secret
from alerts.notify.webhook import DEFAULT_TIMEOUT_S, WebhookConfig
from alerts.sections import Keys, Section, open_section

ALL_LABELS: Final = "..."
"""In ``group_by``: every alert is a group of its own."""

_CHANNELS: Final = (
    "discord email incidentio jira mattermost msteams msteamsv2 opsgenie pagerduty pushover "
    "rocketchat slack sns telegram victorops webex wechat"
)
_TOP_KEYS: Final = Keys(
    ("global", "route", "receivers"),
    (
        "inhibit_rules",
        "templates",
        "time_intervals",
        "mute_time_intervals",
        "tracing",
        "event_recorder",
    ),
)
_GLOBAL_KEYS: Final = Keys(
    ("resolve_timeout",),
    (
        "http_config",
        "smtp_from",
        "smtp_smarthost",
        "smtp_hello",
        "smtp_auth_username",
        "smtp_auth_password",
        "smtp_auth_password_file",
        "smtp_auth_identity",
        "smtp_auth_secret",
        "smtp_auth_secret_file",
        "smtp_require_tls",
        "smtp_tls_config",
        "smtp_force_implicit_tls",
        "slack_api_url",
        "slack_api_url_file",
        "slack_app_token",
        "slack_app_token_file",
        "slack_app_url",
        "victorops_api_key",
        "victorops_api_key_file",
        "victorops_api_url",
        "pagerduty_url",
        "opsgenie_api_key",
        "opsgenie_api_key_file",
        "opsgenie_api_url",
        "rocketchat_api_url",
        "rocketchat_token",
        "rocketchat_token_file",
        "rocketchat_token_id",
        "rocketchat_token_id_file",
        "wechat_api_url",
        "wechat_api_secret",
        "wechat_api_secret_file",
        "wechat_api_corp_id",
        "telegram_api_url",
        "telegram_bot_token",
        "telegram_bot_token_file",
        "webex_api_url",
        "jira_api_url",
        "mattermost_webhook_url",
        "mattermost_webhook_url_file",
    ),
)
_ROUTE_KEYS: Final = Keys(
    ("receiver", "group_by", "group_wait", "group_interval", "repeat_interval"),
    (
        "routes",
        "labels",
        "continue",
        "match",
        "match_re",
        "matchers",
        "mute_time_intervals",
        "active_time_intervals",
    ),
)
_RECEIVER_KEYS: Final = Keys(
    ("name", "webhook_configs"),
    ("labels", *(f"{channel}_configs" for channel in _CHANNELS.split())),
)
_WEBHOOK_KEYS: Final = Keys(
    ("url", "send_resolved", "max_alerts", "timeout", "http_config"), ("url_file", "payload")
)
_HTTP_KEYS: Final = Keys(
    ("authorization", "basic_auth"),
    (
        "oauth2",
        "proxy_url",
        "no_proxy",
        "proxy_from_environment",
        "proxy_connect_header",
        "tls_config",
        "follow_redirects",
        "enable_http2",
        "http_headers",
    ),
)
_AUTHORIZATION_KEYS: Final = Keys(("type", "credentials"), ("credentials_file",))
_BASIC_KEYS: Final = Keys(
    ("username", "password"), ("username_file", "password_file", "username_ref", "password_ref")
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where alerts go and how they are gathered. Durations in seconds.

    Attributes:
        receiver: Name of the receiver.
        group_by: Labels whose values make a group; ``("...",)``: all labels.
        group_wait_s: How long a new group waits for more alerts before it is told.
        group_interval_s: How often a group is looked at after that.
        repeat_interval_s: How long until something unchanged is told again.
        path: The route's place in the tree as Alertmanager writes it in group keys.
    """

    receiver: str
    group_by: tuple[str, ...] = ()
    group_wait_s: float = 30.0
    group_interval_s: float = 300.0
    repeat_interval_s: float = 4 * 3600.0
    path: str = "{}"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told.

    Attributes:
        name: Unique.
        webhooks: Its webhooks; none at all is a receiver that drops what it gets.
        logs: Whether alerts are written to the log.
    """

    name: str
    webhooks: tuple[WebhookConfig, ...] = ()
    logs: bool = False


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """All of the file.

    Attributes:
        route: The root route.
        receivers: By name.
        resolve_timeout_s: When an alert ends whose end nobody said, in seconds.
    """

    route: Route
    receivers: dict[str, Receiver] = field(default_factory=dict)
    resolve_timeout_s: float = 300.0


def log_routing() -> RoutingConfig:
    """Return what is used without a file: every alert is written to the log."""
    return RoutingConfig(
        Route("log", group_by=(ALL_LABELS,), group_wait_s=0.0),
        {"log": Receiver("log", logs=True)},
    )


def load_routing(path: Path) -> RoutingConfig:
    """Read a file.

    Raises:
        DocumentError: Something is wrong or not supported; lists all problems.
    """
    return read_routing(read_document(path))


def read_routing(document: Document) -> RoutingConfig:
    """Read a parsed file; errors as ``load_routing``."""
    problems: list[Problem] = []
    top = open_section(document, (), document.data, problems, "an Alertmanager configuration")
    if top is None:
        raise DocumentError(problems)
    top.check_keys(_TOP_KEYS, "an Alertmanager configuration")
    receivers = _receivers(top)
    route = _route(top, receivers)
    options = top.section("global", _GLOBAL_KEYS)
    timeout_s = 300.0 if options is None else options.positive_duration("resolve_timeout", 300.0)
    if problems:
        raise DocumentError(problems)
    return RoutingConfig(route, receivers, timeout_s)


def _route(top: Section, receivers: dict[str, Receiver]) -> Route:
    section = top.section("route", _ROUTE_KEYS)
    if section is None:
        if not top.has("route"):
            top.report(None, "route is missing: say which receiver gets the alerts")
        return Route("")
    receiver = section.required_text("receiver")
    if receiver and receiver not in receivers:
        known = ", ".join(receivers) or "none"
        section.report("receiver", f"there is no receiver {receiver!r}; defined are {known}")
    defaults = Route(receiver)
    return Route(
        receiver=receiver,
        group_by=_group_by(section),
        group_wait_s=section.duration("group_wait", defaults.group_wait_s),
        group_interval_s=section.positive_duration("group_interval", defaults.group_interval_s),
        repeat_interval_s=section.positive_duration("repeat_interval", defaults.repeat_interval_s),
    )


def _group_by(section: Section) -> tuple[str, ...]:
    names = tuple(section.texts("group_by"))
    if ALL_LABELS in names and len(names) > 1:
        section.report("group_by", "'...' groups by all labels and must stand alone")
    for name in sorted({name for name in names if names.count(name) > 1}):
        section.report("group_by", f"the label {name!r} stands here twice")
    return names


def _receivers(top: Section) -> dict[str, Receiver]:
    receivers: dict[str, Receiver] = {}
    for section in top.sections("receivers", _RECEIVER_KEYS, "a receiver"):
        name = section.required_text("name")
        if name in receivers:
            section.report("name", f"a receiver named {name!r} is defined already")
        webhooks = section.sections("webhook_configs", _WEBHOOK_KEYS, "a webhook")
        receivers[name] = Receiver(name, tuple(_webhook(webhook) for webhook in webhooks))
    return receivers


def _webhook(section: Section) -> WebhookConfig:
    url = section.required_text("url")
    if url and not _is_http_url(url):
        # What was given may hold a token, so it is not repeated.
        section.report("url", "url is no URL that can be posted to; it begins with http(s)://host")
    elif "{{" in url:
        section.report("url", "a template in url is not supported yet")
    return WebhookConfig(
        url=Secret(url),
        send_resolved=section.flag("send_resolved", default=True),
        max_alerts=section.count("max_alerts"),
        # Alertmanager's 0s, no limit of its own, would let a hanging receiver wait forever.
        timeout_s=section.duration("timeout", DEFAULT_TIMEOUT_S) or DEFAULT_TIMEOUT_S,
        headers=_headers(section),
    )


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _headers(webhook: Section) -> tuple[tuple[str, Secret], ...]:
    section = webhook.section("http_config", _HTTP_KEYS)
    if section is None:
        return ()
    if section.has("authorization") and section.has("basic_auth"):
        section.report(None, "http_config has either authorization or basic_auth, not both")
    authorization = section.section("authorization", _AUTHORIZATION_KEYS)
    if authorization is not None:
        kind = authorization.text("type", "Bearer").strip()
        credentials = authorization.required_text("credentials")
        if kind.lower() == "basic":
            authorization.report("type", "type must not be Basic; write basic_auth instead")
        return (("Authorization", Secret(f"{kind} {credentials}")),)
    basic = section.section("basic_auth", _BASIC_KEYS)
    if basic is not None:
        pair = f"{basic.text('username')}:{basic.text('password')}"
        encoded = base64.b64encode(pair.encode()).decode()
        return (("Authorization", Secret(f"Basic {encoded}")),)
    return ()
