"""Where `observer reference build` reads: files, object storage, a range of a topic, Feast."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from observer.errors import ConfigError, Permanent

if TYPE_CHECKING:
    from observer.config import Config
    from observer.model import FeatureType
    from observer.sources.kafka.range import Bound
    from observer.sources.log import EventLog
    from observer.sources.storage import Storage
    from observer.training import Roles, Rows


@dataclass(frozen=True, slots=True)
class Origin:
    """What the command line says of where the rows are; one of source, topic and repository.

    Attributes
    ----------
    source : str or None
        Path, URL or glob.
    start, end : str or None
        Of the topic that the configuration names.
    dataset, features, service, entities
        What is taken from the Feast repository.
    """

    source: str | None = None
    topic: bool = False
    start: str | None = None
    end: str | None = None
    repo: Path | None = None
    python: Path | None = None
    dataset: str | None = None
    features: tuple[str, ...] = ()
    service: str | None = None
    entities: str | None = None

    def problems(self) -> list[str]:
        """What does not go together."""
        chosen = [name for name, is_it in self._choices().items() if is_it]
        if len(chosen) != 1:
            told = f"given: {', '.join(chosen)}" if chosen else "none of them is given"
            return [f"accepted: one of SOURCE, --topic and --feast; {told}"]
        found = []
        if not self.topic and (self.start or self.end):
            found.append("--from and --to go with --topic")
        of_feast = {
            "--dataset": self.dataset,
            "--feature": self.features,
            "--service": self.service,
            "--entities": self.entities,
        }
        given = [option for option, value in of_feast.items() if value]
        if self.repo is None and given:
            found.append(f"{', '.join(given)}: accepted with --feast")
        elif self.repo is not None and given not in (
            ["--dataset"],
            ["--feature", "--entities"],
            ["--service", "--entities"],
        ):
            found.append(
                "--feast: accepted with --dataset, or with --entities and either --feature or --service"
                f"; given: {', '.join(given) or 'nothing'}"
            )
        return found

    def _choices(self) -> dict[str, bool]:
        return {"SOURCE": self.source is not None, "--topic": self.topic, "--feast": self.repo is not None}


@dataclass(frozen=True, slots=True)
class Given:
    """Rows, and what is known of them beside.

    Attributes
    ----------
    name : str
        What people call where they are from.
    log : EventLog or None
        To be read again, if they are events.
    types : mapping
        What the feature store declares features to be.
    """

    name: str
    rows: Rows
    log: EventLog | None = None
    types: Mapping[str, FeatureType] = field(default_factory=dict)


@contextmanager
def given_rows(origin: Origin, model: str, roles: Roles, config: Config | None) -> Iterator[Given]:
    """The rows; what they are read from is there until the end."""
    from observer.sources.storage import Storage

    if problems := origin.problems():
        raise ConfigError(problems)
    storage = Storage(None if config is None else config.storage)
    with TemporaryDirectory(prefix="observer-build-") as scratch:
        if origin.topic:
            yield _of_topic(origin, model, roles, config)
        elif origin.source is not None:
            yield _of_files(origin.source, model, roles, storage, Path(scratch))
        else:
            yield _of_feast(origin, model, roles, storage, Path(scratch))


def local(place: str, storage: Storage, folder: Path) -> tuple[str, str]:
    """A path or glob on this machine for a path or URL, and what people call it."""
    from observer.sources.storage import is_url, shown

    if not is_url(place):
        return place, place
    folder.mkdir(exist_ok=True)
    return storage.fetch(place, folder), shown(place)


def _of_files(source: str, model: str, roles: Roles, storage: Storage, scratch: Path) -> Given:
    from observer.sources.log import of_files
    from observer.training import read

    pattern, name = local(source, storage, scratch / "rows")
    rows = read(pattern, model, roles, name=name)
    return Given(name, rows, of_files(pattern, "predictions", name) if rows.timed else None)


def _of_topic(origin: Origin, model: str, roles: Roles, config: Config | None) -> Given:
    from observer.sources.kafka import KafkaSpec
    from observer.sources.log import of_topic
    from observer.training import read_log

    if config is None or not isinstance(config.predictions.source, KafkaSpec):
        raise ConfigError(["--topic: accepted with a configuration whose `predictions` are in Kafka"])
    if told := ", ".join(roles.named()):
        raise ConfigError([f"--topic: events say what their members are; leave out {told}"])
    spec, encoding = config.predictions.source, config.predictions.encoding
    bounds = _bound("--from", origin.start), _bound("--to", origin.end)
    log = of_topic(spec, encoding, "predictions", *bounds)
    rows = read_log(log, model)
    return Given(log.name, rows, log)


def _bound(option: str, text: str | None) -> Bound:
    from observer.sources.kafka import bound
    from observer.sources.kafka.range import ACCEPTED

    try:
        return None if text is None else bound(text)
    except ValueError:
        raise ConfigError([f"{option}: {text!r}; accepted: {ACCEPTED}"]) from None


def _of_feast(origin: Origin, model: str, roles: Roles, storage: Storage, scratch: Path) -> Given:
    from observer.sources.feast import Feast, FeastRepo
    from observer.training import read

    assert origin.repo is not None  # noqa: S101 - that is why we are here
    spec = (
        FeastRepo(repo=origin.repo)
        if origin.python is None
        else FeastRepo(repo=origin.repo, python=origin.python)
    )
    with Feast(spec) as feast:
        if origin.dataset is not None:
            name = f"Feast dataset {origin.dataset}"
            answer = feast.dataset(origin.dataset)
        else:
            name = f"Feast features of {origin.entities}"
            entities = scratch / "entities.arrow"
            _write_entities(str(origin.entities), storage, scratch, entities)
            answer = feast.historical(entities, list(origin.features), origin.service or "")
        columns = _columns(answer.path)
        own = {value for option, value in roles.named().items() if not option.startswith("--drop")}
        drop = [key for key in answer.keys if key in columns and key not in own]
        roles = replace(roles, drop=tuple(dict.fromkeys((*roles.drop, *drop))))
        rows = read(answer.path, model, roles, name=name)
    return Given(name, rows, None, {key: kind for key, kind in answer.types.items() if key in rows.columns})


def _columns(path: Path) -> list[str]:
    from observer.training.files import names

    return names(path)


def _write_entities(place: str, storage: Storage, scratch: Path, out: Path) -> None:
    import pyarrow as pa

    from observer.sources.files import find
    from observer.training.files import tables

    pattern, name = local(place, storage, scratch / "entities")
    try:
        parts = [part for path in find(pattern) for part in tables(path)]
        whole = [part if isinstance(part, pa.Table) else pa.Table.from_batches([part]) for part in parts]
        table = pa.concat_tables(whole, promote_options="default")
        with pa.OSFile(str(out), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    except (OSError, ValueError, pa.ArrowException) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise Permanent(f"{name}: cannot be read: {said}") from error
