"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

from alerts.storage.columns import AnyText

METADATA: Final = MetaData()
_SEQUENCE: Final = BigInteger().with_variant(Integer, "sqlite")
"""Numbers the rows of a table; SQLite does so for this one type only."""

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("channel", AnyText, nullable=False),
    Column("group_key", AnyText, nullable=False),
    Column("notification", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("reason", String(32), nullable=False, default=""),
    Column("last_error", AnyText, nullable=False, default=""),
    Index("outbox_by_state", "state", "sequence"),
    sqlite_autoincrement=True,
)
"""Notifications that are not delivered yet (state waiting) or were given up (state failed)."""

NOTIFICATION_LOG: Final = Table(
    "notification_log",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("group_key", AnyText, nullable=False),
    Column("channel", AnyText, nullable=False),
    Column("notification_id", String(36), nullable=False),
    Column("notified_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("group_labels", Text, nullable=False),
    Column("firing", Text, nullable=False),
    Column("resolved", Text, nullable=False),
    Index("notification_log_by_expiry", "expires_at_ms"),
    Index("notification_log_by_notification", "notification_id"),
)
"""What each channel was last told about each aggregation group; firing and resolved are JSON.

The id is a digest of group and channel, as a group's key may be too long for a key.
"""

RULE_GROUP: Final = Table(
    "rule_group",
    METADATA,
    Column("group_key", AnyText, primary_key=True),
    Column("evaluated_at_ms", BigInteger, nullable=False),
)
"""Until when the alerts of each rule group were watched; to the minute while nothing changes."""

ALERT_STATE: Final = Table(
    "alert_state",
    METADATA,
    Column("group_key", AnyText, primary_key=True),
    Column("rule", AnyText, primary_key=True),
    Column("fingerprint", String(32), primary_key=True),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("value", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("active_at_ms", BigInteger, nullable=False),
    Column("fired_at_ms", BigInteger),
    Column("resolved_at_ms", BigInteger),
    Column("keep_firing_since_ms", BigInteger),
    Column("last_sent_at_ms", BigInteger, nullable=False),
)
"""The alerts of the rules: pending, firing, and ended ones that are still told; labels are JSON."""

SILENCE: Final = Table(
    "silence",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("matchers", Text, nullable=False),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("created_by", AnyText, nullable=False),
    Column("comment", AnyText, nullable=False),
    Column("annotations", Text, nullable=False),
)
"""Silences, expired ones included until they are forgotten; matchers and annotations are JSON."""

POSTED_ALERT: Final = Table(
    "posted_alert",
    METADATA,
    Column("fingerprint", String(16), primary_key=True),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("ends_at_ms", BigInteger),
    Column("generator_url", AnyText, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    Index("posted_alert_by_end", "ends_at_ms"),
)
"""Alerts that came over the API; labels and annotations are JSON."""

ACKNOWLEDGEMENT: Final = Table(
    "acknowledgement",
    METADATA,
    Column("fingerprint", String(16), primary_key=True),
    Column("starts_at_ms", BigInteger, nullable=False),
    Column("acknowledged_by", AnyText, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("note", AnyText, nullable=False),
)
"""Who looks after which alert."""

HISTORY: Final = Table(
    "history",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("fingerprint", String(16), nullable=False),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("history_by_time", "at_ms", "sequence"),
    Index("history_by_alert", "fingerprint", "at_ms", "sequence"),
    sqlite_autoincrement=True,
)
"""What happened to alerts, notifications and silences; the last three columns are JSON."""
