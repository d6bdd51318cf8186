"""The first schema: windows, evidence, quality, findings, references."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _key(name: str) -> "sa.Column[object]":
    return sa.Column(name, sa.Text, primary_key=True)


def _start() -> "sa.Column[object]":
    return sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False)


def _big(name: str) -> "sa.Column[object]":
    return sa.Column(name, sa.BigInteger, nullable=False)


def _text(name: str) -> "sa.Column[object]":
    return sa.Column(name, sa.Text, nullable=False)


def _data() -> "sa.Column[object]":
    return sa.Column("data", sa.LargeBinary, nullable=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "meta", sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False), _big("revision")
    )
    op.execute("INSERT INTO meta (id, revision) VALUES (1, 0)")
    seen = sa.Column("seen", sa.Float(53), nullable=False)
    latest = (_big("start"), _big("end"), _big("rows"), _text("status"), _text("reference"), seen)
    op.create_table("versions", _key("model"), _key("version"), *latest)
    windows = (_start(), _big("end"), _big("rows"), _text("status"), _data())
    op.create_table("windows", _key("model"), _key("version"), _key("segment"), *windows)
    op.create_table("evidence", _key("model"), _key("version"), _key("watch"), _start(), _big("end"), _data())
    cohort = (_key("model"), _key("version"), _key("arm"), _key("segment"))
    op.create_table("quality", *cohort, _start(), _big("end"), _big("valued"), _data())
    window = (_text("model"), _text("version"), _text("segment"), _big("start"), _big("end"))
    op.create_table("findings", _key("id"), *window, _text("tier"), _data())
    op.create_index("findings_by_end", "findings", ["end"])
    op.create_index("findings_by_model", "findings", ["model", "end"])
    op.create_table("reference_states", _key("model"), _key("version"), _big("rank"), _data())
    for table in ("windows", "evidence", "quality"):
        op.create_index(f"{table}_by_end", table, ["model", "end"])
