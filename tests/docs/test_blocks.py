"""Every block of code in the pages is what it claims to be; those of `sh` are run elsewhere."""

from __future__ import annotations

import json
import logging
import re
import shlex
import tomllib
from collections.abc import Iterator
from datetime import datetime
from itertools import dropwhile
from pathlib import Path
from textwrap import indent
from typing import Any

import click
import pytest
import yaml

from observer import logs
from observer.codecs import JsonSpec, codec
from observer.codecs.inference import mapping
from observer.config import parse
from observer.model import Schema
from tests.docs.pages import ACCEPTED, ROOT, Block, blocks, every, pages
from tests.services.peers import PACKAGES
from tests.unit.codecs.helpers import messages


def name(block: Block) -> str:
    return block.place


class Secrets(dict[str, str]):
    """An environment in which everything is set."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "secret"


STREAMS = {
    stream: f"{stream}: {{type: kafka, brokers: 'localhost:9092', topic: {stream}}}\n"
    for stream in ("predictions", "labels")
}


def configuration(block: Block) -> str:
    """A whole configuration around what the block shows."""
    text = block.text
    if block.action == "under":
        for step in reversed(block.rest.split(".")):
            text = f"{step}:\n{indent(text, '  ')}"
    missing = [line for stream, line in STREAMS.items() if not re.search(rf"^{stream}:", text, re.MULTILINE)]
    return text + "".join(missing)


CONFIGURATIONS = [
    block
    for block in every("yaml", "", "under", "file")
    if "observer" in block.rest or block.action != "file"
]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=name)
def test_configurations(block: Block, tmp_path: Path):
    (tmp_path / "objectives.yaml").write_text("")  # what `openslo` names
    parse(configuration(block), block.place, Secrets(), tmp_path)


@pytest.mark.parametrize("block", every("yaml", "mapping"), ids=name)
def test_mappings(block: Block):
    assert mapping.parse(block.text, block.place)


@pytest.mark.parametrize("block", every("yaml", "foreign"), ids=name)
def test_what_others_read_is_yaml(block: Block):
    assert block.rest, f"{block.place}: `foreign` must say whose it is"
    assert isinstance(yaml.safe_load(block.text), dict)


def objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:]


@pytest.mark.parametrize("block", every("json"), ids=name)
def test_events(block: Block):
    shown = list(objects(block.text))
    decode = codec(JsonSpec(), {one["model"]: Schema({}) for one in shown})
    for stream, kind in (("predictions", "prediction"), ("labels", "label")):
        events = [one for one in shown if kind in one]
        decoded = getattr(decode, stream)(messages(events), 2e9)
        assert [one.detail for one in decoded.rejected] == []
        assert decoded.spoiled_cells == decoded.dropped_cells == 0
        assert sum(map(len, getattr(decoded, stream))) == len(events)
    assert all("prediction" in one or "label" in one for one in shown)


@pytest.mark.parametrize("block", every("json", "samples"), ids=name)
def test_samples(block: Block, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from observer.cli.map import infer_command  # noqa: PLC0415 - it is slow to import

    path = tmp_path / "samples.ndjson"
    path.write_text(block.text)
    infer_command.main([str(path)], standalone_mode=False)
    assert mapping.parse(capsys.readouterr().out, block.place)


@pytest.mark.parametrize("block", every("json", "log"), ids=name)
def test_lines_of_the_log(block: Block):
    said = json.loads(block.text)
    time, level, logger, event = (said.pop(key) for key in ("time", "level", "logger", "event"))
    record = logging.makeLogRecord({"name": logger, "levelname": level.upper(), "msg": event, "fields": said})
    record.created = datetime.fromisoformat(time).timestamp()
    assert logs.Json().format(record) == block.text.strip()
    assert logs.Text().format(record) in pages()[block.place.partition(":")[0]].splitlines()


@pytest.mark.parametrize("block", every("toml"), ids=name)
def test_entry_points(block: Block):
    groups = tomllib.loads(block.text)["project"]["entry-points"]
    code = "".join(path.read_text("utf-8") for path in (ROOT / "detectors").glob("*.py"))
    assert all(f'"{group}"' in code for group in groups)


def commands(text: str) -> list[list[str]]:
    """Every `observer ...` of a script, as words."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|&;<>()"):
                command.append(word)
                continue
            words = list(dropwhile(lambda one: "=" in one, command))  # variables for one command
            if words[:1] == ["observer"]:
                found.append(words[1:])
            command = []
    return found


def accepts(words: list[str]) -> None:
    """Raise `click.UsageError` if the command line does not accept the words; nothing is run."""
    from observer.cli.group import group  # noqa: PLC0415 - it is slow to import

    command: click.Command = group
    context = click.Context(group, info_name="observer", **group.context_settings)
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = click.Context(command, info_name=command.name, parent=context)
    command.make_context(command.name, words, parent=context.parent)


@pytest.mark.parametrize("block", every("sh", "install"), ids=name)
def test_what_is_installed_is_declared(block: Block):
    """Extras are those of the project, versions those that the tests run with."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = [set(shlex.split(packages)) for _, packages in PACKAGES.values()]
    found = 0
    for line in block.text.replace("\\\n", " ").splitlines():
        _, _, wanted = line.partition("pip install ")
        words = shlex.split(wanted, comments=True)
        for word in words:
            if own := re.fullmatch(r"(?:\.|ml-observer|/path/to/the/checkout)\[(.*)\]", word):
                assert set(own[1].split(",")) <= set(declared), f"{block.place}: {word}"
                found += 1
        if any("==" in word for word in words):
            assert set(words) - {"pyarrow"} in [one - {"pyarrow"} for one in known], f"{block.place}: {words}"
            found += 1
    assert found, f"{block.place}: installs nothing that is known here"


@pytest.mark.parametrize("block", [*every("sh", "in"), *every("sql", "in"), *every("python", "in")], ids=name)
def test_what_is_run_elsewhere_is(block: Block):
    page = block.place.partition(":")[0]
    assert f'"{page}"' in (ROOT / block.rest).read_text("utf-8"), f"{block.rest} does not read {page}"


@pytest.mark.parametrize("block", every("sh", "skip"), ids=name)
def test_what_is_not_run_says_why(block: Block):
    assert block.rest
    targets = set(re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE))
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("block", every("sh", *ACCEPTED["sh"], ""), ids=name)
def test_commands_are_accepted(block: Block):
    for words in commands(block.text):
        try:
            accepts(words)
        except click.UsageError as error:
            if "does not exist" in error.format_message():
                continue  # a file of the reader's
            raise AssertionError(
                f"{block.place}: observer {' '.join(words)}: {error.format_message()}"
            ) from error


def test_a_wrong_command_is_found():
    with pytest.raises(click.UsageError):
        accepts(*commands("cd x && observer run --confg observer.yaml | cat"))


@pytest.mark.parametrize("page", pages())
def test_blocks_are_marked_with_what_is_known(page: str):
    for block in blocks(page):
        assert block.language in ACCEPTED, f"{block.place}: no test for {block.language}"
        assert block.action in {"", *ACCEPTED[block.language]}, f"{block.place}: {block.action}"
