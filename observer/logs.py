"""The log: one line an entry, as text or as JSON; decisions carry their facts as fields."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TypeAlias

Field: TypeAlias = str | float | bool | None
Format: TypeAlias = Literal["text", "json"]

_PLAIN = re.compile(r"[^\s\"=\\]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def decision(log: logging.Logger, event: str, **fields: Field) -> None:
    """Log what was decided: `event` names it, `fields` say of what and why, named as in the metrics."""
    log.info(event, extra={"fields": fields})


def detail(log: logging.Logger, event: str, **fields: Field) -> None:
    """The same for what is only looked at when something is sought."""
    log.debug(event, extra={"fields": fields})


def to_stderr(level: str, form: Format = "text") -> None:
    """Send the log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=level.upper(), handlers=[handler])


class Text(logging.Formatter):
    """`time level logger: event field=value ...`; what could begin a new line or field is quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and those of a traceback."""
        parts = [_CONTROL.sub(lambda found: repr(found[0])[1:-1], record.getMessage())]
        parts += [f"{name}={_quoted(value)}" for name, value in _fields(record).items()]
        line = f"{_time(record)} {record.levelname} {record.name}: {' '.join(parts)}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class Json(logging.Formatter):
    """An object with `time`, `level`, `logger`, `event`, the fields, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        entry: dict[str, Field] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def _fields(record: logging.LogRecord) -> dict[str, Field]:
    """Those that say something; JSON has no number that is none or infinite."""
    fields: Mapping[str, Field] = getattr(record, "fields", {})
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
        if value not in (None, "")
    }


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _quoted(value: Field) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return (
        value
        if isinstance(value, str) and value.isprintable() and _PLAIN.fullmatch(value)
        else json.dumps(value)
    )
