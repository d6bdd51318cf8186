"""What moved, and since when: asked of Prometheus at the moment an alert fires, for the alert's text."""

from __future__ import annotations

import json

from observer.metrics import catalog
from observer.metrics.base import clean

_OF = ".Labels.model"
_STREAM = "on(model, version, segment, column, statistic)"


def asked(expr: str, *values: str) -> str:
    """A query in a template, where each `%q` of the expression is one of the values, in quotes."""
    return f"(printf {' '.join((json.dumps(expr, ensure_ascii=False), *values))})"


def text(value: str) -> str:
    """A label value as a text of a template."""
    return json.dumps(clean(value), ensure_ascii=False)


def strongest_of_version() -> str:
    """The columns of the open incident of the alert's model and version."""
    return _strongest('model=%q,version=%q,segment=""', "== 2", _OF, ".Labels.version") + "{{ end }}"


def strongest_of_model(model: str) -> str:
    """The columns of a model that have at least a ticket; empty: of the alert's model.

    Without any, as while there are too few reference windows, those that drift in the last window.
    """
    of = text(model) if model else _OF
    last = f'topk(3, max by (column) ({catalog.DRIFT_STATUS.name}{{model=%q,segment=""}} == 1))'
    each = "{{ range $i, $one := . }}{{ if $i }}, {{ end }}{{ $one.Labels.column }}{{ end }}"
    return (
        _strongest('model=%q,segment=""', "> 0", of)
        + f"{{{{ else }}}}{{{{ with query {asked(last, of)} }}}}The last window drifts in {each}."
        + "{{ else }}No column has moved by enough evidence.{{ end }}{{ end }}"
    )


def _strongest(where: str, tier: str, *values: str) -> str:
    evidence, raised = catalog.STREAM_EVIDENCE.name, catalog.STREAM_TIER.name
    expr = f"topk(3, max by (column, statistic) ({evidence}{{{where}}} and {_STREAM} {raised} {tier}))"
    each = "{{ if $i }}, {{ end }}{{ $one.Labels.statistic }} of {{ $one.Labels.column }}"
    listed = f"{{{{ range $i, $one := . }}}}{each}{{{{ end }}}}"
    return f"{{{{ with query {asked(expr, *values)} }}}}Strongest evidence: {listed}."


def since(watch: str) -> str:
    """When the incident of the alert's model and version opened, in event time."""
    expr = f'max({catalog.INCIDENT_SINCE.name}{{model=%q,version=%q,watch="{watch}"}})'
    query = asked(expr, _OF, ".Labels.version")
    return f"{{{{ with query {query} }}}}Since {{{{ . | first | value | humanizeTimestamp }}}}. {{{{ end }}}}"


def rates(model: str, objective: str, windows: list[str]) -> str:
    """How fast an objective burns, and since when; without a model that of the alert's."""
    of = text(model) if model else _OF
    fast = f'{catalog.SLO_BURN_RATE.name}{{model=%q,objective="{objective}",window=~"{"|".join(windows)}"}}'
    begun = f'{catalog.SLO_SINCE.name}{{model=%q,objective="{objective}"}}'
    each = '{{ if $i }}, {{ end }}{{ $one.Value | printf "%.3g" }}x over {{ $one.Labels.window }}'
    return (
        f"{{{{ with query {asked(fast, of)} }}}}Burns at "
        f'{{{{ range $i, $one := . | sortByLabel "window" }}}}{each}{{{{ end }}}}'
        f"{{{{ with query {asked(begun, of)} }}}} since {{{{ . | first | value | humanizeTimestamp }}}}"
        "{{ end }}: {{ end }}"
    )


def left(model: str, objective: str) -> str:
    """How much budget is left by the service's own count; without a model of the alert's."""
    expr = f'{catalog.SLO_BUDGET.name}{{model=%q,objective="{objective}",by="prediction"}}'
    query = asked(expr, text(model) if model else _OF)
    share = "{{ . | first | value | humanizePercentage }}"
    return f"{{{{ with query {query} }}}}Of the budget {share} is left. {{{{ end }}}}"
