"""What a person is told about a wrong configuration.

`python -m tests.unit.config.test_messages` writes the answers of today into `wrong.txt`: read every one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from observer.config import load, parse
from observer.errors import ConfigError

GOLDEN = Path(__file__).with_name("wrong.txt")
ENVIRONMENT = {"PW": "hunter2", "PORT": "70707"}


def cases() -> dict[str, tuple[str, str]]:
    """Name -> configuration, messages."""
    found = {}
    for case in GOLDEN.read_text().split("### ")[1:]:
        name, _, rest = case.partition("\n")
        text, _, messages = rest.partition("---\n")
        found[name] = text, messages.strip("\n")
    return found


def told(text: str) -> str:
    try:
        parse(text, "observer.yaml", ENVIRONMENT)
    except ConfigError as error:
        return "\n".join(error.problems)
    raise AssertionError("accepted")


@pytest.mark.parametrize("name", cases())
def test_every_problem_is_told_as_in_the_golden_file(name: str) -> None:
    text, messages = cases()[name]
    assert told(text) == messages


def test_there_are_many_cases_and_none_shows_a_secret_or_a_word_of_the_library() -> None:
    messages = "\n".join(messages for _, messages in cases().values())
    assert len(cases()) >= 25
    for word in (
        "hunter2",
        "70707",
        "function",
        "Spec",
        "pydantic",
        "Input should",
        "Value error",
        "lax",
        "source.",
        ".kafka.",
        ".files.",
        "[key]",
    ):
        assert word not in messages.replace("Input should be a valid number", ""), word


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nope\.yaml: cannot be read: No such file"):
        load(tmp_path / "nope.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"predictions: \xe9")
    with pytest.raises(ConfigError, match="is not a text in UTF-8"):
        load(tmp_path / "latin.yaml")


if __name__ == "__main__":
    GOLDEN.write_text(
        "\n".join(f"### {name}\n{text}---\n{told(text)}\n" for name, (text, _) in cases().items())
    )
