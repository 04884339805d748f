"""Names of Alertmanager's configuration format: its channels, and the keys of ``global``.

Source: Alertmanager 0.34, config/config.go (GlobalConfig, Receiver).
"""

from __future__ import annotations

from typing import Final

ALERTMANAGER_KINDS: Final = frozenset(
    (
        *("discord", "email", "incidentio", "jira", "mattermost", "msteams", "msteamsv2"),
        *("opsgenie", "pagerduty", "pushover", "rocketchat", "slack", "sns", "telegram"),
        *("victorops", "webex", "webhook", "wechat"),
    )
)
"""Channels that Alertmanager has; the entries of ``slack`` stand under ``slack_configs``."""

ALERTMANAGER_GLOBAL_KEYS: Final = frozenset(
    (
        *("resolve_timeout", "http_config", "jira_api_url"),
        *("mattermost_webhook_url", "mattermost_webhook_url_file"),
        *("opsgenie_api_key", "opsgenie_api_key_file", "opsgenie_api_url", "pagerduty_url"),
        *("rocketchat_api_url", "rocketchat_token", "rocketchat_token_file"),
        *("rocketchat_token_id", "rocketchat_token_id_file"),
        *("slack_api_url", "slack_api_url_file", "slack_app_token", "slack_app_token_file"),
        "slack_app_url",
        *("smtp_auth_identity", "smtp_auth_password", "smtp_auth_password_file"),
        *("smtp_auth_secret", "smtp_auth_secret_file", "smtp_auth_username"),
        *("smtp_force_implicit_tls", "smtp_from", "smtp_hello", "smtp_require_tls"),
        *("smtp_smarthost", "smtp_tls_config"),
        *("telegram_api_url", "telegram_bot_token", "telegram_bot_token_file"),
        *("victorops_api_key", "victorops_api_key_file", "victorops_api_url"),
        *("webex_api_url", "wechat_api_corp_id", "wechat_api_secret", "wechat_api_secret_file"),
        "wechat_api_url",
    )
)
"""Keys of ``global`` that Alertmanager knows."""
