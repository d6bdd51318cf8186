"""Calendar windows: when the one that holds a moment begins and ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from observer.slo.spec import Calendar

_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def period(calendar: Calendar, zone: tzinfo, now: int) -> tuple[int, int]:
    """First and end of the calendar window around `now`, milliseconds; weeks begin on Monday."""
    moment = datetime.fromtimestamp(now / 1000, zone)
    first = moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if calendar == "day":
        end = first + timedelta(days=1)
    elif calendar == "week":
        first -= timedelta(days=first.weekday())
        end = first + timedelta(days=7)
    else:
        months = _MONTHS[calendar]
        first = first.replace(month=(first.month - 1) // months * months + 1, day=1)
        after = first.month - 1 + months
        end = first.replace(year=first.year + after // 12, month=after % 12 + 1)
    return _milliseconds(first), _milliseconds(end)


def _milliseconds(moment: datetime) -> int:
    """Wall-clock arithmetic is done; the offset is that of the moment itself."""
    return int(moment.astimezone(UTC).timestamp()) * 1000
