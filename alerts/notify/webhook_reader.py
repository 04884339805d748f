"""The webhook channel's part of the configuration: ``webhook_configs``."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from alerts.notify.channel_config import ChannelConfig
from alerts.notify.secret import Secret
from alerts.notify.webhook import DEFAULT_TIMEOUT_S, WebhookConfig
from alerts.sections import Keys, Section

WEBHOOK: Final = "webhook"

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
class WebhookEntry(ChannelConfig):
    """An entry of ``webhook_configs``.

    Attributes:
        webhook: What the channel needs.
    """

    webhook: WebhookConfig


class WebhookReader:
    """Reads webhooks and knows no other channel; a ``ChannelReader``."""

    @property
    def kinds(self) -> Collection[str]:
        """The webhook."""
        return (WEBHOOK,)

    @property
    def global_keys(self) -> Collection[str]:
        """None."""
        return ()

    def read(self, kind: str, section: Section, defaults: Section | None) -> WebhookEntry:
        """Return an entry; what is wrong with it is reported to the section's problems."""
        section.check_keys(_WEBHOOK_KEYS, "a webhook")
        webhook = _webhook(section, defaults)
        return WebhookEntry(kind, webhook.send_resolved, webhook)


def _webhook(section: Section, defaults: Section | None) -> WebhookConfig:
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
        headers=_headers(section if section.has("http_config") else defaults or section),
    )


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _headers(options: Section) -> tuple[tuple[str, Secret], ...]:
    section = options.section("http_config", _HTTP_KEYS)
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
