"""Prometheus rules of a configuration: objectives, drift, data, labels, and the service itself."""

from __future__ import annotations

from observer.config import Config
from observer.rules.acting import acting_group
from observer.rules.base import Paper, Thresholds, dump, thresholds
from observer.rules.models import Watched, model_group
from observer.rules.objectives import objective_groups
from observer.rules.service import service_group

__all__ = ["Thresholds", "thresholds", "write"]


def write(
    config: Config, limits: Thresholds, *, runbooks: str = "docs/runbooks", job: str = "observer"
) -> str:
    """The rule file of everything that a configuration watches.

    Models that it does not name share rules; their objectives get none, since Prometheus does not know
    their names: the service counts them all the same.

    Raises
    ------
    ConfigError
        A file of burn windows cannot be read.
    """
    paper = Paper(limits, runbooks.rstrip("/"))
    groups = [service_group(paper, job, has_labels=config.labels is not None)]
    if config.targets:
        groups.append(acting_group(paper, config))
    for model, spec in config.models.items():
        groups.append(model_group(paper, Watched(model, (), spec)))
        for name, objective in spec.objectives.items():
            groups += objective_groups(paper, model, spec.owner, name, objective, spec.window.size)
    if config.learn_unknown:
        groups.append(model_group(paper, Watched("", tuple(config.models), config.defaults)))
    return dump(groups)
