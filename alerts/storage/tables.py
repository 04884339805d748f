"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

METADATA: Final = MetaData()

OUTBOX: Final = Table(
    "outbox",
    METADATA,
    Column("sequence", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("channel", Text, nullable=False),
    Column("group_key", Text, nullable=False),
    Column("notification", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("reason", String(32), nullable=False, default=""),
    Column("last_error", Text, nullable=False, default=""),
    Index("outbox_by_state", "state", "sequence"),
    sqlite_autoincrement=True,
)
"""Notifications that are not delivered yet (state waiting) or were given up (state failed)."""

NOTIFICATION_LOG: Final = Table(
    "notification_log",
    METADATA,
    Column("group_key", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("notification_id", String(36), nullable=False),
    Column("notified_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("group_labels", Text, nullable=False),
    Column("firing", Text, nullable=False),
    Column("resolved", Text, nullable=False),
    Index("notification_log_by_expiry", "expires_at_ms"),
)
"""What each channel was last told about each aggregation group; firing and resolved are JSON."""

RULE_GROUP: Final = Table(
    "rule_group",
    METADATA,
    Column("group_key", Text, primary_key=True),
    Column("evaluated_at_ms", BigInteger, nullable=False),
)
"""Until when the alerts of each rule group were watched; to the minute while nothing changes."""

ALERT_STATE: Final = Table(
    "alert_state",
    METADATA,
    Column("group_key", Text, primary_key=True),
    Column("rule", Text, primary_key=True),
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
