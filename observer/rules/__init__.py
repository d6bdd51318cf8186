"""Prometheus rules of a configuration: objectives, drift, data, labels, and the service itself."""

from __future__ import annotations

from observer.config import Config
from observer.rules.acting import acting_group
from observer.rules.base import Paper, Thresholds, dump, thresholds
from observer.rules.models import model_group
from observer.rules.objectives import objective_groups
from observer.rules.service import service_group
from observer.rules.watched import Watched

__all__ = ["Thresholds", "thresholds", "write"]


def write(
    config: Config, limits: Thresholds, *, runbooks: str = "docs/runbooks", job: str = "observer"
) -> str:
    """The rule file of everything that a configuration watches.

    Models that it does not name share rules, those of their objectives too: each has series and alerts of its
    own, told apart by the label `model`.

    Raises
    ------
    ConfigError
        A file of burn windows cannot be read.
    """
    paper = Paper(limits, runbooks.rstrip("/"), str(config.http.url or "").rstrip("/"))
    groups = [service_group(paper, job, has_labels=config.labels is not None)]
    if config.targets:
        groups.append(acting_group(paper, config))
    every = [Watched(model, (), spec) for model, spec in config.models.items()]
    if config.learn_unknown:
        every.append(Watched("", tuple(config.models), config.defaults))
    for watched in every:
        groups.append(model_group(paper, watched))
        for name, objective in watched.spec.objectives.items():
            groups += objective_groups(paper, watched, name, objective)
    return dump(groups)
