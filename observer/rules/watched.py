"""Which models rules are about."""

from __future__ import annotations

import re
from dataclasses import dataclass

from observer.config import ModelConfig
from observer.metrics import Metric
from observer.metrics.base import clean
from observer.rules.base import quote
from observer.slo.spec import LabelCoverage


@dataclass(frozen=True, slots=True)
class Watched:
    """One model that the configuration names, or all others together.

    Attributes
    ----------
    model : str
        Empty for those that the configuration does not name.
    others : tuple of str
        The names that it does name.
    """

    model: str
    others: tuple[str, ...]
    spec: ModelConfig

    def select(self, metric: Metric, extra: str = "") -> str:
        """The metric's series of this model, or of all others, as PromQL."""
        if self.model:
            own = f"model={quote(self.model)}"
        else:
            names = "|".join(re.escape(clean(name)) for name in self.others)
            own = f"model!~{quote(names)}" if names else ""
        return f"{metric.name}{{{','.join(filter(None, (own, extra)))}}}"

    @property
    def labels(self) -> dict[str, str]:
        """What every alert about it bears."""
        return {"model": self.model, "owner": self.spec.owner}

    @property
    def realised(self) -> list[str]:
        """Objectives on what labels say of the model: it counts for more than any drift.

        That labels come at all, which is what coverage tells, says nothing of it.
        """
        every = self.spec.objectives.items()
        return [
            name
            for name, spec in every
            if spec.waits_for_labels and not isinstance(spec.indicator, LabelCoverage)
        ]
