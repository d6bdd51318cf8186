"""The mapping file: which tensors are a model's features, prediction, scores, id and version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from observer.errors import ConfigError

_CELL = re.compile(r"(.+?)(?:\[(\d{1,6})\])?", re.DOTALL)
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One column of a tensor; as text `tensor` or `tensor[2]`."""

    tensor: str
    column: int | None = None
    """None for a tensor with one value a row."""

    def __str__(self) -> str:
        return self.tensor if self.column is None else f"{self.tensor}[{self.column}]"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A class by a score: the second from `least` on, else the first."""

    cell: Cell
    least: float
    classes: tuple[str, ...] = ("0", "1")


@dataclass(frozen=True, slots=True)
class Argmax:
    """The class whose cell is greatest; of equal ones the first."""

    tensor: str
    classes: tuple[str, ...] = ()
    """Names of the columns; their numbers if not given."""


@dataclass(frozen=True, slots=True)
class ModelMapping:
    """What is what in the tensors of one model.

    Attributes
    ----------
    features : mapping
        Name -> cell of an input.
    prediction : Cell, Threshold or Argmax
        Of an output.
    scores : Cell, mapping of Cell, or None
        Of outputs: the positive class's, or one a class.
    id, version : Cell or None
        Of an input, or else of an output. None for the request's id, and the version that the response names.
    constant_version : str
        For models that never name one.
    tags : mapping
        Name -> cell of an input, or else of an output.
    """

    features: Mapping[str, Cell]
    prediction: Cell | Threshold | Argmax
    scores: Cell | Mapping[str, Cell] | None = None
    id: Cell | None = None
    version: Cell | None = None
    constant_version: str = ""
    tags: Mapping[str, Cell] = field(default_factory=dict)


Mappings = Mapping[str, ModelMapping]
"""By model: the InferenceService, or Seldon's pipeline."""


def load(path: Path) -> Mappings:
    """Read a mapping file.

    Raises
    ------
    ConfigError
        With every problem: line, key, and what is accepted.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not a text in UTF-8"]) from error
    return parse(text, str(path))


def parse(text: str, name: str) -> Mappings:
    """A mapping from YAML text; `name` stands in messages."""
    try:
        # Every scalar is a text: names such as `no` and `1` stay what they are.
        node = yaml.compose(text, yaml.BaseLoader)
        data = yaml.load(text, yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and mappings only
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}: not YAML: {' '.join(str(error).split())}"]) from error
    reading = _Reading()
    lines: dict[Place, int] = {}
    for place, line in _lines(node, ()) if node is not None else ():
        if place in lines:
            reading.problems.append((place, f"is given twice, in line {lines[place]} and in line {line}"))
        lines[place] = line
    found = reading.mappings(data)
    if not reading.problems:
        return found
    told = []
    for place, message in reading.problems:
        at = place
        while at and at not in lines:
            at = at[:-1]
        where = f"{name}:{lines[at]}" if at in lines and place else name
        told.append(f"{where}: {'.'.join(place)}: {message}" if place else f"{where}: {message}")
    raise ConfigError(told)


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            at = (*place, str(key.value))
            yield at, key.start_mark.line + 1
            yield from _lines(value, at)


class _Reading:
    """Reads what YAML gave, and notes every problem instead of ending at the first."""

    def __init__(self) -> None:
        self.problems: list[tuple[Place, str]] = []

    def mappings(self, data: object) -> Mappings:
        top = self._keys((), data, {"models"}, {"models"})
        models = self._keys(("models",), top["models"], None, set()) if "models" in top else {}
        if "models" in top and not models:
            self._wrong(("models",), "is empty; accepted: a mapping of models")
        return {str(name): self._model(("models", str(name)), model) for name, model in models.items()}

    def _model(self, place: Place, data: object) -> ModelMapping:
        known = {"features", "prediction", "scores", "id", "version", "tags"}
        given = self._keys(place, data, known, {"features", "prediction"})
        version, constant = given.get("version"), ""
        if isinstance(version, dict) and "constant" in version:
            constant = str(self._keys((*place, "version"), version, {"constant"}, set())["constant"])
            version = None
        scores = given.get("scores")
        by_class = isinstance(scores, dict) and not scores.keys() <= {"tensor", "column"}
        return ModelMapping(
            features=self._cells((*place, "features"), given.get("features")),
            prediction=self._prediction((*place, "prediction"), given.get("prediction")),
            scores=self._cells((*place, "scores"), scores)
            if by_class
            else self._optional((*place, "scores"), scores),
            id=self._optional((*place, "id"), given.get("id")),
            version=self._optional((*place, "version"), version),
            constant_version=constant,
            tags=self._cells((*place, "tags"), given.get("tags")),
        )

    def _prediction(self, place: Place, data: object) -> Cell | Threshold | Argmax:
        if isinstance(data, dict) and "argmax" in data:
            given = self._keys(place, data, {"argmax", "classes"}, set())
            tensor = given["argmax"]
            if not isinstance(tensor, str):
                self._wrong((*place, "argmax"), f"{_shown(tensor)}; accepted: name of a tensor")
            return Argmax(str(tensor), self._classes(place, given.get("classes", ()), 2, None))
        if isinstance(data, dict) and "threshold" in data:
            given = self._keys(place, data, {"threshold", "of", "classes"}, {"of"})
            least = self._number((*place, "threshold"), given["threshold"])
            classes = self._classes(place, given.get("classes", ["0", "1"]), 2, 2)
            return Threshold(self._cell((*place, "of"), given.get("of", "?")), least, classes)
        return Cell("?") if data is None else self._cell(place, data)  # missing, and told so

    def _number(self, place: Place, data: object) -> float:
        try:
            return float(str(data))
        except ValueError:
            self._wrong(place, f"{_shown(data)}; accepted: a number")
            return 0.0

    def _classes(self, place: Place, data: object, least: int, most: int | None) -> tuple[str, ...]:
        if data == ():
            return ()
        if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
            self._wrong((*place, "classes"), f"{_shown(data)}; accepted: a list of names")
            return ()
        names = tuple(data)
        if len(set(names)) != len(names) or len(names) < least or (most is not None and len(names) > most):
            wanted = f"{least} names" if most == least else f"at least {least} names"
            self._wrong((*place, "classes"), f"{len(names)} names; accepted: {wanted}, each once")
        return names

    def _cells(self, place: Place, data: object) -> dict[str, Cell]:
        if data is None:
            return {}
        return {
            str(name): self._cell((*place, str(name)), one) for name, one in self._keys(place, data).items()
        }

    def _optional(self, place: Place, data: object) -> Cell | None:
        return None if data is None else self._cell(place, data)

    def _cell(self, place: Place, data: object) -> Cell:
        if isinstance(data, dict):
            given = self._keys(place, data, {"tensor", "column"}, {"tensor"})
            column = given.get("column")
            if column is not None and not re.fullmatch(r"\d{1,6}", str(column)):
                self._wrong((*place, "column"), f"{_shown(column)}; accepted: a number from 0 on")
                column = None
            return Cell(str(given.get("tensor", "?")), None if column is None else int(column))
        if not isinstance(data, str) or not data:
            accepted = "name of a tensor, name[column], or {tensor: name, column: number}"
            self._wrong(place, f"{_shown(data)}; accepted: {accepted}")
            return Cell("?")
        match = _CELL.fullmatch(data)
        if match is None:
            return Cell(data)
        return Cell(match[1], None if match[2] is None else int(match[2]))

    def _keys(
        self,
        place: Place,
        data: object,
        known: set[str] | None = None,
        required: set[str] = frozenset(),  # type: ignore[assignment]  # never changed
    ) -> dict[Any, Any]:
        if not isinstance(data, dict):
            told = f"a mapping with {', '.join(sorted(known))}" if known else "a mapping"
            self._wrong(place, f"{_shown(data)}; accepted: {told}")
            return {}
        for key in data:
            if known is not None and key not in known:
                close = get_close_matches(str(key), known, n=1)
                hint = f"did you mean {close[0]}? " if close else ""
                accepted = ", ".join(sorted(known))
                self._wrong((*place, str(key)), f"unknown key; {hint}accepted here: {accepted}")
        for key in sorted(required - data.keys()):
            self._wrong((*place, key), "is missing")
        return data

    def _wrong(self, place: Place, message: str) -> None:
        self.problems.append((place, message))


def _shown(value: object) -> str:
    if value in (None, ""):
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    return f"{value!r:.80}"


def dump(mappings: Mappings) -> dict[str, Any]:
    """What a mapping file of these says, as YAML has it."""
    return {"models": {name: _dumped(one) for name, one in mappings.items()}}


def _dumped(one: ModelMapping) -> dict[str, Any]:
    out: dict[str, Any] = {"features": {name: _cell_told(cell) for name, cell in one.features.items()}}
    match one.prediction:
        case Cell() as cell:
            out["prediction"] = _cell_told(cell)
        case Threshold(cell, least, classes):
            out["prediction"] = {"threshold": least, "of": _cell_told(cell), "classes": list(classes)}
        case Argmax(tensor, classes):
            out["prediction"] = {"argmax": tensor} | ({"classes": list(classes)} if classes else {})
    if isinstance(one.scores, Cell):
        out["scores"] = _cell_told(one.scores)
    elif one.scores:
        out["scores"] = {name: _cell_told(cell) for name, cell in one.scores.items()}
    for name, found in (("id", one.id), ("version", one.version)):
        if found is not None:
            out[name] = _cell_told(found)
    if one.constant_version:
        out["version"] = {"constant": one.constant_version}
    if one.tags:
        out["tags"] = {name: _cell_told(cell) for name, cell in one.tags.items()}
    return out


def _cell_told(cell: Cell) -> str | dict[str, Any]:
    match = _CELL.fullmatch(cell.tensor)
    if cell.column is None and match is not None and match[2] is not None:
        return {"tensor": cell.tensor}  # a name that itself ends as a column does
    return str(cell)
