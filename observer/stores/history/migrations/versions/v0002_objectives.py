"""Where service level objectives stood."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    keys = (sa.Column(name, sa.Text, primary_key=True) for name in _COLUMNS)
    op.create_table(
        "objectives",
        *keys,
        sa.Column("end", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("objectives_by_end", "objectives", ["model", "end"])


_COLUMNS = ("model", "name", "version", "arm", "segment")
