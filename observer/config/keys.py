"""What the configuration accepts, key by key; for messages, the reference page and the JSON Schema."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, HttpUrl, IPvAnyNetwork, Secret, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from observer.config.schema import Config, StreamConfig
from observer.windows import duration, milliseconds

ANY = "*"
"""In a path: any name, or any place in a list."""

Place = tuple[str, ...]
_MAPPINGS = (dict, Mapping)
_FORMS = {
    "detectors": "list of names, or of mappings with `type` and parameters",
    "online": "list of names, or of mappings with `type` and parameters",
    "encoding": "name of an encoding, or mapping",
    "models": "mapping of names to mappings, or list of names",
}
"""What types cannot say: the file may be shorter."""
_BOUNDS = {
    "ge": "at least",
    "gt": "above",
    "le": "at most",
    "lt": "below",
    "min_length": "at least",
    "max_length": "at most",
}
_PATTERNS = {
    r"^([^=]+=.*)?$": "as in `country=DE`",
    "^https?://": "beginning with http:// or https://",
    r"^[a-zA-Z0-9._-]{1,249}$": "of letters, digits, `.`, `_` and `-`, at most 249",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file.

    Attributes
    ----------
    path : tuple of str
        Names from the top, `ANY` where a name is free.
    field : FieldInfo
        What pydantic knows of it.
    variant : str
        The `type` of the mapping that has this key, where mappings of several types may stand; else "".
    meaning : str
        One or two sentences.
    owner : str
        The class that has the field.
    """

    path: Place
    field: FieldInfo
    variant: str
    meaning: str
    owner: str

    @property
    def is_duration(self) -> bool:
        """Whether the value is a length of time."""
        return any(getattr(mark, "func", None) is milliseconds for mark in self.field.metadata)

    @property
    def is_secret(self) -> bool:
        """Whether values may be secrets."""
        return any(part is SecretStr or get_origin(part) is Secret for part in _parts(self.field.annotation))

    @property
    def accepted(self) -> str:
        """What may stand there, in words."""
        if self.path[-1] == "type":
            return ", ".join(variants(self.path[:-1])) or _words(self.field.annotation)
        if self.path[-1] in _FORMS:
            return _FORMS[self.path[-1]]
        kind = "duration" if self.is_duration else _words(self.field.annotation)
        return ", ".join([kind, *self._bounds(self.field.metadata)])

    @property
    def accepted_inside(self) -> str:
        """What may stand for one value of a list or of a mapping of names."""
        parts = _alternatives(self.field.annotation)
        parts = [part for part in parts if get_origin(part) in (*_MAPPINGS, tuple)]
        if not parts:
            return "nothing"
        inside = get_args(parts[0])[get_origin(parts[0]) in _MAPPINGS]
        stated = getattr(inside, "__metadata__", ())
        marks = [mark for one in stated for mark in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return ", ".join([_words(inside), *self._bounds(marks)])

    @property
    def default(self) -> str:
        """The default in YAML; "" where there is none."""
        value = self.field.default
        if self.path[-1] == "type" or value is None or value is PydanticUndefined:
            return ""
        if isinstance(value, BaseModel | SecretStr | dict | tuple):
            return ""
        if self.is_duration:
            return duration(value)
        return str(value).lower() if isinstance(value, bool) else str(value)

    def _bounds(self, marks: Iterable[Any]) -> Iterator[str]:
        for mark in marks:
            for name, words in _BOUNDS.items():
                bound = getattr(mark, name, None)
                if bound == 1 and name == "min_length":
                    yield "not empty"
                elif bound is not None:
                    yield f"{words} {duration(bound) if self.is_duration else bound}"
            if pattern := getattr(mark, "pattern", None):
                yield _PATTERNS.get(pattern, f"as in `{pattern}`")


@cache
def keys() -> tuple[Key, ...]:
    """Every key, in the order of the file; of a key that several types have, one each."""
    return tuple(_walk(Config, (), ""))


def find(path: Place, variant: str = "") -> Key | None:
    """The key at a path of the file; `variant` is the `type` given beside it, if any."""
    fitting = [key for key in keys() if _fits(key.path, path)]
    return next((key for key in fitting if key.variant in ("", variant)), next(iter(fitting), None))


def children(path: Place, variant: str = "") -> list[str]:
    """Names that may stand below a path, for the `type` given there; all types' if none of them is."""
    below = [key for key in keys() if len(key.path) == len(path) + 1 and _fits(key.path[:-1], path)]
    known = {key.variant for key in below}
    return list(
        dict.fromkeys(
            key.path[-1]
            for key in below
            if key.path[-1] != ANY and (variant not in known or key.variant in ("", variant))
        )
    )


def variants(path: Place) -> list[str]:
    """The values of `type` that a mapping at `path` may have."""
    tags = (key.variant for key in keys() if key.path[-1] == "type" and _fits(key.path[:-1], path))
    return list(dict.fromkeys(filter(None, tags)))


def places(name: str) -> list[str]:
    """Where a key of that name is accepted: mappings, as paths."""
    found = dict.fromkeys(".".join(key.path[:-1]) for key in keys() if key.path[-1] == name)
    return [place or "the top of the file" for place in found]


def _fits(pattern: Place, path: Place) -> bool:
    return len(pattern) == len(path) and all(p in (ANY, q) for p, q in zip(pattern, path, strict=True))


def _walk(model: type[BaseModel], at: Place, variant: str) -> Iterator[Key]:
    told = {"type": "Which kind it is."} | meanings(model)
    for name, field in model.model_fields.items():
        if issubclass(model, StreamConfig) and name == "source":
            yield from _below(field.annotation, at)
            continue
        path = (*at, name)
        meaning = told.get(name) or field.description or _first_line(field.annotation)
        yield Key(path, field, variant, meaning, model.__name__)
        if name not in {"detectors", "online"}:
            yield from _below(field.annotation, path)


def _below(annotation: Any, at: Place) -> Iterator[Key]:
    parts = _alternatives(annotation)
    models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    for model in models:
        tag = model.model_fields["type"].default if len(models) > 1 else ""
        yield from _walk(model, at, tag)
    for part in parts:
        if get_origin(part) in (*_MAPPINGS, tuple):
            yield from _below(get_args(part)[-1 if get_origin(part) in _MAPPINGS else 0], (*at, ANY))


def _first_line(annotation: Any) -> str:
    """What the class of a mapping says of itself."""
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return (part.__doc__ or "").partition("\n")[0]
    return ""


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union, without what annotates them."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [one for part in get_args(annotation) for one in _alternatives(part)]
    return [annotation]


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


_NAMES: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    SecretStr: "text, secret",
    Path: "path",
    HttpUrl: "address, as in http://host:8080",
    IPvAnyNetwork: "network, as 10.0.0.0/8",
    type(None): "null",
}


def _words(annotation: Any) -> str:
    told: list[str] = []
    for part in _alternatives(annotation):
        if get_origin(part) is Literal:
            told += [f"`{value}`" for value in get_args(part)]
        elif get_origin(part) in _MAPPINGS:
            told.append(f"mapping of names to {_many(get_args(part)[1])}")
        elif get_origin(part) is Secret:
            told.append("mapping of settings")
        elif get_origin(part) is tuple:
            told.append(f"list of {_many(get_args(part)[0])}")
        elif isinstance(part, type) and issubclass(part, BaseModel):
            told.append("mapping")
        else:
            told.append(_NAMES.get(part, "value"))
    told = list(dict.fromkeys(told))
    if "null" in told and len(told) > 1:
        told.remove("null")
    return " or ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _many(annotation: Any) -> str:
    words = _words(annotation)
    return re.sub(r"^(mapping|text|path|number|network)(?=$| of |, as )", r"\1s", words)


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Field -> what it means: the text below its declaration, or its entry under "Attributes"."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__[:-1]):
        if issubclass(base, BaseModel) and base is not BaseModel:
            found |= _attributes(inspect.getdoc(base) or "") | _below_fields(base)
    return found


def _below_fields(model: type[BaseModel]) -> dict[str, str]:
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found: dict[str, str] = {}
    for statement, following in zip(body, body[1:], strict=False):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def _attributes(docstring: str) -> dict[str, str]:
    """The entries of a numpy-style section; an entry may name several attributes."""
    _, _, section = docstring.partition("Attributes\n----------\n")
    entries = re.findall(r"^(\w[\w, ]*?)(?: *:.*)?\n((?:^(?: +.*)?(?:\n|\Z))+)", section, re.MULTILINE)
    return {name.strip(): " ".join(text.split()) for names, text in entries for name in names.split(",")}
