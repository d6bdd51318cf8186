"""A server of the user's that is asked before a challenger's share is raised."""

from __future__ import annotations

from typing import Protocol

from observer.actions.base import canonical
from observer.actions.retrain.events import sign
from observer.actions.rollout import Rollout
from observer.actions.rollout_spec import GateSpec
from observer.actions.steps import Step
from observer.errors import Permanent, Retryable, Unclear
from observer.http import Api, bearer


class Gate(Protocol):
    """What may hold a step up."""

    def closed(self, rollout: Rollout, step: Step) -> str:
        """Why the step may not be taken now; "" when it may."""


class WebGate:
    """Posts the step; 200 opens, anything else and silence do not. Asking again changes nothing."""

    def __init__(self, spec: GateSpec) -> None:
        self._api = Api(str(spec.url), bearer(spec.token.get_secret_value))
        self._secret = spec.secret.get_secret_value

    def closed(self, rollout: Rollout, step: Step) -> str:
        """As `Gate.closed`."""
        said = {
            "rollout": rollout.id,
            "model": rollout.model,
            "champion": rollout.champion,
            "challenger": rollout.challenger,
            "share": rollout.share,
            "wanted": step.share,
            "shadow": step.shadow,
            "verb": step.verb,
            "reason": step.reason,
            "detail": step.detail,
        }
        body = canonical(said).encode()
        secret = self._secret()
        headers = {"X-Observer-Signature": "sha256=" + sign(body, secret)} if secret else {}
        try:
            self._api.send("", body, headers, only_200=True)
        except (Retryable, Unclear, Permanent) as error:
            return str(error)[:300]
        return ""
