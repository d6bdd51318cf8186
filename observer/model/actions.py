"""Rows of the ledger of actions, and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class LedgerRow(NamedTuple):
    """One row of the ledger of actions.

    Attributes
    ----------
    number : int
        From 1, without gaps.
    at : float
        Seconds since the epoch.
    action : str
        Its id.
    event : str
        What happened; see `observer.actions.ledger.EVENTS`.
    actor : str
        Who: `observer`, or a person and the way they spoke (`token:...`, `silence:...`).
    data : dict
        JSON: of an intent the whole order, else what was sent or seen.
    previous, hash : str
        SHA-256, hexadecimal, of the row before and of this one.
    """

    number: int
    at: float
    action: str
    event: str
    actor: str
    data: dict[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that Alertmanager is told, for as long as it lasts.

    Attributes
    ----------
    labels : mapping
        What it is; two with the same are one.
    annotations : mapping
        What is said of it, which may change.
    starts, ends : float
        Seconds since the epoch; it lasts while `ends` is None.
    link : str
        Page that explains it.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts: float
    ends: float | None = None
    link: str = ""
