"""The tables, as the newest migration leaves them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, String, Table, Text

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

CHECK_STATE: Final = Table(
    "check_state",
    METADATA,
    Column("check_name", String(128), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("successes", Integer, nullable=False),
    Column("last_at_ms", BigInteger, nullable=False),
)
"""Where the results of each health check led, for the next start."""

CHECK_RESULT: Final = Table(
    "check_result",
    METADATA,
    Column("check_name", String(128), primary_key=True),
    Column("at_ms", BigInteger, primary_key=True),
    Column("success", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("error_type", AnyText, nullable=False),
    Column("reason", AnyText, nullable=False),
    Index("check_result_by_time", "at_ms"),
)
"""What each run of a health check found, for about a day; success is 0 or 1."""

CHECK_CHANGE: Final = Table(
    "check_change",
    METADATA,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("check_name", String(128), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("reason", AnyText, nullable=False),
    Index("check_change_by_check", "check_name", "at_ms", "sequence"),
    Index("check_change_by_time", "at_ms"),
    sqlite_autoincrement=True,
)
"""When the state of a health check was another than before."""

CHECK_PERIOD: Final = Table(
    "check_period",
    METADATA,
    Column("check_name", String(128), primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("end_ms", BigInteger, nullable=False),
    Column("up_ms", BigInteger, nullable=False),
    Column("degraded_ms", BigInteger, nullable=False),
    Column("down_ms", BigInteger, nullable=False),
    Column("maintenance_ms", BigInteger, nullable=False),
    Column("held_ms", BigInteger, nullable=False),
    Column("runs", BigInteger, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("duration_sum_s", Double, nullable=False),
    Column("duration_min_s", Double, nullable=False),
    Column("duration_max_s", Double, nullable=False),
    Column("durations", Text, nullable=False, server_default=""),
    Index("check_period_by_start", "start_ms"),
)
"""How long each health check was in which state; no two rows of a check overlap.

A row lies within an hour and one state at first; older ones are merged to hours and days. The
last column is the text of ``duration_counts``.
"""
