"""Every command with its options, from the parsers themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from documentation.text import cell
from observer.cli.group import group

_INTRODUCTION = """\
# Every command

Made from the command line itself by `python -m documentation`. What the commands do, with examples and their
output, is in [command line](cli.md). `observer --version` prints the version, `-h` or `--help` after any
command its help.
"""

_NUMBERS = {"integer": "whole number", "integer range": "whole number", "float range": "number"}


def page() -> str:
    """The page in Markdown."""
    root = click.Context(group, info_name="observer", **group.context_settings)
    return "\n".join([_INTRODUCTION, *_below(group, root)]).rstrip() + "\n"


def _below(commands: click.Group, context: click.Context) -> Iterator[str]:
    for name in commands.list_commands(context):
        command = commands.get_command(context, name)
        if command is None:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        yield from _one(command, inner)
        if isinstance(command, click.Group):
            yield from _below(command, inner)


def _one(command: click.Command, context: click.Context) -> Iterator[str]:
    depth = "#" * len(context.command_path.split())
    yield f"{depth} {context.command_path}\n"
    yield f"{_prose(command.help)}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    if options:
        yield "| option | takes | default | meaning |\n|---|---|---|---|"
        yield from (_option(one, context) for one in options)
        yield ""
    if command.epilog:
        yield f"```text\n{_example(command.epilog)}\n```\n"


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    takes = "" if option.is_flag else _NUMBERS.get(option.type.name) or f"`{option.make_metavar(context)}`"
    told = option.get_help_extra(context)
    default = "required" if option.required else f"`{told['default']}`" if "default" in told else ""
    more = ", may be given several times" if option.multiple else ""
    return f"| {names} | {cell(takes)} | {default} | {cell(option.help or '')}{more} |"


def _prose(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b\n", "").partition("\f")[0].strip()


def _example(epilog: str) -> str:
    return "\n\n".join(part.strip("\n") for part in inspect.cleandoc(epilog).split("\b\n") if part.strip())
