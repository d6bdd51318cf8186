"""The composition root: a configuration becomes a running service."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version

from detectors.adapters import process as workers
from observer.acting import Acting, wanted
from observer.clock import passed
from observer.codecs import Codec, InferenceSpec, codec, pairing
from observer.config import Config, StreamConfig
from observer.config.schema import LabelSourceSpec
from observer.engines.local import LocalEngine, Pace
from observer.engines.orders import Orders
from observer.errors import Permanent
from observer.exporters.decisions import DecisionLog
from observer.exporters.objectives import add_objective
from observer.exporters.prometheus import PrometheusExporter
from observer.exporters.reports import GaugeReports
from observer.judge import ModelJudge
from observer.labels import LabelJoin
from observer.metrics import Caps, Counters, Values, catalog
from observer.model import QualityReport, ReferenceState, Rejected, Schema, Stream, WindowReport
from observer.pipeline.monitor import Monitor
from observer.pipeline.pipeline import Pipeline
from observer.ports import Clock, DeadLetters, Reports, Source
from observer.slo import Objectives, Wanted
from observer.sources.batch import BatchSource, reader
from observer.sources.files import FileDeadLetters, FileSource, FilesSpec
from observer.sources.kafka import KafkaDeadLetters, KafkaSource, KafkaSpec, SeveralTopics
from observer.sources.storage import Storage
from observer.stores.history.keeper import Keeper
from observer.stores.lmdb import LmdbState
from observer.web.api import Heartbeat, Past, create_app
from observer.web.server import Server

log = logging.getLogger(__name__)

_STUCK_AFTER = 60.0


class Service:
    """Everything that runs, built from a configuration; a context manager that frees it.

    Parameters
    ----------
    sources, dead_letters : mapping
        Instead of those that the configuration names; for the demo.
    reports : sequence
        Further receivers of results, beside the metrics.
    act_by : Clock, optional
        The time that actions and rollouts go by, where that is not the clock's: event time, in the demo.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        sources: Mapping[Stream, Source] | None = None,
        dead_letters: Mapping[Stream, DeadLetters] | None = None,
        reports: Sequence[Reports] = (),
        pace: Pace | None = None,
        serve: bool = True,
        act_by: Clock | None = None,
    ) -> None:
        self.config = config
        self.clock = clock
        self.counters = Counters(config.series.per_metric)
        horizon = config.labels.horizon if config.labels else 0
        self._gauges = GaugeReports(Caps(**config.series.model_dump()), horizon=horizon)
        self._close = ExitStack()
        self._started = clock.now()
        self._close.callback(workers.close)
        try:
            self.state = LmdbState(config.state.path, config.state.max_size)
            self._close.callback(self.state.close)
            self.sources = dict(sources) if sources is not None else _sources(config, self.state, clock)
            for source in self.sources.values():
                self._close.callback(source.close)
            self._dead_letters = dict(dead_letters) if dead_letters is not None else _dead_letters(config)
            for letters in self._dead_letters.values():
                self._close.callback(letters.close)
            self.join = _join(config, self.state)
            self.pairing = pairing(config.predictions.encoding, config.limits, self.state)
            self.objectives = Objectives(self._wanted, self.state, self.counters)
            self.history: Keeper | None = None
            if serve:
                self.history = Keeper(config.history, config.state.path, clock.now, self._objectives)
                self._close.callback(self.history.close)
                reports = (*reports, self.history.reports)
            self.acting: Acting | None = None
            if self.history is not None and wanted(config):
                self.acting = Acting(
                    config,
                    self.history.database,
                    self.counters,
                    lambda: self.objectives.latest,
                    clock.now if act_by is None else act_by.now,
                    every=(pace or Pace()).act_every,
                    base_url=str(config.http.url or "").rstrip("/"),
                    passed=passed if act_by is None else None,
                )
                self._close.callback(self.acting.close)
                reports = (*reports, self.acting.inbox)
            self._decisions = DecisionLog()
            self.pipeline = self._pipeline((self._gauges, self.objectives, self._decisions, *reports))
            self.exporter = PrometheusExporter(self.counters, self._live)
            heartbeat = Heartbeat(passed, _STUCK_AFTER)
            self._orders = Orders()
            self.engine = LocalEngine(
                self.pipeline,
                self.sources,
                clock,
                self.counters,
                self.publish,
                heartbeat.beat,
                pace or Pace(checkpoint_every=config.checkpoint_every / 1000),
                self._orders,
            )
            self.server: Server | None = None
            if serve:
                token = config.http.token.get_secret_value()
                read = config.http.read_token.get_secret_value()
                app = create_app(
                    self.exporter.render,
                    heartbeat,
                    self._ready,
                    clock,
                    self,
                    token,
                    self._past(),
                    read,
                    self.acting,
                )
                trusted = [str(network) for network in config.http.trusted_proxies]
                self.server = Server(app, config.http.host, config.http.port, trusted)
                self.server.start()
                self._close.callback(self.server.stop)
        except BaseException:
            self._close.close()
            raise

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()

    def run(self, stopping: Callable[[], bool]) -> None:
        """Work until told to stop, or until the sources end."""
        self.engine.run(stopping)

    # What people decide

    def accept(self, model: str, version: str, since: int | None) -> str:
        """Make what a version's windows show from `since` (milliseconds) on its new reference."""

        def order() -> str:
            reference = self.pipeline.accept(model, version, since)
            return f"{model} {version}: reference {reference.version}, {reference.description}"

        return self._orders.give(order)

    def close(self, model: str, version: str) -> str:
        """End a version's incidents; a change that lasts pages again."""

        def order() -> str:
            closed = self.pipeline.close_incidents(model, version)
            return f"{model} {version}: {closed} incident{'s' * (closed != 1)} closed"

        return self._orders.give(order)

    def _pipeline(self, reports: Sequence[Reports]) -> Pipeline:
        config, horizon = self.config, self.config.labels.horizon if self.config.labels else 0
        unknown = (config.defaults,) if config.learn_unknown else ()
        slack = max((model.window.lateness for model in (*config.models.values(), *unknown)), default=0)
        judges: dict[str, ModelJudge] = {}

        def judge(model: str) -> ModelJudge:
            if model not in judges:
                spec = config.model(model)
                judges[model] = ModelJudge(
                    model,
                    spec.judge,
                    spec.budget,
                    spec.window.size,
                    spec.features,
                    self.state,
                    has_labels=config.labels is not None,
                )
            return judges[model]

        def monitor(model: str) -> Monitor:
            return Monitor(
                model,
                config.model(model),
                self.state,
                self.join,
                has_labels=config.labels is not None,
                slack=slack,
                objectives=self.objectives.of(model),
                hash_key=config.hash_key.get_secret_value().encode(),
            )

        return Pipeline(
            monitor=monitor,
            models=tuple(config.models),
            codecs=self._codec,
            judges=judge,
            state=self.state,
            pairing=self.pairing,
            join=self.join,
            horizon=horizon,
            slack=slack,
            has_labels=config.labels is not None,
            dead_letters=self._dead_letters,
            reports=_Each(reports),
            objectives=self.objectives,
            counters=self.counters,
            idle_after=config.idle_after / 1000,
            now=self._started,
        )

    def _wanted(self, model: str) -> Wanted:
        spec = self.config.model(model)
        return Wanted(spec.objectives, spec.window.size)

    def _objectives(self, model: str) -> set[tuple[str, ...]]:
        every = self.config.model(model).objectives.items()
        return {(name, spec.version or "", spec.arm or "", spec.segment) for name, spec in every}

    def _codec(self, stream: Stream, schemas: Mapping[str, Schema]) -> Codec:
        config = self.config
        known = {name: s for name, s in schemas.items() if config.learn_unknown or name in config.models}
        room = config.limits.max_models - len(known.keys() - config.models.keys())
        limits = config.limits.model_copy(update={"max_models": max(room, 0)})
        return codec(_stream(config, stream).encoding, known, limits, learn_unknown=config.learn_unknown)

    # What is seen from outside

    def publish(self) -> None:
        """Make the results so far visible to the next scrape."""
        service = Values()
        now = self.clock.now()
        for stream, watermarks in self.pipeline.watermarks.items():
            watermark = watermarks.current(now)
            if watermark is not None and not watermarks.finished:
                service.set(catalog.WATERMARK, (stream,), watermark / 1000)
                service.set(catalog.WATERMARK_DELAY, (stream,), now - watermark / 1000)
        for name, monitor in self.pipeline.monitors.items():
            service.set(catalog.WINDOWS_OPEN, (name,), len(monitor.inputs.open))
            if self.config.labels is not None:
                maturity = monitor.maturity(self.config.labels.horizon)
                service.set(catalog.LABEL_MATURITY, (name,), maturity / 1000)
            for version_name in monitor.watched:
                reference = monitor.references.get(version_name)
                learner = monitor.learners.get(version_name)
                where = (name, version_name)
                rows = reference.summary.n if reference else len(learner.sample) if learner else 0
                service.set(catalog.REFERENCE_ROWS, where, rows)
                service.set(catalog.REFERENCE_LEARNING, where, reference is None)
                service.set(catalog.REFERENCE_FAILED, where, version_name in monitor.failed)
                if reference is not None:
                    service.set(catalog.REFERENCE_INFO, (*where, reference.version), 1)
        if self.pairing is not None:
            service.set(catalog.HALVES_WAITING, (), len(self.pairing))
            service.set(catalog.HALVES_WAITING_BYTES, (), self.pairing.bytes)
        if self.join is not None:
            pending = self.join.pending()
            service.set(catalog.JOINS_PENDING, ("prediction",), pending.predictions)
            service.set(catalog.JOINS_PENDING, ("label",), pending.labels)
        event_time = self.pipeline.event_time(now)
        if event_time is not None:
            self.objectives.advance(event_time)
        self.objectives.look(now)
        standings = self.objectives.standing()
        for standing in standings:
            add_objective(service, standing)
        self._decisions.objectives(standings)
        self._decisions.rejections(self.counters.read(), now)
        if self.history is not None:
            self.history.know(self._references(), standings, event_time)
        service.set(catalog.CHECKPOINT_NUMBER, (), self.pipeline.checkpoint_number)
        service.set(catalog.BUILD_INFO, (version("ml-observer"), platform.python_version()), 1)
        if self.acting is not None:
            self.acting.publish(service)
        self.exporter.publish(self._gauges.snapshot(service))

    def _past(self) -> Past | None:
        if self.history is None:
            return None
        return Past(self.history.reader, self.history.problems, version("ml-observer"))

    def _references(self) -> Iterator[ReferenceState]:
        for name, monitor in self.pipeline.monitors.items():
            for key in monitor.watched:
                reference, learner = monitor.references.get(key), monitor.learners.get(key)
                if reference is not None:
                    yield ReferenceState(
                        name, key, reference.version, reference.summary.n, reference.description
                    )
                else:
                    yield ReferenceState(name, key, "", len(learner.sample) if learner else 0, "")

    def _live(self) -> Values:
        """Gauges of the moment of the scrape."""
        values = Values()
        since = self.engine.last_checkpoint or self._started
        values.set(catalog.CHECKPOINT_AGE, (), max(self.clock.now() - since, 0.0))
        for stream, source in self.sources.items():
            for partition, messages in source.lag().items():
                values.set(catalog.SOURCE_LAG, (stream, partition.source, str(partition.number)), messages)
        if self.history is not None:
            kept = self.history.reports
            values.set(catalog.RECORDS_WRITTEN, (), kept.counts["written"])
            for reason in ("full", "refused"):
                values.set(catalog.RECORDS_DROPPED, (reason,), kept.counts[reason])
            values.set(catalog.RECORDS_WAITING, (), kept.waiting)
            values.set(catalog.HISTORY_UP, (), not kept.problem)
        return values

    def _ready(self) -> tuple[bool, Sequence[str]]:
        reasons = [] if self.engine.last_checkpoint else ["no checkpoint since the start yet"]
        for name, monitor in list(self.pipeline.monitors.items()):  # (the loop may add to either meanwhile)
            reasons += [f"model {name}, version {key}: {why}" for key, why in list(monitor.failed.items())]
        well = not reasons
        if self.acting is not None and self.acting.loop.problem:
            reasons.append(f"actions wait: {self.acting.loop.problem}")
        return well, [*reasons, *(self.history.problems() if self.history else ())]


class _Each:
    """Gives every result to several receivers."""

    def __init__(self, receivers: Sequence[Reports]) -> None:
        self._receivers = receivers

    def window(self, report: WindowReport) -> None:
        for receiver in self._receivers:
            receiver.window(report)

    def quality(self, report: QualityReport) -> None:
        for receiver in self._receivers:
            receiver.quality(report)


class NoDeadLetters:
    """For sources whose rejected events are counted only."""

    @property
    def full(self) -> bool:
        """Never."""
        return False

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Let them go."""

    def flush(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""


def _stream(config: Config, stream: Stream) -> StreamConfig:
    if stream == "predictions":
        return config.predictions
    if config.labels is None:
        raise Permanent("no labels are configured")
    return config.labels


def _streams(config: Config) -> dict[Stream, StreamConfig]:
    streams: dict[Stream, StreamConfig] = {"predictions": config.predictions}
    if config.labels is not None:
        streams["labels"] = config.labels
    return streams


def _sources(config: Config, state: LmdbState, clock: Clock) -> dict[Stream, Source]:
    return {stream: _source(config, stream, spec, state, clock) for stream, spec in _streams(config).items()}


def _source(config: Config, stream: Stream, spec: StreamConfig, state: LmdbState, clock: Clock) -> Source:
    source: LabelSourceSpec = spec.source
    if isinstance(source, FilesSpec):
        return FileSource(source, stream)
    if isinstance(source, KafkaSpec):
        whole = isinstance(spec.encoding, InferenceSpec)
        topics = [KafkaSource(topic, stream, envelopes=whole) for topic in spec.topics]
        return topics[0] if len(topics) == 1 else SeveralTopics(topics)
    tables = reader(source, Storage(config.storage))
    return BatchSource(tables, stream, state, clock.now, every=source.every, look_back=source.look_back)


def _dead_letters(config: Config) -> dict[Stream, DeadLetters]:
    letters: dict[Stream, DeadLetters] = {}
    for stream, spec in _streams(config).items():
        if not isinstance(spec.source, KafkaSpec):
            letters[stream] = FileDeadLetters(config.dead_letters_path(stream))
        elif spec.source.dead_letters is None:
            letters[stream] = NoDeadLetters()
        else:
            letters[stream] = KafkaDeadLetters(spec.source)
    return letters


def _join(config: Config, state: LmdbState) -> LabelJoin | None:
    """One join for all models: where labels come, or where some model wants duplicates left out."""
    if config.labels is not None:
        return LabelJoin(state, config.labels.horizon)
    wanted = (config.defaults, *config.models.values())
    if any(model.deduplicate for model in wanted):
        return LabelJoin(state, 2 * max(model.window.size for model in wanted))
    return None
