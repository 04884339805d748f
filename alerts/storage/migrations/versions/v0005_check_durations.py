"""How long runs of health checks took, counted in buckets beside each period."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the database to this revision; of earlier runs nothing is known."""
    op.add_column(
        "check_period", sa.Column("durations", sa.Text, nullable=False, server_default="")
    )


def downgrade() -> None:
    """Bring the database back to the revision before."""
    op.drop_column("check_period", "durations")
