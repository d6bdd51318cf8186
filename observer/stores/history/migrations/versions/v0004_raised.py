"""Pages and tickets are found without passing all that was only noted."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the indexes."""
    raised = sa.text("tier <> 'info'")
    for name, columns in (("findings_raised", ["end"]), ("findings_raised_by_model", ["model", "end"])):
        op.create_index(name, "findings", columns, sqlite_where=raised, postgresql_where=raised)
