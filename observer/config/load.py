"""From a YAML file to a `Config`, or to everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from observer.codecs import InferenceSpec, SeldonTopicsSpec
from observer.config.document import Document, Place, read, syntax
from observer.config.problems import explain
from observer.config.schema import Config, StreamConfig, settled
from observer.errors import ConfigError
from observer.model import Stream
from observer.slo import openslo
from observer.sources.batch.spec import TableSpec
from observer.sources.files import FilesSpec
from observer.sources.kafka.spec import KafkaSecurity, KafkaSpec
from observer.sources.storage import is_url

_PATHS: dict[type[BaseModel], set[str]] = {
    FilesSpec: {"path"},
    TableSpec: {"path"},
    KafkaSecurity: {"ca", "cert", "key"},
}
"""Fields that hold a path as text; a URL among them stays."""


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read a configuration file.

    Relative paths in it, those of `${file:...}` included, begin at its folder.

    Raises
    ------
    ConfigError
        With every problem: line, key, value, and what is accepted.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not a text in UTF-8"]) from error
    return parse(text, str(path), os.environ if environment is None else environment, path.parent)


def parse(text: str, name: str, environment: Mapping[str, str], folder: Path = Path()) -> Config:
    """A configuration from YAML text; `name` stands in messages, relative paths begin at `folder`."""
    try:
        document = read(text, environment, folder)
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}:{problem}" for problem in syntax(error)]) from error
    problems = document.problems
    if document.data:
        config, found = _validate(document)
        problems = [*problems, *found]
        if config is not None and not problems:
            return _with_openslo(cast("Config", anchored(config, folder)))
    ordered = sorted(problems, key=lambda problem: (document.line(problem[0]), problem[0]))
    raise ConfigError([_line(name, document, place, message) for place, message in ordered])


def _validate(document: Document) -> tuple[Config | None, list[tuple[Place, str]]]:
    data = settled(document.data)
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        return None, list(explain(error.errors(include_url=False), document, data))
    return config, [*_readable(config), *_feedback(config)]


def _with_openslo(config: Config) -> Config:
    """The configuration with the objectives of its OpenSLO files."""
    if not config.openslo:
        return config
    models, problems = dict(config.models), []
    for model, objectives in openslo.read(
        config.openslo, lambda model: config.model(model).window.size
    ).items():
        spec = config.model(model)
        twice = sorted(objectives.keys() & spec.objectives.keys())
        problems += [f"openslo: {model}.{name} is an objective of models.{model} too" for name in twice]
        models[model] = spec.model_copy(update={"objectives": {**spec.objectives, **objectives}})
        problems += [f"openslo: {model}: {wrong}" for wrong in models[model].wrong_objectives()]
    if problems:
        raise ConfigError(problems)
    return config.model_copy(update={"models": models})


def _readable(config: Config) -> Iterator[tuple[Place, str]]:
    """Encodings that are not for every stream, nor for every source."""
    if isinstance(config.predictions.encoding, SeldonTopicsSpec) and not config.predictions.topics:
        told = "'seldon' needs the keys and headers of messages; accepted: type kafka"
        yield ("predictions", "encoding"), told
    if config.labels is not None and isinstance(config.labels.encoding, InferenceSpec):
        told = f"{config.labels.encoding.type!r} holds no labels; accepted: json, arrow, avro, auto"
        yield ("labels", "encoding"), told


def _feedback(config: Config) -> Iterator[tuple[Place, str]]:
    """Streams must feed neither each other nor, by what they reject, themselves."""
    streams: dict[Stream, StreamConfig | None] = {"predictions": config.predictions, "labels": config.labels}
    sources = {stream: spec.source for stream, spec in streams.items() if spec is not None}
    for stream, source in sources.items():
        letters = config.dead_letters_path(stream)
        if isinstance(source, FilesSpec) and _matches(letters.parts, Path(source.path).parts):
            told = f"{source.path!r} finds {letters} too, where rejected events go"
            yield (stream, "path"), f"{told}; accepted: files apart from it"
    another = "is read as predictions too; accepted: another"
    match sources.get("predictions"), sources.get("labels"):
        case FilesSpec() as one, FilesSpec() as other if one.path == other.path:
            yield ("labels", "path"), f"{one.path!r} {another} path"
        case KafkaSpec() as one, KafkaSpec() as other if one.brokers == other.brokers:
            if both := set(one.topics) & set(other.topics):
                yield ("labels", "topic"), f"{min(both)!r} {another} topic"
                return
            if one.dead_letters in other.topics:
                told = f"{one.dead_letters!r} is read as labels; accepted: another topic"
                yield ("predictions", "dead_letters"), told
            if other.dead_letters in one.topics:
                yield ("labels", "dead_letters"), f"{other.dead_letters!r} {another} topic"


def _matches(path: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a glob finds a path."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(_matches(path[start:], pattern[1:]) for start in range(len(path)))
    return bool(path) and fnmatchcase(path[0], pattern[0]) and _matches(path[1:], pattern[1:])


def _line(name: str, document: Document, place: Place, message: str) -> str:
    line = document.line(place)
    where = f"{name}:{line}" if line and place else name
    key = ".".join(step or "''" for step in place)
    return f"{where}: {key}: {message}" if key else f"{where}: {message}"


def anchored(value: Any, folder: Path) -> Any:
    """The value, or the Spec and all below it, with relative paths beginning at `folder`."""
    if isinstance(value, Path):
        return folder / value.expanduser()
    if isinstance(value, tuple):
        return tuple(anchored(item, folder) for item in value)
    if isinstance(value, dict):
        return {key: anchored(item, folder) for key, item in value.items()}
    if not isinstance(value, BaseModel):
        return value
    changed: dict[str, Any] = {}
    for name in type(value).model_fields:
        old = getattr(value, name)
        is_path = old is not None and name in _PATHS.get(type(value), ()) and not is_url(str(old))
        new = str(anchored(Path(old), folder)) if is_path else anchored(old, folder)
        if new != old:
            changed[name] = new
    return value.model_copy(update=changed) if changed else value
