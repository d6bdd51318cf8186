"""The YAML file as it was written: values, the line of every key, and references to secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Place = tuple[str, ...]
"""Keys and list positions from the top."""

_MERGE, _TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
_TRUTH, _WHOLE, _REAL = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_CHANGED = {_TRUTH, _WHOLE, "tag:yaml.org,2002:timestamp"}
_REFERENCE = re.compile(r"\$(\$?)\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(slots=True)
class Document:
    """One file.

    Attributes
    ----------
    data : dict
        Values, references replaced.
    lines : mapping
        Place -> line, counted from 1.
    written : mapping
        Place -> the text in the file, of values that hold references: what may be shown of them.
    unresolved : set of Place
        Values whose references point nowhere.
    problems : list of (Place, str)
        What is wrong so far.
    """

    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Place, int] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)
    unresolved: set[Place] = field(default_factory=set)
    problems: list[tuple[Place, str]] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of the key, or of the nearest one around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 0)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's scalars: `no`, `off`, dates, `12:30` and `007` are texts, `1e-3` is a number."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared so by yaml
        first: [(tag, pattern) for tag, pattern in found if tag not in _CHANGED]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _tag, _pattern, _first in (
    (_TRUTH, "true|True|TRUE|false|False|FALSE", "tTfF"),
    (_WHOLE, "[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (_REAL, r"[-+]?[0-9][0-9_]*(?:\.[0-9]*)?[eE][-+]?[0-9]+", "-+0123456789"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))


def read(text: str, environment: Mapping[str, str], folder: Path) -> Document:
    """Read YAML text; files of `${file:...}` lie in `folder`. Raises `yaml.YAMLError`."""
    document = Document()
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is not None:
            _survey(node, (), document, ())
        data = None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()
    if isinstance(data, dict):
        document.data = _resolve(data, (), document, environment, folder)
    else:
        found = "empty" if data is None else "a list" if isinstance(data, list) else "a text"
        document.problems.append(((), f"the file is {found}; accepted: a mapping that has predictions:"))
    return document


def _survey(node: yaml.Node, place: Place, document: Document, above: tuple[yaml.Node, ...]) -> None:
    """Note lines, find keys given twice (plain YAML would drop one), and make every key a text."""
    if node in above:
        raise yaml.constructor.ConstructorError(None, None, "an alias holds itself", node.start_mark)
    document.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _survey(item, (*place, str(number)), document, (*above, node))
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a text", key.start_mark)
        if key.tag == _MERGE:
            continue
        key.tag = _TEXT
        line = key.start_mark.line + 1
        if key.value in seen:
            first = document.lines[*place, key.value]
            lines = f" in line {line}" if line == first else f", in line {first} and in line {line}"
            document.problems.append(((*place, key.value), f"is given twice{lines}"))
        else:
            document.lines[*place, key.value] = line
        seen.add(key.value)
        _survey(value, (*place, key.value), document, (*above, node))


def _resolve(
    value: Any, place: Place, document: Document, environment: Mapping[str, str], folder: Path
) -> Any:
    """Replace `${NAME}` by the environment's value, `${file:PATH}` by a file's text, `$${` by `${`."""
    if isinstance(value, dict):
        return {k: _resolve(v, (*place, k), document, environment, folder) for k, v in value.items()}
    if isinstance(value, list):
        numbered = enumerate(value)
        return [_resolve(item, (*place, str(i)), document, environment, folder) for i, item in numbered]
    if not isinstance(value, str) or "${" not in value:
        return value
    document.written[place] = value

    def replace(match: re.Match[str]) -> str:
        escape, name, end = match.groups()
        if escape:
            return match[0][1:]
        try:
            return _lookup(name if end else "", environment, folder)
        except LookupError as error:
            document.problems.append((place, f"{match[0]}: {error.args[0]}"))
            document.unresolved.add(place)
            return ""

    return _REFERENCE.sub(replace, value)


def _lookup(name: str, environment: Mapping[str, str], folder: Path) -> str:
    if name.startswith("file:"):
        path = folder / Path(name[5:]).expanduser()
        try:
            return path.read_text("utf-8").rstrip("\r\n")
        except OSError as error:
            raise LookupError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise LookupError(f"{path} is not a text in UTF-8") from error
    if not _VARIABLE.fullmatch(name):
        raise LookupError("accepted: ${NAME} of an environment variable, or ${file:PATH}; ${ itself is $${")
    if name not in environment:
        raise LookupError(f"the environment variable {name} is not set")
    return environment[name]


def syntax(error: yaml.YAMLError) -> Iterator[str]:
    """What is wrong with the YAML, after the line if it is known."""
    if not isinstance(error, yaml.MarkedYAMLError):
        yield f" not YAML: {' '.join(str(error).split())}"
        return
    mark = error.problem_mark or error.context_mark
    said = error.problem or error.context or "cannot be read"
    if "'\\t'" in said:
        said = "a tab; YAML is indented with blanks"
    elif "mapping values are not allowed" in said:
        said = "a second ': ' in one line, or a key indented deeper than those above it"
    elif "but got '{'" in said:
        said += "; between { and } a text that holds ${...} needs quotes"
    yield f"{mark.line + 1}: not YAML: {said}" if mark else f" not YAML: {said}"
