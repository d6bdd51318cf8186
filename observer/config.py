"""The configuration: one YAML file, every problem reported at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from observer.codecs import AutoSpec, CodecSpec, Limits
from observer.errors import ConfigError
from observer.judge import JudgeSpec
from observer.pipeline.spec import ModelSpec
from observer.sources.files import FilesSpec
from observer.sources.kafka import KafkaSpec
from observer.stores.lmdb import StateSpec
from observer.windows import Milliseconds

SourceSpec = Annotated[KafkaSpec | FilesSpec, Field(discriminator="type")]


class StreamConfig(BaseModel):
    """Where events of one kind come from and how they are encoded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: SourceSpec
    encoding: CodecSpec = AutoSpec()
    """By default each message tells by its first byte whether it is JSON, Arrow or Avro."""


class LabelConfig(StreamConfig):
    """The stream of labels, and how long a prediction waits for its own."""

    horizon: Annotated[Milliseconds, Field(ge=1_000)] = 7 * 86_400_000
    """A label joins its prediction when it is dated at most this much later (or earlier)."""


class ModelConfig(ModelSpec):
    """How one model is watched and judged."""

    judge: JudgeSpec = JudgeSpec()


class HttpConfig(BaseModel):
    """The web server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464


class CapsConfig(BaseModel):
    """The most series that windows and cohorts may export."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    total: Annotated[int, Field(ge=100)] = 50_000
    per_metric: Annotated[int, Field(ge=100)] = 20_000
    per_model: Annotated[int, Field(ge=100)] = 20_000


class Config(BaseModel):
    """Everything the service is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    predictions: StreamConfig
    labels: LabelConfig | None = None
    """Without it drift is watched, but no quality."""
    models: dict[Annotated[str, Field(min_length=1, max_length=200)], ModelConfig] = {}
    defaults: ModelConfig = ModelConfig()
    """What models say that do not say otherwise, unknown ones included."""
    learn_unknown: bool = True
    """Watch models that `models` does not name; else their events are rejected."""
    limits: Limits = Limits()
    state: StateSpec = StateSpec(path=Path("observer-state"))
    http: HttpConfig = HttpConfig()
    series: CapsConfig = CapsConfig()
    checkpoint_every: Annotated[Milliseconds, Field(ge=100)] = 10_000
    idle_after: Annotated[Milliseconds, Field(ge=0)] = 60_000
    """A partition that was read to its end and is silent for so long holds no window open."""
    hash_key: SecretStr = SecretStr("")
    """Secret with which category names of features under `privacy: hash` are hashed."""
    dead_letters_file: Path = Path("observer.dead.ndjson")
    """Where rejected events of file sources go; those of Kafka go to `<topic>.dead`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def model(self, name: str) -> ModelConfig:
        """What holds for a model, named or not."""
        return self.models.get(name, self.defaults)


_STREAM_KEYS = ("encoding", "horizon")
_REFERENCE = re.compile(r"\$\{([^}]*)\}")


class _Loader(yaml.SafeLoader):
    """Refuses a key given twice, of which plain YAML would silently drop one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise ConfigError([f"line {line}: key {key!r} is given twice"])
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read a configuration file. Raises `ConfigError` with every problem: key, value, what is accepted."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    return parse(text, str(path), os.environ if environment is None else environment)


def parse(text: str, name: str, environment: Mapping[str, str]) -> Config:
    """A configuration from YAML text; `name` stands in messages."""
    try:
        raw = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader that refuses more
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}: not YAML: {' '.join(str(error).split())}"]) from error
    except ConfigError as error:
        raise ConfigError([f"{name}: {problem}" for problem in error.problems]) from error
    if not isinstance(raw, dict):
        found = "empty" if raw is None else f"a {type(raw).__name__}"
        raise ConfigError([f"{name}: the file is {found}; accepted: a mapping that begins with predictions:"])
    problems: list[str] = []
    resolved = _resolve(raw, (), environment, problems)
    if problems:  # values that are missing would only raise further complaints
        raise ConfigError([f"{name}: {problem}" for problem in problems])
    try:
        return Config.model_validate(_shaped(resolved))
    except ValidationError as error:
        found_problems = list(dict.fromkeys(_explain(problem) for problem in error.errors()))
        raise ConfigError([f"{name}: {problem}" for problem in found_problems]) from error


def _resolve(value: Any, where: tuple[str, ...], environment: Mapping[str, str], problems: list[str]) -> Any:
    """Replace `${NAME}` by the environment's value and `${file:PATH}` by a file's content."""
    if isinstance(value, dict):
        return {key: _resolve(item, (*where, str(key)), environment, problems) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, (*where, str(i)), environment, problems) for i, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        key = ".".join(where)
        if name.startswith("file:"):
            try:
                return Path(name[5:]).read_text().rstrip("\n")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{key}: {match[0]}: the file cannot be read: {error}")
                return ""
        if name not in environment:
            problems.append(f"{key}: {match[0]}: the environment variable {name} is not set")
            return ""
        return environment[name]

    return _REFERENCE.sub(replace, value)


def _merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}
    return over


def _shaped(raw: dict[str, Any]) -> dict[str, Any]:
    """The file's shape as the schema's: source keys beside the stream's own, models over the defaults."""
    out = dict(raw)
    for stream in ("predictions", "labels"):
        if isinstance(out.get(stream), dict):
            flat = out[stream]
            own = {key: flat[key] for key in _STREAM_KEYS if key in flat}
            if isinstance(own.get("encoding"), str):
                own["encoding"] = {"type": own["encoding"]}
            source = {key: value for key, value in flat.items() if key not in _STREAM_KEYS}
            out[stream] = {**own, "source": source}
    models, defaults = out.get("models"), out.get("defaults")
    if isinstance(models, list):  # names alone will do
        models = {name: {} for name in models if isinstance(name, str)}
    if isinstance(models, dict) and isinstance(defaults, dict | None):
        out["models"] = {name: _merged(defaults or {}, {} if m is None else m) for name, m in models.items()}
    return out


_TAGS = {"kafka", "files", "json", "arrow", "avro", "auto"}


def _explain(problem: Any) -> str:
    """One problem as a person reads it: key, value, what is accepted."""
    loc: Sequence[object] = problem["loc"]
    path: list[str] = []
    for i, step in enumerate(loc):
        hidden = step == "source" and i == 1
        tag = step in _TAGS and i > 1 and loc[i - 1] in ("source", "encoding")
        union = (
            isinstance(step, str)
            and i > 0
            and (step == "LearnSpec" or "[" in step or step == "lax-or-strict")
        )
        if not (hidden or tag or union):
            path.append(str(step))
    key = ".".join(path) or "the file"
    kind, message = problem["type"], problem["msg"]
    if kind == "missing":
        return f"{key}: is missing; {_hint(key)}"
    if kind == "extra_forbidden":
        return f"{key}: unknown key; accepted here: {', '.join(_accepted(path[:-1]))}"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        accepted = problem.get("ctx", {}).get("expected_tags", "'kafka', 'files'")
        return f"{key}.type: says which kind it is; accepted: {accepted.replace(chr(39), '')}"
    message = message.removeprefix("Value error, ")
    value = problem.get("input")
    shown = "" if isinstance(value, dict | list) or _secret(path) else f" (is {value!r:.80})"
    return f"{key}{shown}: {message}"


def _secret(path: list[str]) -> bool:
    return any(word in step for step in path for word in ("password", "secret", "key", "options", "token"))


def _hint(key: str) -> str:
    hints = {
        "predictions": "where predictions come from, such as {type: kafka, brokers: host:9092, topic: name}",
        "predictions.type": "accepted: kafka, files",
    }
    return hints.get(key, "a value is needed")


def _accepted(path: list[str]) -> list[str]:
    """Keys that may stand at `path`, found by walking the schema."""
    found: Any = Config
    for step in path:
        found = _step(found, step)
    return sorted(_fields(found))


def _models(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for part in get_args(kind) for model in _models(part)]


def _step(kind: Any, step: str) -> Any:
    for model in _models(kind):
        if issubclass(model, StreamConfig) and step not in model.model_fields:
            return _step(model.model_fields["source"].annotation, step)
        if step in model.model_fields:
            return model.model_fields[step].annotation
    return kind  # the key of a mapping: its values are of the same kind


def _fields(kind: Any) -> set[str]:
    names: set[str] = set()
    for model in _models(kind):
        own = set(model.model_fields)
        if issubclass(model, StreamConfig):
            own = own - {"source"} | _fields(model.model_fields["source"].annotation)
        names |= own
    return names
