"""Every key of the configuration: the rooms' Specs, put together as the file has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    HttpUrl,
    IPvAnyNetwork,
    JsonValue,
    Secret,
    SecretStr,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema

from detectors.evidence.alarm import Budget
from observer.actions.rollout_spec import RolloutSpec
from observer.actions.spec import ActionsSpec
from observer.actions.targets import RETRAINS, SHADOWS, TargetSpec, kind_of
from observer.codecs import AutoSpec, CodecSpec, Limits, SeldonTopicsSpec
from observer.exporters.alertmanager import AlertmanagerSpec
from observer.judge import Attention, JudgeSpec
from observer.model import Stream
from observer.pipeline.spec import FeatureSpec, LearnSpec, ModelSpec
from observer.segments import OTHER
from observer.slo import ObjectiveSpec
from observer.sources.batch.spec import FeastLabelsSpec, TableSpec
from observer.sources.files import FilesSpec
from observer.sources.kafka import KafkaSpec
from observer.stores.history import HistorySpec
from observer.stores.lmdb import StateSpec
from observer.windows import Milliseconds

SourceSpec = Annotated[KafkaSpec | FilesSpec, Field(discriminator="type")]
LabelSourceSpec = Annotated[KafkaSpec | FilesSpec | TableSpec | FeastLabelsSpec, Field(discriminator="type")]


def _by_type(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _origin(value: object) -> str:
    return "learn" if isinstance(value, dict | LearnSpec) else "file"


ObjectiveName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamConfig(_Section):
    """Where events of one kind come from and how they are encoded.

    In the file the keys of the source stand beside the others.
    """

    source: LabelSourceSpec
    encoding: Annotated[CodecSpec, BeforeValidator(_by_type)] = AutoSpec()
    """How messages are encoded: a type alone, as in `encoding: json`, or a mapping. By default the first byte
    of each message tells."""

    @property
    def topics(self) -> tuple[KafkaSpec, ...]:
        """The Kafka topics that are read, a spec each; none for files."""
        if not isinstance(self.source, KafkaSpec):
            return ()
        return self.source.each(
            (".inputs", ".outputs") if isinstance(self.encoding, SeldonTopicsSpec) else ("",)
        )

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: object) -> object:
        if not isinstance(data, dict) or isinstance(data.get("source"), BaseModel):
            return data
        own = {key: data[key] for key in cls.model_fields if key in data and key != "source"}
        return {**own, "source": {key: value for key, value in data.items() if key not in own}}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        own = dict(schema["properties"])
        encodings = own["encoding"]["discriminator"]["mapping"]
        own["encoding"] = {"anyOf": [{"enum": list(encodings)}, own["encoding"]]}
        kinds = [handler.resolve_ref_schema(kind) for kind in own.pop("source")["oneOf"]]
        whole = [
            {
                **kind,
                "properties": {**kind["properties"], **own},
                "required": ["type", *kind.get("required", ())],
            }
            for kind in kinds
        ]
        for key in set(schema) - {"title", "description"}:
            del schema[key]
        schema["oneOf"] = whole
        return schema

    @model_serializer(mode="wrap")
    def _spread(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped: dict[str, Any] = dump(self)
        source = dumped.pop("source", {})
        return {**source, **dumped}


class PredictionConfig(StreamConfig):
    """The stream of predictions, which never comes in tables."""

    source: SourceSpec


class LabelConfig(StreamConfig):
    """The stream of labels, and how long a prediction waits for its own."""

    horizon: Annotated[Milliseconds, Field(ge=1_000)] = 7 * 86_400_000
    """A label joins its prediction when it is dated at most this much later (or earlier)."""


class FeatureConfig(FeatureSpec, Attention):
    """What a person says of one feature, and how it is watched."""


class ModelConfig(ModelSpec):
    """How one model is watched and judged."""

    false_pages_per_month: Annotated[float, Field(gt=0, le=1_000)] = 1.0
    """Pages in 30 days without a change that the model may cause, all versions, segments and features
    together."""
    false_tickets_per_month: Annotated[float, Field(gt=0, le=10_000)] = 4.0
    """The same for tickets, which wait for working hours."""
    features: Mapping[str, FeatureConfig] = {}
    """What is said of single features, by name."""
    reference: Annotated[
        Annotated[Path, Tag("file")] | Annotated[LearnSpec, Tag("learn")], Discriminator(_origin)
    ] = LearnSpec()
    """A file that `observer reference build` made (`{version}` in its path: one per version); or `windows`
    and `rows`: how to learn one from live traffic."""
    judge: JudgeSpec = JudgeSpec()
    """What counts as drift."""
    actions: ActionsSpec = ActionsSpec()
    """What is done about findings, and what guards that."""
    rollout: RolloutSpec | None = None
    """How a new version meets the one that serves."""
    owner: Annotated[str, Field(max_length=100)] = ""
    """Who is called when it alerts: a label of every alert about the model."""
    objectives: Annotated[Mapping[ObjectiveName, ObjectiveSpec], Field(max_length=20)] = {}
    """Service level objectives, by name."""

    @model_validator(mode="after")
    def _meaningful(self) -> Self:
        if wrong := self.wrong_objectives():
            raise ValueError("\n".join(wrong))
        return self

    def wrong_objectives(self) -> list[str]:
        """What is wrong with objectives that another model might have."""
        known = {spec.dimension: spec.names({}) for spec in self.segments}
        wrong = []
        for name, spec in self.objectives.items():
            kind, (dimension, _, value) = spec.indicator.type, spec.segment.partition("=")
            if dimension and dimension not in known:
                told = ", ".join(sorted(known)) or "none, since the model has no segments"
                wrong.append(f"objectives.{name}.segment: no dimension {dimension!r}; accepted: {told}")
            elif dimension and known[dimension] and value not in (*known[dimension], OTHER):
                told = ", ".join((*known[dimension], OTHER))
                wrong.append(f"objectives.{name}.segment: no {value!r} of {dimension}; accepted: {told}")
            wrong += [
                f"objectives.{name}.{selector}: not with {spec.indicator.words}; leave it out"
                for selector in spec.meaningless
            ]
            if (self.task == "regression" and kind == "correct") or (
                self.task in ("binary", "multiclass") and kind == "error_within"
            ):
                wrong.append(f"objectives.{name}.indicator: {kind} is not for a {self.task} model")
        return wrong

    @property
    def budget(self) -> Budget:
        """The false alarms that the model may cause."""
        return Budget(
            alpha=self.judge.bound_alpha,
            false_pages_per_month=self.false_pages_per_month,
            false_tickets_per_month=self.false_tickets_per_month,
        )


class HttpConfig(_Section):
    """The web server: the page, its API, `/metrics`, `/healthz`, `/readyz`."""

    host: str = "127.0.0.1"
    """Address to listen on; `0.0.0.0` for every IPv4 address of the machine, `::` for every IPv6 one."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    """0 takes a free one, which the log names."""
    url: HttpUrl | None = None
    """How people reach the page, for links in alerts, as https://observer.example."""
    token: SecretStr = SecretStr("")
    """What requests that act (accept a reference, close an incident) must bear; without one none may."""
    read_token: SecretStr = SecretStr("")
    """What requests that read the page or the API must bear; without one all may. `token` will do too."""
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Whose `X-Forwarded-For` is believed: it says whom a wrong token counts for."""


def _targets(models: Mapping[str, ModelConfig], targets: Mapping[str, TargetSpec]) -> list[str]:
    """What is wrong with the targets that models name, a line each."""
    wrong = []
    moved_by: dict[str, str] = {}
    for name, model in models.items():
        wanted = [
            (
                f"models.{name}.actions.rules {rule.name}",
                rule.target,
                "traffic" if rule.do == "rollback" else "retrain",
            )
            for rule in model.actions.rules
            if rule.target
        ]
        if model.rollout is None:
            wrong += [
                f"models.{name}.actions.rules {rule.name}: {rule.do}; accepted: with models.{name}.rollout"
                for rule in model.actions.rules
                if not rule.target
            ]
        if model.rollout is not None:
            wanted.append((f"models.{name}.rollout", model.rollout.target, "traffic"))
        for where, target, kind in wanted:
            fitting = [known for known, spec in targets.items() if kind_of(spec) == kind]
            if target not in fitting:
                accepted = ", ".join(fitting) or f"none yet: `targets` names none for {kind}"
                wrong.append(f"{where}: target {target!r}; accepted: {accepted}")
        rollout = model.rollout
        if rollout is None or rollout.target not in targets:
            continue
        if (other := moved_by.setdefault(rollout.target, name)) != name:
            what = f"target {rollout.target!r} is moved by the rollouts of {other} already"
            wrong.append(f"models.{name}.rollout.target: {what}; accepted: a target of its own")
        wrong += [f"models.{name}.{one}" for one in _divided(model, rollout, targets[rollout.target].type)]
    return wrong


def _divided(model: ModelConfig, rollout: RolloutSpec, type_: str) -> list[str]:
    """What a traffic target of this type cannot do of what a rollout asks for."""
    if type_ in RETRAINS:
        return []
    wrong = []
    if rollout.shadow is not None and type_ not in SHADOWS:
        what = f"target {rollout.target!r} is of type {type_}, which cannot copy requests"
        accepted = f"a target of type {', '.join(sorted(SHADOWS))}, or a rollout without `shadow`"
        wrong.append(f"rollout.shadow: {what}; accepted: {accepted}")
    percents = [("rollout.steps", step) for step in rollout.steps]
    percents.append(("actions.guards.largest_step", model.actions.guards.largest_step))
    needs = f"accepted: whole percents, which is what target {rollout.target!r} takes"
    return wrong + [f"{key}: {value:g}; {needs}" for key, value in percents if value != int(value)]


class CapsConfig(_Section):
    """The most series that windows and cohorts may export."""

    total: Annotated[int, Field(ge=100)] = 50_000
    """Of everything."""
    per_metric: Annotated[int, Field(ge=100)] = 20_000
    """Of one metric; counters too."""
    per_model: Annotated[int, Field(ge=100)] = 20_000
    """Of one model."""


class Config(_Section):
    """Everything the service is told."""

    predictions: PredictionConfig
    """Where prediction events come from."""
    labels: LabelConfig | None = None
    """Where label events come from; without it drift is watched, but no quality."""
    models: dict[Annotated[str, Field(min_length=1, max_length=200)], ModelConfig] = {}
    """What is known of each model, by name, over `defaults`; or only a list of names."""
    defaults: ModelConfig = ModelConfig()
    """What holds for a model where `models` does not say otherwise; for unknown models too."""
    learn_unknown: bool = True
    """Watch models that `models` does not name; else their events are rejected."""
    limits: Limits = Limits()
    """What one message and one model may cost."""
    openslo: Annotated[tuple[Path, ...], Field(max_length=100)] = ()
    """Files of OpenSLO v1 documents: more objectives. The service of an SLO is a model."""
    state: StateSpec = StateSpec(path=Path("observer-state"))
    """Where the service keeps what it must not lose."""
    history: HistorySpec = HistorySpec()
    """Past results, for the page and its API."""
    http: HttpConfig = HttpConfig()
    """The web server."""
    targets: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")], TargetSpec] = {}
    """Where models are retrained and traffic is divided, by names that rules use."""
    alertmanager: AlertmanagerSpec | None = None
    """Where waiting and running actions are shown, and people answer with silences."""
    storage: dict[str, Secret[dict[str, JsonValue]]] = {}
    """Settings of fsspec's file systems by the protocol of URLs, such as `s3`: keys, endpoints. What is left
    out is found as the protocol's package finds it, in the environment say."""
    series: CapsConfig = CapsConfig()
    """The most time series that windows and cohorts may export."""
    checkpoint_every: Annotated[Milliseconds, Field(ge=100)] = 10_000
    """How often the state is saved; after a crash at most this much is read again."""
    idle_after: Annotated[Milliseconds, Field(ge=0)] = 60_000
    """A partition that was read to its end and is silent for so long holds no window open."""
    hash_key: SecretStr = SecretStr("")
    """Secret with which category names of features under `privacy: hash` are hashed."""
    dead_letters_file: Path = Path("observer-dead/rejected.ndjson")
    """Where rejected events of file sources go, the name with `predictions-` or `labels-` before it; those of
    Kafka go to `dead_letters` of their stream."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged, to standard error."""
    log_format: Literal["text", "json"] = "text"
    """A line of text for each entry, or an object of JSON; decisions have their facts as fields."""

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, data: object) -> object:
        return settled(data) if isinstance(data, dict) else data

    @model_validator(mode="after")
    def _known_targets(self) -> Self:
        wrong = _targets(self.models, self.targets)
        if self.learn_unknown and self.defaults.rollout is not None:
            what = f"any model that an event names would move target {self.defaults.rollout.target!r}"
            accepted = "a rollout under models.<name>, or learn_unknown: false"
            wrong.append(f"defaults.rollout: {what}; accepted: {accepted}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        schema = handler.resolve_ref_schema(handler(core_schema))
        models = schema["properties"]["models"]
        named = models.pop("additionalProperties")
        models["additionalProperties"] = {"anyOf": [named, {"type": "null"}]}
        listed = {"type": "array", "items": {"type": "string"}}
        schema["properties"]["models"] = {"anyOf": [models, listed]}
        return schema

    def dead_letters_path(self, stream: Stream) -> Path:
        """The file for rejected events of a file source."""
        return self.dead_letters_file.with_name(f"{stream}-{self.dead_letters_file.name}")

    def model(self, name: str) -> ModelConfig:
        """What holds for a model, named or not."""
        return self.models.get(name, self.defaults)


def settled(data: dict[str, Any]) -> dict[str, Any]:
    """The file's mapping without sections left empty, a list of models as a mapping, models over defaults."""
    out = {key: value for key, value in data.items() if value is not None}
    models, defaults = out.get("models"), out.get("defaults", {})
    if isinstance(models, list) and all(isinstance(name, str | int) for name in models):
        models = dict.fromkeys(map(str, models))
    if isinstance(models, dict):
        filled = {name: {} if model is None else model for name, model in models.items()}
        out["models"] = {name: _merged(defaults, model) for name, model in filled.items()}
    return out


def _merged(base: Any, over: Any) -> Any:
    """Mappings key by key, all the way down; anything else as `over` has it."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}
    return over
