"""Silences, alerts that came over the API, acknowledgements, history; a short key for the log."""

from __future__ import annotations

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_VALUES = (
    "group_key",
    "channel",
    "notification_id",
    "notified_at_ms",
    "expires_at_ms",
    "group_labels",
    "firing",
    "resolved",
)
_BATCH = 500


def upgrade() -> None:
    """Bring the database to this revision."""
    _replace_log(sa.Column("id", sa.String(32), primary_key=True), has_id=True)
    op.create_index("notification_log_by_notification", "notification_log", ["notification_id"])
    op.create_table(
        "silence",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("matchers", sa.Text, nullable=False),
        sa.Column("starts_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
    )
    op.create_table(
        "posted_alert",
        sa.Column("fingerprint", sa.String(16), primary_key=True),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("starts_at_ms", sa.BigInteger, nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger),
        sa.Column("generator_url", sa.Text, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_index("posted_alert_by_end", "posted_alert", ["ends_at_ms"])
    op.create_table(
        "acknowledgement",
        sa.Column("fingerprint", sa.String(16), primary_key=True),
        sa.Column("starts_at_ms", sa.BigInteger, nullable=False),
        sa.Column("acknowledged_by", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_table(
        "history",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("fingerprint", sa.String(16), nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("history_by_time", "history", ["at_ms", "sequence"])
    op.create_index("history_by_alert", "history", ["fingerprint", "at_ms", "sequence"])


def downgrade() -> None:
    """Bring the database back to the revision before."""
    for table in ("history", "acknowledgement", "posted_alert", "silence"):
        op.drop_table(table)
    op.drop_index("notification_log_by_notification", "notification_log")
    _replace_log(sa.PrimaryKeyConstraint("group_key", "channel"), has_id=False)


def _replace_log(key: sa.Column[str] | sa.PrimaryKeyConstraint, *, has_id: bool) -> None:
    """Give the notification log another key: a new table takes the rows and the name."""
    connection = op.get_bind()
    old = sa.table("notification_log", *(sa.column(name) for name in _VALUES))
    op.drop_index("notification_log_by_expiry", "notification_log")
    new = op.create_table(
        "notification_log_new",
        key,
        sa.Column("group_key", sa.Text, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("notification_id", sa.String(36), nullable=False),
        sa.Column("notified_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("group_labels", sa.Text, nullable=False),
        sa.Column("firing", sa.Text, nullable=False),
        sa.Column("resolved", sa.Text, nullable=False),
    )
    rows = connection.execute(sa.select(old)).mappings().all()
    for start in range(0, len(rows), _BATCH):
        batch = [dict(row) for row in rows[start : start + _BATCH]]
        if has_id:
            batch = [{**row, "id": _digest(row["group_key"], row["channel"])} for row in batch]
        connection.execute(new.insert(), batch)
    op.drop_table("notification_log")
    op.rename_table("notification_log_new", "notification_log")
    op.create_index("notification_log_by_expiry", "notification_log", ["expires_at_ms"])


def _digest(group_key: str, channel: str) -> str:
    joined = json.dumps([group_key, channel], separators=(",", ":"))
    return hashlib.blake2b(joined.encode(), digest_size=16).hexdigest()
