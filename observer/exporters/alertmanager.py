"""Alertmanager: alerts kept alive on every member of a cluster, and the silences that people make."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

from observer.errors import Permanent, Retryable, Unclear
from observer.http import Api, bearer
from observer.model import Alert
from observer.plain import timestamp
from observer.windows import Milliseconds

log = logging.getLogger(__name__)

LONGEST: Final = 2_000
"""Characters of an annotation."""


class AlertmanagerSpec(BaseModel):
    """The members of an Alertmanager cluster: each is told, never a load balancer before them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: Annotated[tuple[HttpUrl, ...], Field(min_length=1)]
    """Of each member, as http://alertmanager-0.monitoring:9093."""
    token: SecretStr = SecretStr("")
    """Bearer token, where they want one."""
    resend: Annotated[Milliseconds, Field(ge=1_000)] = 60_000
    """How often an alert that lasts is told again; one not told for four times as long ends by itself."""
    labels: dict[str, str] = {}
    """Put on every alert, as {cluster: prod}."""


@dataclass(slots=True)
class _Member:
    """One member, and how it fares."""

    url: str
    api: Api
    down: str = ""


@dataclass(slots=True)
class Alertmanagers:
    """Tells all members, and asks any.

    What an alert is, Alertmanager knows by its labels; what changes (scores, times) belongs to annotations.

    Attributes
    ----------
    active : dict
        The alerts that last, by key.
    """

    spec: AlertmanagerSpec
    active: dict[str, Alert] = field(default_factory=dict)
    _ended: dict[str, Alert] = field(default_factory=dict)
    _next: float = 0.0
    _members: list[_Member] = field(default_factory=list)

    def __post_init__(self) -> None:
        for url in self.spec.urls:
            base = str(url).rstrip("/")
            headers = bearer(self.spec.token.get_secret_value)
            shown = f"{url.scheme}://{url.host}:{url.port}"  # without a name and a password
            self._members.append(_Member(shown, Api(base, headers)))

    def show(self, alerts: Mapping[str, Alert], now: float) -> None:
        """What lasts from now on, by key; what is missing has ended.

        New alerts and ends are told by the next `tick`.
        """
        for key, alert in self.active.items():
            changed = key not in alerts or alerts[key].labels != alert.labels
            if changed:
                self._ended[key] = replace(alert, ends=now)
                self._next = now
        for key, alert in alerts.items():
            if self.active.get(key) != alert:
                self._next = now
        self.active = dict(alerts)

    def tick(self, now: float) -> list[str]:
        """Tell every member where it is time; returns those that could not be told, with the reason."""
        if now < self._next:
            return self.down
        lasting = 4 * self.spec.resend / 1000
        told = [self._json(alert, now + lasting) for alert in self.active.values()]
        told += [self._json(alert, alert.ends or now) for alert in self._ended.values()]
        for member in self._members:
            self._tell(member, told)
        # Ended ones are told for as long as a member may still believe in them.
        self._ended = {
            key: alert
            for key, alert in self._ended.items()
            if key not in self.active and now < (alert.ends or now) + lasting
        }
        self._next = now + self.spec.resend / 1000
        return self.down

    def jumped(self) -> None:
        """The machine's clock was set: all is told again at the next `tick`."""
        self._next = 0.0

    @property
    def down(self) -> list[str]:
        """Members that were not told the last time, with the reason."""
        return [f"{member.url}: {member.down}" for member in self._members if member.down]

    def silences(self) -> list[dict[str, Any]]:
        """All silences that any member knows, each once; raises `Retryable` when none answers.

        Members that could not be told the last time are asked only when no other answers: one that takes its
        connections and says nothing would hold everything up.
        """
        found: dict[str, dict[str, Any]] = {}
        answered = False
        for member in sorted(self._members, key=lambda one: bool(one.down)):
            if member.down and answered:
                break
            try:
                said = member.api.get("/api/v2/silences")
                for one in (
                    (each for each in said if isinstance(each, dict)) if isinstance(said, list) else ()
                ):
                    known = found.get(str(one.get("id")))
                    if known is None or str(known.get("updatedAt", "")) < str(one.get("updatedAt", "")):
                        found[str(one.get("id"))] = one
                answered = True
            except (Retryable, Permanent) as error:
                member.down = str(error)[:300]
                log.debug("silences of %s: %s", member.url, error)
        if not answered:
            raise Retryable(f"no Alertmanager answers: {', '.join(member.url for member in self._members)}")
        return list(found.values())

    def check(self) -> list[str]:
        """Whether each member answers; a line for each that does not."""
        found = []
        for member in self._members:
            try:
                if member.api.get("/api/v2/status") is None:
                    found.append(f"{member.url}: it has no /api/v2/status; is it an Alertmanager?")
            except (Retryable, Permanent) as error:
                found.append(str(error))
        return found

    def _tell(self, member: _Member, told: Sequence[Mapping[str, Any]]) -> None:
        before = member.down
        member.down = ""
        try:
            member.api.post("/api/v2/alerts", told)  # none, too: else nobody knows whether it is back
        except (Retryable, Unclear, Permanent) as error:  # told again anyway: the same alert is the same
            member.down = str(error)[:300]
        if bool(member.down) != bool(before):
            if member.down:
                log.warning("alertmanager cannot be told: %s", member.down)
            else:
                log.info("alertmanager is told again: %s", member.url)

    def _json(self, alert: Alert, ends: float) -> dict[str, Any]:
        return {
            "labels": {**self.spec.labels, **alert.labels},
            "annotations": {name: text[:LONGEST] for name, text in alert.annotations.items() if text},
            # One that ends before it begins, by a clock that was set back since, Alertmanager refuses.
            "startsAt": timestamp(1000 * min(alert.starts, ends), "milliseconds"),
            "endsAt": timestamp(1000 * ends, "milliseconds"),
            **({"generatorURL": alert.link} if alert.link else {}),
        }
