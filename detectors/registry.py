"""Detectors of one family by name: those built in, and third parties' from an entry-point group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import entry_points
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, Union

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from detectors.base import DetectorError

SpecT = TypeVar("SpecT", bound=BaseModel)
Parameter: TypeAlias = Any
"""Checked against the detector's own fields."""
SpecUnion: TypeAlias = Any
"""A type, but one made at run time."""


class Registry(Generic[SpecT]):
    """One family of detectors.

    A plugin's distribution declares, under the family's entry-point group, a name and a class of parameters
    whose `type` is that name. It is loaded when it is first asked for; one that cannot be loaded is reported
    by `problems` and stops nothing.

    Parameters
    ----------
    group : str
        Of entry points.
    built_in : sequence
        Classes of parameters.
    refused : callable
        What a class that a plugin gives lacks, in words; "" for nothing.
    """

    def __init__(
        self, group: str, built_in: Sequence[type[SpecT]], refused: Callable[[type[object]], str]
    ) -> None:
        self.group = group
        self.built_in = tuple(built_in)
        self._refused = refused
        self._types = {spec.model_fields["type"].default: spec for spec in built_in}

    @cached_property
    def _plugins(self) -> tuple[dict[str, type[SpecT]], list[str]]:
        found: dict[str, type[SpecT]] = {}
        wrong = []
        for point in entry_points(group=self.group):
            try:
                if point.name in self._types or point.name in found:
                    raise DetectorError("the name is taken")
                found[point.name] = self._accepted(point.name, point.load())
            except Exception as error:  # a plugin may fail in any way, and must stop nothing
                told = f"{type(error).__name__}: {error}"
                wrong.append(f"detector plugin {point.name!r} ({point.value}): {told}")
        return found, wrong

    def _accepted(self, name: str, loaded: Any) -> type[SpecT]:
        refused = self._refused(loaded) if isinstance(loaded, type) else "is not a class"
        if not refused and loaded.model_fields["type"].default != name:
            refused = f"needs `type` to default to {name!r}"
        if refused:
            msg = f"{loaded!r} {refused}"
            raise DetectorError(msg)
        accepted: type[SpecT] = loaded
        return accepted

    def forget(self) -> None:
        """Look for plugins again when next asked."""
        self.__dict__.pop("_plugins", None)

    def problems(self) -> list[str]:
        """Why plugins could not be loaded, one line each."""
        return list(self._plugins[1])

    def all(self) -> dict[str, type[SpecT]]:
        """Every class of parameters, by name."""
        return {**self._plugins[0], **self._types}

    def find(self, name: str) -> type[SpecT]:
        """The detector's class. Raises `DetectorError`, naming the choices, when there is none."""
        spec = self._types.get(name) or self._plugins[0].get(name)
        if spec is None:
            known = sorted(self.all())
            close = get_close_matches(name, known, n=1)
            hint = f", did you mean {close[0]!r}? Accepted: " if close else "; accepted: "
            broken = "".join(f"; {line}" for line in self.problems())
            msg = f"unknown detector {name!r}{hint}{', '.join(known)}{broken}"
            raise DetectorError(msg)
        return spec

    def build(self, name: str, **params: Parameter) -> SpecT:
        """The detector with these parameters. Raises `DetectorError` with everything that is wrong."""
        spec = self.find(name)
        try:
            return spec.model_validate({"type": name, **params})
        except ValidationError as error:
            lines = []
            for problem in error.errors():
                key = ".".join(map(str, problem["loc"]))
                if not key:  # of the detector itself
                    lines.append(f"detector {name!r}: {problem['msg'].removeprefix('Value error, ')}")
                elif problem["type"] == "extra_forbidden":
                    accepted = ", ".join(sorted(set(spec.model_fields) - {"type"}))
                    lines.append(f"detector {name!r}: unknown parameter {key!r}; accepted: {accepted}")
                else:
                    lines.append(f"detector {name!r}: {key}={problem['input']!r}: {problem['msg']}")
            raise DetectorError("\n".join(lines)) from error

    def spec_type(self) -> SpecUnion:
        """The union of all detectors' parameters, tagged by `type`, for a pydantic field."""
        specs = tuple(self.all().values())
        return Annotated[Union[specs], Field(discriminator="type")]  # noqa: UP007 - the union is built at run time

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of one configured detector."""
        return TypeAdapter(self.spec_type()).json_schema()
