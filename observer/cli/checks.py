"""What `observer check` looks at: configuration, references, streams, targets, databases and the port."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from detectors.base import Numbers
from observer.acting import targets
from observer.actions.traffic.target import TrafficTarget
from observer.cli.names import unknown
from observer.cli.peers import tried
from observer.clock import SystemClock
from observer.codecs import InferenceSpec, codec, pairing
from observer.config import Config, StreamConfig
from observer.errors import ObserverError
from observer.exporters.alertmanager import Alertmanagers
from observer.model import Decoded, Labels, Messages, Origin, Partition, Predictions, Stream
from observer.pipeline.spec import LearnSpec
from observer.plain import timestamp
from observer.references import Reference
from observer.references import load as load_reference
from observer.sources.batch import FeastLabelsSpec, TableSpec, message, reader
from observer.sources.files import FileSource, FilesSpec
from observer.sources.kafka import describe, newest
from observer.sources.kafka.spec import KafkaSpec
from observer.sources.storage import Storage
from observer.stores.history.database import Database
from observer.stores.lmdb import LmdbState
from observer.windows import duration

_SAMPLES = 5
_HALVES = 20
_SHOWN = 10

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Line:
    """What one check found.

    Attributes
    ----------
    detail : str
        What was found; where it is not ok, what to do.
    """

    status: Status
    subject: str
    detail: str


def checks(config: Config, path: Path) -> Iterator[Line]:
    """Every check, in the order of the file; each runs when its line is asked for."""
    yield Line("ok", "configuration", f"{path} is valid")
    references: dict[str, Reference] = {}
    yield from _references(config, references)
    yield from (Line(*told) for told in tried(config, references))
    streams: dict[Stream, StreamConfig | None] = {"predictions": config.predictions, "labels": config.labels}
    for stream, spec in streams.items():
        if spec is None:
            yield Line("ok", stream, "not configured: drift is watched, but no quality")
        elif isinstance(spec.source, KafkaSpec):
            for topic in spec.topics:
                yield from _topic(config, stream, spec, topic, references)
            if isinstance(spec.encoding, InferenceSpec):
                yield from _pairs(config, spec, references)
        elif isinstance(spec.source, TableSpec | FeastLabelsSpec):
            yield from _tables(config, stream, spec, spec.source, references)
        else:
            yield from _files(config, stream, spec, spec.source, references)
    yield from _targets(config)
    yield _state(config.state.path, config.state.max_size)
    yield _history(config)
    yield _port(config.http.host, config.http.port)


def _references(config: Config, references: dict[str, Reference]) -> Iterator[Line]:
    for model in (*config.models, ""):
        spec = config.model(model)
        key = f"models.{model}" if model else "defaults"
        if not model and not config.learn_unknown:
            continue
        files = {f"{key}.versions.{version}": path for version, path in spec.versions.items()}
        if isinstance(spec.reference, LearnSpec):
            wanted = f"{spec.reference.windows} windows and {spec.reference.rows:,} rows"
            who = "" if model else "; of models that are not configured"
            yield Line("ok", f"{key}.reference", f"learnt from the first {wanted}{who}")
        else:
            files = {f"{key}.reference": spec.reference, **files}
        loaded: list[Reference] = []
        for subject, path in files.items():
            try:
                reference = load_reference(path)
            except ObserverError as error:
                yield Line("failed", subject, str(error))
                continue
            loaded.append(reference)
            references.setdefault(model, reference)
            schema, estimator = reference.schema, reference.estimator
            labels = f"{estimator.outcomes.n:,} labels, " if estimator is not None else ""
            yield Line(
                "ok",
                subject,
                f"{path}: {reference.version}, {reference.summary.n:,} rows, {labels}"
                f"{len(schema.features)} features, task {schema.task or 'unknown'}",
            )
        if loaded and model:
            named = unknown(spec, config.defaults, loaded)
            yield from (Line("warning", f"{key}.{below}", detail) for below, detail in named)


def _topic(
    config: Config, stream: Stream, spec: StreamConfig, source: KafkaSpec, references: Mapping[str, Reference]
) -> Iterator[Line]:
    where = f"Kafka topic {source.topic} at {source.brokers}"
    try:
        report = describe(source, stream, sample=_SAMPLES)
    except ObserverError as error:
        yield Line("failed", stream, str(error))
        return
    held = sum(end - first for first, end in report.offsets.values())
    ranges = [f"{p.number}: {first:,} to {end:,}" for p, (first, end) in sorted(report.offsets.items())]
    more = f", {len(ranges) - _SHOWN} more" if len(ranges) > _SHOWN else ""
    listed = ", ".join(ranges[:_SHOWN]) + more
    several = "s" if len(ranges) > 1 else ""
    told = f"{len(ranges)} partition{several}, {held:,} messages (offsets {listed})"
    yield Line("ok", stream, f"{where}: {told}")
    if report.readable:
        yield Line("ok", stream, "messages can be read")
    else:
        yield Line("failed", stream, "no message could be read in 10 s: grant READ, or look at the brokers")
    letters = report.dead_letters
    subject = f"{stream}.dead_letters"
    if letters is None and isinstance(spec.source, KafkaSpec) and spec.source.dead_letters is not None:
        pass  # told with the first topic
    elif letters is None:
        yield Line("ok", subject, "switched off: rejected events are only counted")
    else:
        status: Status = {True: "ok", False: "failed", None: "warning"}[letters.writable]  # type: ignore[assignment]  # three literals
        yield Line(status, subject, f"topic {letters.topic}: {letters.detail}")
    if not isinstance(spec.encoding, InferenceSpec):
        yield from _events(config, stream, spec, report.samples, references)


def _pairs(config: Config, spec: StreamConfig, references: Mapping[str, Reference]) -> Iterator[Line]:
    """Whether the newest requests and responses find each other, and the mapping reads them."""
    subject = "predictions events"
    joining = pairing(spec.encoding, config.limits)
    now = SystemClock().now()
    try:
        decoder = codec(spec.encoding, {}, config.limits, learn_unknown=True)
        polls = newest(spec.topics, "predictions", _HALVES)
    except ObserverError as error:
        yield Line("failed", subject, str(error))
        return
    found = [joining.take(poll, now) for poll in polls] if joining is not None else []
    pairs = sum(map(len, found))
    told = f"{sum(map(len, polls))} of the newest requests and responses make {pairs} pairs"
    yield Line("ok" if pairs else "warning", subject, told)
    if joining is not None and (refused := joining.refused()):
        one = refused[0]
        told = f"{len(refused)} would be rejected; {one.origin}: {one.reason}: {one.detail}"
        yield Line("warning" if pairs else "failed", subject, told)
    for poll in found:
        if len(poll):
            yield from _decoded(config, subject, decoder.predictions(poll, now), references)


def _files(
    config: Config, stream: Stream, spec: StreamConfig, source: FilesSpec, references: Mapping[str, Reference]
) -> Iterator[Line]:
    files = FileSource(source, stream)
    try:
        files.open({})
        messages = files.poll(_SAMPLES, 0.0)
    except ObserverError as error:
        yield Line("failed", stream, str(error))
        return
    finally:
        files.close()
    names = [partition.source for partition in messages.partitions]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    size = f"{len(names)} file{'s' if len(names) > 1 else ''}, {files.total_bytes:,} bytes"
    yield Line("ok", stream, f"{size}: {', '.join(names[:_SHOWN])}{more}")
    samples = tuple((messages.origin(i), value) for i, value in enumerate(messages.values[:_SAMPLES]))
    letters = config.dead_letters_path(stream)
    writable = _can_write(letters.parent)
    yield Line(
        "ok" if writable else "failed",
        f"{stream}.dead_letters",
        f"file {letters}"
        + ("" if writable else f": {letters.parent} may not be written to; set dead_letters_file"),
    )
    yield from _events(config, stream, spec, samples, references)


def _tables(
    config: Config,
    stream: Stream,
    spec: StreamConfig,
    source: TableSpec | FeastLabelsSpec,
    references: Mapping[str, Reference],
) -> Iterator[Line]:
    tables = reader(source, Storage(config.storage))
    since = int(SystemClock().now() * 1000) - source.look_back
    try:
        rows = tables.read(since)
    except ObserverError as error:
        yield Line("failed", stream, str(error))
        return
    finally:
        tables.close()
    how = "read once" if not source.every else f"read every {duration(source.every)}"
    told = f"{rows.num_rows:,} rows of the last {duration(source.look_back)}, {how}"
    yield Line("ok", stream, f"{tables.name}: {told}")
    letters = config.dead_letters_path(stream)
    yield Line("ok" if _can_write(letters.parent) else "failed", f"{stream}.dead_letters", f"file {letters}")
    samples = ((Origin(tables.name, 0, 0), message(rows.slice(0, _SAMPLES))),) if rows.num_rows else ()
    yield from _events(config, stream, spec, samples, references)


# Events


def _events(
    config: Config,
    stream: Stream,
    spec: StreamConfig,
    samples: tuple[tuple[Origin, bytes], ...],
    references: Mapping[str, Reference],
) -> Iterator[Line]:
    subject = f"{stream} events"
    if not samples:
        yield Line("warning", subject, "none there yet, so none could be decoded")
        return
    try:
        # Without schemas every feature is looked at, those too that the reference does not have.
        decoder = codec(spec.encoding, {}, config.limits, learn_unknown=True)
    except OSError as error:
        yield Line("failed", f"{stream}.encoding", f"{error.filename}: {error.strerror}")
        return
    except ObserverError as error:
        yield Line("failed", f"{stream}.encoding", str(error))
        return
    messages = Messages(
        values=[value for _, value in samples],
        partition=np.zeros(len(samples), np.int32),
        partitions=(Partition(stream, samples[0][0].source, 0),),
        positions={},
        origin=lambda message: samples[message][0],
    )
    now = SystemClock().now()
    joining = pairing(spec.encoding, config.limits)
    if joining is not None:
        messages = joining.take(messages, now)
    try:
        read = decoder.predictions if stream == "predictions" else decoder.labels
        decoded = read(messages, now)
    except ObserverError as error:  # a schema registry that does not answer
        yield Line("failed", subject, str(error))
        return
    yield from _decoded(config, subject, decoded, references)


def _decoded(
    config: Config, subject: str, decoded: Decoded, references: Mapping[str, Reference]
) -> Iterator[Line]:
    yield from _accepted(config, subject, decoded, references)
    if decoded.rejected:
        first = decoded.rejected[0]
        why = f"{first.origin}: {first.reason}: {first.detail}"
        good = decoded.predictions or decoded.labels
        told = f"{len(decoded.rejected)} of a sample would be rejected; {why}"
        yield Line("warning" if good else "failed", subject, told)


def _accepted(
    config: Config, subject: str, decoded: Decoded, references: Mapping[str, Reference]
) -> Iterator[Line]:
    batches: list[Predictions | Labels] = [*decoded.predictions, *decoded.labels]
    for batch in batches:
        said = f"{len(batch)} decoded of model {batch.model}, the last {_told(batch)}"
        if batch.model not in config.models and not config.learn_unknown:
            known = ", ".join(config.models) or "none"
            yield Line("failed", subject, f"{said}; the configuration does not name the model, only: {known}")
            continue
        if batch.model not in config.models:
            said += "; the model is not configured, so the defaults hold"
        reference = references.get(batch.model if batch.model in config.models else "")
        if isinstance(batch, Labels) or reference is None:
            yield Line("ok", subject, said)
            continue
        wanted = set(reference.schema.features)
        missing, unknown = wanted - set(batch.features), set(batch.features) - wanted - set(reference.notes)
        unknown -= {name for name, wish in reference.privacy.items() if wish == "off"}
        parts = [f"{len(wanted) - len(missing)} of {len(wanted)} features of its reference found"]
        parts += [f"missing: {_some(missing)}"] * bool(missing) + [f"not in it: {_some(unknown)}"] * bool(
            unknown
        )
        advice = "; build the reference anew, or correct the events" if missing or unknown else ""
        status: Status = "failed" if wanted and missing == wanted else "warning" if missing else "ok"
        yield Line(status, subject, f"{said}; {'; '.join(parts)}{advice}")


def _told(batch: Predictions | Labels) -> str:
    """The last event of a batch, in short."""
    column, what = (batch.label, "label") if isinstance(batch, Labels) else (batch.prediction, "prediction")
    if isinstance(column, Numbers):
        value = f"{column.values[-1]:g}"
    else:
        code = column.codes[-1]
        value = column.names[code] if code >= 0 else "none"
    return f"of {timestamp(int(batch.time[-1]))}: {what} {value}"


def _some(names: set[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")


# What acts


def _targets(config: Config) -> Iterator[Line]:
    """Every target and Alertmanager: reached, asked what may be done, and left as it is."""
    for name, spec in config.targets.items():
        subject = f"targets.{name}"
        rollouts = [model.rollout for model in config.models.values() if model.rollout is not None]
        shadows = [one.shadow.percent for one in rollouts if one.target == name and one.shadow is not None]
        try:
            target = targets(config, name)[name]
            problems = (
                target.check(max(shadows, default=0)) if isinstance(target, TrafficTarget) else target.check()
            )
        except ObserverError as error:  # an extra that is not installed
            problems = [str(error)]
        yield from (Line("failed", subject, problem) for problem in problems)
        if not problems:
            yield Line("ok", subject, f"{spec.type}: found nothing that would stop it")
    if config.alertmanager is not None:
        away = Alertmanagers(config.alertmanager).check()
        yield from (Line("failed", "alertmanager", problem) for problem in away)
        if not away:
            members = len(config.alertmanager.urls)
            yield Line(
                "ok", "alertmanager", f"{members} member{'s' * (members > 1)} answer{'s' * (members == 1)}"
            )


# This machine


def _history(config: Config) -> Line:
    try:
        with closing(Database(config.history.address(config.state.path))) as database:
            return Line("ok", "history", database.look())
    except ObserverError as error:
        return Line("failed", "history", str(error))


def _state(path: Path, max_size: int) -> Line:
    if not path.exists():
        above = next(parent for parent in path.absolute().parents if parent.exists())
        if not _can_write(above):
            return Line("failed", "state", f"{path} cannot be made: {above} may not be written to")
        free = shutil.disk_usage(above).free
        return Line("ok", "state", f"{path} will be made; {free / 1e9:,.1f} GB free")
    if not path.is_dir():
        return Line("failed", "state", f"{path} is not a folder; give another path")
    if not _can_write(path):
        return Line("failed", "state", f"{path} may not be written to")
    if (path / "data.mdb").exists():
        try:
            LmdbState(path, max_size).close()
        except ObserverError as error:
            return Line("failed", "state", str(error))
    free = shutil.disk_usage(path).free
    size = sum(file.stat().st_size for file in path.iterdir() if file.is_file())
    return Line(
        "ok", "state", f"{path}: {size / 1e6:,.1f} MB held, {free / 1e9:,.1f} GB free, nobody else uses it"
    )


def _can_write(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.absolute().parent
    return os.access(folder, os.W_OK | os.X_OK)


def _port(host: str, port: int) -> Line:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]
        return Line("failed", "http", f"{host}:{port}: {why}; choose another host or port under http:")
    return Line("ok", "http", f"{host}:{port} is free" if port else f"a free port of {host} will be taken")
