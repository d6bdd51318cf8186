"""Rules about the service itself and the streams that it reads."""

from __future__ import annotations

from observer.metrics import catalog
from observer.rules.base import Paper, Rule, group, increase, matchers, select
from observer.windows import duration


def service_group(paper: Paper, job: str, *, has_labels: bool) -> Rule:
    """The rules of the service; `job` is its name in Prometheus' scrape configuration."""
    limits = paper.thresholds
    hold, span = duration(limits.hold), duration(max(limits.hold, 60_000))
    nobodys = select(catalog.EVENTS, model="", outcome="rejected")
    rules = [
        paper.alert(
            "ObserverDown",
            f"up{matchers(job=job)} == 0 or absent(up{matchers(job=job)})",
            "page",
            "service",
            "The observer cannot be scraped",
            "Nothing is watched, or nothing of it is seen. It goes on where it stopped: no event is lost "
            "while the broker keeps it.",
            hold=hold,
        ),
        _silent(paper, "predictions", job),
        *([_silent(paper, "labels", job)] if has_labels else []),
        paper.alert(
            "ObserverFallingBehind",
            f"max by (stream) ({catalog.WATERMARK_DELAY.name}) > {limits.watermark_delay / 1000:g} "
            f"and on(stream) sum by (stream) ({catalog.SOURCE_LAG.name}) > 0",
            "ticket",
            "service",
            "The observer is behind on {{ $labels.stream }}",
            "Event time is {{ $value | humanizeDuration }} behind and messages wait: it reads more slowly "
            "than they come, or one partition stands still.",
            hold=hold,
        ),
        paper.alert(
            "ObserverNotSaving",
            f"max({catalog.CHECKPOINT_AGE.name}) > {limits.checkpoint_age / 1000:g}",
            "page",
            "service",
            "The observer's state has not been saved for {{ $value | humanizeDuration }}",
            "The loop is stuck, or dead letters cannot be written. A restart reads that much again.",
        ),
        paper.alert(
            "ObserverRejectedEvents",
            f"sum by (stream) (rate({nobodys}[{span}])) "
            f"/ sum by (stream) (rate({catalog.EVENTS.name}[{span}])) > {limits.rejected:g}",
            "ticket",
            "service",
            "Messages of {{ $labels.stream }} cannot be used, and not even their model can be told",
            "{{ $value | humanizePercentage }} of all events are in the dead letters, each with its reason.",
            hold=hold,
        ),
        paper.alert(
            "ObserverEventsLost",
            f"sum by (stream) ({increase(catalog.SOURCE_LOST.name, '1h')}) > 0",
            "ticket",
            "service",
            "Messages of {{ $labels.stream }} were deleted before they were read",
            "{{ $value | humanize }} in the last hour: the topic keeps them for less time than they waited.",
        ),
        paper.alert(
            "ObserverSeriesCapped",
            f"max by (metric) ({catalog.SERIES_CAPPED.name}) > 0",
            "ticket",
            "service",
            "A cap leaves out series of {{ $labels.metric }}",
            "{{ $value | humanize }} of them: fewer segments or features, or a higher cap.",
            hold=hold,
        ),
        paper.alert(
            "ObserverDetectorFailed",
            f"count by (model, version, detector) ({catalog.DRIFT_STATUS.name} == -2) > 0",
            "ticket",
            "service",
            "{{ $labels.detector }} fails on {{ $labels.model }} {{ $labels.version }}",
            "{{ $value }} columns could not be judged in the last window; the log says why.",
        ),
        paper.alert(
            "ObserverRestarts",
            f"changes({catalog.PROCESS_START.name}{matchers(job=job)}[1h]) > 3",
            "ticket",
            "service",
            "The observer restarts again and again",
            "{{ $value | humanize }} times in the last hour; its last words are in the log.",
        ),
    ]
    return group("observer-service", rules)


def _silent(paper: Paper, stream: str, job: str) -> Rule:
    """A stream that had messages and has none any more; one that never had any is not stalled.

    That it had some its event time says, which outlives a restart; counters of messages do not, so after one
    there are none that stand still. A service that has just started has not read any yet.
    """
    silent = paper.thresholds.stream_silent
    span = duration(silent)
    messages = select(catalog.SOURCE_MESSAGES, stream=stream)
    had = f"max by (stream) ({select(catalog.WATERMARK, stream=stream)})"
    up = f"time() - max({catalog.PROCESS_START.name}{matchers(job=job)}) > {silent / 2000:g}"
    came = f"sum by (stream) ({increase(messages, span)}) or 0 * {had} and on() ({up})"
    expr = f"({came}) == 0 and on(stream) {had}"
    if stream == "predictions":
        return paper.alert(
            "ObserverStreamStalled",
            expr,
            "page",
            "service",
            "No predictions have come for " + span,
            "Whoever writes them has stopped, or the topic cannot be reached. Drift and budgets stand still.",
        )
    return paper.alert(
        "ObserverLabelsStalled",
        expr,
        "ticket",
        "labels",
        "No labels have come for " + span,
        "Quality and objectives on labels stand still, however good they look. Where labels come in batches, "
        "raise stream_silent above the time between two.",
    )
