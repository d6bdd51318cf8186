from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

from observer.cli import main as cli
from tests.unit.cli.conftest import Ran

Observer = Callable[..., Ran]
COMMANDS = [
    "run",
    "demo",
    "check",
    "replay",
    "backtest",
    "explain",
    "reference",
    "incident",
    "dashboards",
    "schema",
]


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=True,
    )
    return done.stdout


def test_help_names_every_command_and_imports_none_of_them() -> None:
    code = (
        "import sys\nfrom observer.cli import main\nsys.argv = ['observer', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'numpy', 'pyarrow', 'pydantic', 'rich', 'lmdb', 'logging'} & set(sys.modules)))"
    )
    text = python(code)
    for command in COMMANDS:
        assert f"  {command} " in text
    assert text.splitlines()[-1] == "[]"


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "observer", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"observer, version {version('ml-observer')}"


@pytest.mark.parametrize(
    ("words", "at", "expected"),
    [
        ("observer re", 1, ["replay", "reference"]),
        ("observer reference b", 2, ["build"]),
        ("observer schema l", 2, ["labels"]),
        ("observer replay --pre", 2, ["--predictions"]),
    ],
)
def test_bash_completes(words: str, at: int, expected: list[str]) -> None:
    code = "from observer.cli import main; main()"
    shell = {"_OBSERVER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    assert [line.partition(",")[2] for line in python(code, **shell).split()] == expected


def test_bash_gets_a_script() -> None:
    text = python("from observer.cli import main; main()", _OBSERVER_COMPLETE="bash_source")
    assert "complete -o nosort -F _observer_completion observer" in text


@pytest.mark.parametrize(
    "command", [*COMMANDS, "reference build", "reference show", "reference accept", "incident close"]
)
def test_every_command_has_help(observer: Observer, command: str) -> None:
    ran = observer(*command.split(), "-h")
    assert ran.code == 0
    assert ran.out.startswith(f"Usage: observer {command}")


@pytest.mark.parametrize("command", ["run", "check", "replay", "reference build", "reference show", "schema"])
def test_help_shows_an_example(observer: Observer, command: str) -> None:
    assert f"\n    observer {command}" in observer(*command.split(), "-h").out


@pytest.mark.parametrize("arguments", [["nope"], ["run"], ["schema", "x"], ["replay", "-c", "x"]])
def test_wrong_use_is_code_2(observer: Observer, arguments: list[str]) -> None:
    ran = observer(*arguments)
    assert ran.code == 2
    assert "Usage: observer" in ran.err


def test_a_library_that_is_missing_is_named(observer: Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named 'lmdb.x', wanted by {name}", name="lmdb.x")

    monkeypatch.setattr("observer.cli.group.import_module", absent)
    ran = observer("run", "-c", "x")
    assert (ran.code, ran.err) == (
        1,
        "error: lmdb is not installed; the commands need ml-observer[service]\n",
    )


def test_our_own_missing_modules_are_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name, name="observer.nope")

    monkeypatch.setattr("observer.cli.group.import_module", absent)
    monkeypatch.setattr(sys, "argv", ["observer", "run"])
    with pytest.raises(ModuleNotFoundError):
        cli()
