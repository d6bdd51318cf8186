"""What labels mean, and which go together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from detectors.base import Status

STATUS_CODES: Mapping[Status, int] = MappingProxyType(
    {Status.DRIFT: 1, Status.STABLE: 0, Status.INSUFFICIENT: -1, Status.FAILED: -2}
)
"""Value of a status gauge. Drift is the greatest, so that `max by (model)` finds it."""

LABELS: Mapping[str, str] = MappingProxyType(
    {
        "target": "Name under `targets` in the configuration.",
        "model": "Model name; empty where an event named none that is known.",
        "version": "Model version.",
        "segment": "`dimension=value`; empty for all events; `other` for those beyond a cap.",
        "arm": "`champion` or `challenger`; empty for all arms together.",
        "column": "Feature, `@prediction`, `@score`, `@table` for all columns at once; "
        "`other` for those beyond a cap.",
        "detector": "Name in the detector catalog, such as `ks`, or `river.ADWIN` of another package; "
        "of a page or ticket its first statistic.",
        "statistic": "What is watched of the column: `location`, `spread`, `total_variation`, `missing` ...",
        "tier": "`page`, `ticket` or `info`.",
        "watch": "`inputs`: what comes in and is predicted; `quality`: what labels say of it.",
        "metric": "Quality metric, such as `accuracy`; in `observer_series_capped` the name of a metric.",
        "maturity": "`matured`: nearly all labels have had time to come; else `provisional`.",
        "probability": "Which quantile: `0.05`, `0.5`, `0.95`.",
        "stream": "`predictions` or `labels`.",
        "source": "Topic or file.",
        "partition": "Number of the partition in its source.",
        "outcome": "What became of it; the metric names the values.",
        "reason": "Why an event was rejected: the reason of its dead letter.",
        "kind": "`model`, `version`, `feature`, `tag` or `segment`.",
        "state": "`prediction`: waits for its label; `label`: waits for its prediction.",
        "status": "`stable`, `drift`, `insufficient` or `failed`.",
        "reference": "Content hash of the reference.",
        "objective": "Name of a service level objective, unique in its model.",
        "by": "`prediction`: events by the time of the prediction, authoritative; `arrival`: "
        "by that of the label.",
        "window": "How far a burn rate looks back, such as `5m` or `30d`.",
        "severity": "`page` or `ticket`.",
        "bound": "Of a 95% band: `earliest`, `expected`, `latest`; `lower`, `estimate`, `upper`.",
        "rule": "Name of a rule of the model's actions.",
        "action": "`retrain`, `set_weights`, `promote`, `rollback` or `notify`.",
        "direction": "`better` or `worse`: what the evidence is of.",
        "hash": "SHA-256 of the newest row; a row changed later changes every one after it.",
        "service_version": "Release of the service.",
        "python_version": "Python it runs on.",
    }
)
"""What each label means, everywhere the same."""

WINDOW = ("model", "version", "segment")
COLUMN = (*WINDOW, "column")
VERDICT = (*COLUMN, "detector")
STREAM = (*WINDOW, "column", "statistic")
WATCH = ("model", "version", "watch")
COHORT = ("model", "version", "arm", "segment", "maturity")
PARTITION = ("stream", "source", "partition")
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
