"""The state of alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_table(
        "rule_group",
        sa.Column("group_key", sa.Text, primary_key=True),
        sa.Column("evaluated_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "alert_state",
        sa.Column("group_key", sa.Text, primary_key=True),
        sa.Column("rule", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.String(32), primary_key=True),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("annotations", sa.Text, nullable=False),
        sa.Column("value", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("active_at_ms", sa.BigInteger, nullable=False),
        sa.Column("fired_at_ms", sa.BigInteger),
        sa.Column("resolved_at_ms", sa.BigInteger),
        sa.Column("keep_firing_since_ms", sa.BigInteger),
        sa.Column("last_sent_at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Bring the database back to the revision before."""
    op.drop_table("alert_state")
    op.drop_table("rule_group")
