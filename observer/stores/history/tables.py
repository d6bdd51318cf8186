"""The tables as the newest migration leaves them; `data` is a noun of `observer.model`, see `nouns`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, LargeBinary, MetaData, Table, Text

METADATA = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _time(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _data() -> Column[bytes]:
    return Column("data", LargeBinary, nullable=False)


META = Table("meta", METADATA, Column("id", BigInteger, primary_key=True), _time("revision"))
VERSIONS = Table(
    "versions",
    METADATA,
    _key("model"),
    _key("version"),
    _time("start"),
    _time("end"),
    _time("rows"),
    _text("status"),
    _text("reference"),
    Column("seen", Float(53), nullable=False),
)
WINDOWS = Table(
    "windows",
    METADATA,
    _key("model"),
    _key("version"),
    _key("segment"),
    _time("start", key=True),
    _time("end"),
    _time("rows"),
    _text("status"),
    _data(),
)
EVIDENCE = Table(
    "evidence",
    METADATA,
    _key("model"),
    _key("version"),
    _key("watch"),
    _time("start", key=True),
    _time("end"),
    _data(),
)
QUALITY = Table(
    "quality",
    METADATA,
    _key("model"),
    _key("version"),
    _key("arm"),
    _key("segment"),
    _time("start", key=True),
    _time("end"),
    _time("valued"),
    _data(),
)
FINDINGS = Table(
    "findings",
    METADATA,
    _key("id"),
    _text("model"),
    _text("version"),
    _text("segment"),
    _time("start"),
    _time("end"),
    _text("tier"),
    _data(),
)
REFERENCES = Table("reference_states", METADATA, _key("model"), _key("version"), _time("rank"), _data())
OBJECTIVES = Table(
    "objectives",
    METADATA,
    _key("model"),
    _key("name"),
    _key("version"),
    _key("arm"),
    _key("segment"),
    _time("end", key=True),
    _data(),
)
LEDGER = Table(
    "ledger",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Float(53), nullable=False),
    *(_text(name) for name in ("action", "event", "actor", "data", "previous", "hash")),
)
STATES = Table("action_states", METADATA, _key("key"), _data())
ENDING = (WINDOWS, EVIDENCE, QUALITY, FINDINGS, OBJECTIVES, VERSIONS)
"""Those whose rows have a model and an end, and are dropped when they are old."""
