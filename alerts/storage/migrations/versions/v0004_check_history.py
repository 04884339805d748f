"""The state, results, changes and periods of health checks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database to this revision."""
    op.create_table(
        "check_state",
        sa.Column("check_name", sa.String(128), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("successes", sa.Integer, nullable=False),
        sa.Column("last_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "check_result",
        sa.Column("check_name", sa.String(128), primary_key=True),
        sa.Column("at_ms", sa.BigInteger, primary_key=True),
        sa.Column("success", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("error_type", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("check_result_by_time", "check_result", ["at_ms"])
    op.create_table(
        "check_change",
        sa.Column(
            "sequence",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column("check_name", sa.String(128), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("check_change_by_check", "check_change", ["check_name", "at_ms", "sequence"])
    op.create_index("check_change_by_time", "check_change", ["at_ms"])
    op.create_table(
        "check_period",
        sa.Column("check_name", sa.String(128), primary_key=True),
        sa.Column("start_ms", sa.BigInteger, primary_key=True),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        *(
            sa.Column(f"{state}_ms", sa.BigInteger, nullable=False)
            for state in ("up", "degraded", "down", "maintenance", "held")
        ),
        sa.Column("runs", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        *(
            sa.Column(f"duration_{kind}_s", sa.Double, nullable=False)
            for kind in ("sum", "min", "max")
        ),
    )
    op.create_index("check_period_by_start", "check_period", ["start_ms"])


def downgrade() -> None:
    """Bring the database back to the revision before."""
    for table in ("check_period", "check_change", "check_result", "check_state"):
        op.drop_table(table)
