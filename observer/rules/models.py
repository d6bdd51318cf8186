"""Rules about models, beside their objectives: drift, tickets, data quality, missing data, labels."""

from __future__ import annotations

import json

from observer.metrics import catalog
from observer.rules.base import Paper, Rule, Severity, group, quote
from observer.rules.watched import Watched
from observer.rules.why import since, strongest_of_version
from observer.windows import duration


def model_group(paper: Paper, watched: Watched) -> Rule:
    """The rules of a model."""
    rules = [
        *_drift(paper, watched),
        *_quality(paper, watched),
        *_data(paper, watched),
        *_labels(paper, watched),
    ]
    return group(f"observer-model-{watched.model}" if watched.model else "observer-models", rules)


def _drift(paper: Paper, watched: Watched) -> list[Rule]:
    """Incidents of inputs page only where neither labels nor an estimate say what they do to quality."""
    opened = f"max by (model, version) ({watched.select(catalog.INCIDENT_OPEN, _eq(watch='inputs'))}) == 1"
    skill = watched.select(catalog.QUALITY_ESTIMATE_SKILL, _eq(segment=""))
    skilled = f"on(model, version) (max by (model, version) ({skill}) > 0)"
    what = "the inputs or predictions of {{ $labels.model }} {{ $labels.version }} have changed"
    told: list[tuple[str, Severity, str, str]]
    if watched.model and watched.realised:
        told = [(opened, "ticket", _capital(what), _objective(watched.model, watched.realised[0]))]
    else:
        unknown = "Nothing says what it does to quality: no objective on labels, no estimate with skill. "
        told = [
            (f"{opened} unless {skilled}", "page", f"With no objective on labels, {what}", unknown),
            (f"{opened} and {skilled}", "ticket", _capital(what), f"Likely effect: {_estimate()}"),
        ]
    why = strongest_of_version()
    rules = [
        paper.alert(
            "ObserverDrift", expr, severity, "drift", summary, since("inputs") + effect + why, watched.labels
        )
        for expr, severity, summary, effect in told
    ]
    streams = f"max by (model, version, column, statistic) ({watched.select(catalog.STREAM_TIER)}) == 1"
    rules.append(
        paper.alert(
            "ObserverDriftTicket",
            streams,
            "ticket",
            "drift",
            "{{ $labels.model }} {{ $labels.version }}: {{ $labels.column }} moved: {{ $labels.statistic }}",
            "Enough evidence for a ticket, not for a page; see observer_stream_effect for how much.",
            watched.labels,
        )
    )
    learning = watched.select(catalog.EVIDENCE_STAGE, _eq(watch="inputs"))
    judged = watched.select(catalog.DRIFT_STATUS, _eq(segment=""))
    rules.append(
        paper.alert(
            "ObserverDriftTicket",
            f"max by (model, version, column, detector) ({judged}) == 1 "
            f"and on(model, version) max by (model, version) ({learning}) == 0",
            "ticket",
            "drift",
            "{{ $labels.model }} {{ $labels.version }}: {{ $labels.column }} drifts ({{ $labels.detector }})",
            "One window's verdict: there are too few reference windows yet for evidence over time.",
            watched.labels | {"stage": "learning"},
        )
    )
    return rules


def _quality(paper: Paper, watched: Watched) -> list[Rule]:
    opened = f"max by (model, version) ({watched.select(catalog.INCIDENT_OPEN, _eq(watch='quality'))}) == 1"
    severity: Severity = "ticket" if watched.model and watched.realised else "page"
    return [
        paper.alert(
            "ObserverQualityDrop",
            opened,
            severity,
            "quality",
            "Labels say that the quality of {{ $labels.model }} {{ $labels.version }} has changed",
            "The watch of quality has opened an incident. " + since("quality") + strongest_of_version(),
            watched.labels,
        )
    ]


def _data(paper: Paper, watched: Watched) -> list[Rule]:
    limits, window = paper.thresholds, watched.spec.window
    hold = duration(limits.hold)
    late = (window.size + window.lateness + limits.model_silent) / 1000
    ended = f"max by (model) ({watched.select(catalog.WINDOW_END, _eq(segment=''))})"
    wrong = watched.select(catalog.COLUMN_TYPE_ERRORS, _eq(segment=""))
    # Those that nobody can tell the model of are the stream's; see the rules about the service.
    known = "" if watched.model else 'model!="",'
    came = watched.select(
        catalog.EVENTS, f'{known}stream="predictions",outcome=~"accepted|late_folded|rejected"'
    )
    rejected = watched.select(catalog.EVENTS, known + _eq(stream="predictions", outcome="rejected"))
    span = duration(max(limits.hold, 60_000))
    share = f"sum by (model) (rate({rejected}[{span}])) / sum by (model) (rate({came}[{span}]))"
    return [
        paper.alert(
            "ObserverModelSilent",
            f"time() - {ended} > {late:g}",
            "page",
            "data",
            "{{ $labels.model }} has sent nothing for {{ $value | humanizeDuration }}",
            f"Its last window ended so long ago; windows last {duration(window.size)}. No drift is seen and "
            "no budget is spent while nothing comes.",
            watched.labels,
        ),
        paper.alert(
            "ObserverTypeErrors",
            f"max by (model, version, column) ({wrong}) > {limits.type_errors:g}",
            "ticket",
            "data",
            "{{ $labels.model }} {{ $labels.version }}: {{ $labels.column }} has values of a wrong type",
            "{{ $value | humanizePercentage }} of the last window; they count as invalid, not as missing.",
            watched.labels,
            hold,
        ),
        paper.alert(
            "ObserverRejectedEvents",
            f"{share} > {limits.rejected:g}",
            "ticket",
            "data",
            "Events of {{ $labels.model }} cannot be used",
            "{{ $value | humanizePercentage }} of them are in the dead letters, each with its reason.",
            watched.labels,
            hold,
        ),
    ]


def _labels(paper: Paper, watched: Watched) -> list[Rule]:
    limits = paper.thresholds
    covered = watched.select(catalog.LABEL_COVERAGE, _eq(maturity="matured", segment="", arm=""))
    return [
        paper.alert(
            "ObserverLabelCoverage",
            f"min by (model, version) ({covered}) < {limits.label_coverage:g}",
            "ticket",
            "labels",
            "Labels of {{ $labels.model }} {{ $labels.version }} stay away",
            "Only {{ $value | humanizePercentage }} of the predictions of a matured window have theirs, so "
            "quality and objectives rest on few.",
            watched.labels,
            duration(limits.hold),
        )
    ]


def _eq(**labels: str) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def _objective(model: str, name: str) -> str:
    """How the first realised objective burns: the likely effect of the drift."""
    metric = catalog.SLO_BURN_RATE.name
    labels = f'model={quote(model)},objective={quote(name)},window="1d"'
    query = json.dumps(f"{metric}{{{labels}}}", ensure_ascii=False)
    return (
        f"Likely effect: {{{{ with query {query} }}}}the objective {name} burns its budget at "
        '{{ . | first | value | printf "%.2g" }}x over a day.{{ else }}no labels of a day say.{{ end }} '
    )


def _estimate() -> str:
    """What quality is estimated to be, where an estimate has skill."""
    values, skill = catalog.QUALITY_ESTIMATE.name, catalog.QUALITY_ESTIMATE_SKILL.name
    where = 'model=%q,version=%q,segment=\\"\\"'
    found = f"{values}{{{where}}} and on(model, version, segment, metric) {skill} > 0"
    query = f'(printf "{found}" .Labels.model .Labels.version)'
    each = '{{ .Labels.metric }} {{ .Value | printf "%.3g" }} now; '
    known = f"estimated {{{{ range . }}}}{each}{{{{ end }}}}"
    labelled = f"labels tell it, see {catalog.QUALITY.name}. "
    return f"{{{{ with query {query} }}}}{known}{{{{ else }}}}{labelled}{{{{ end }}}}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
