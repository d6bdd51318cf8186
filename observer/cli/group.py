"""The group of commands and what they share: options, logging, exit codes, errors for people."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from observer.errors import ConfigError, ObserverError

_EPILOG = """\b
Begin here:
  observer demo                                    see it at work; needs nothing
  observer check -c observer.yaml                  is everything in reach?
  observer run -c observer.yaml                    watch
\b
Exit codes:
  0  done, or stopped by a signal
  1  an error that the message explains; of check: something failed
  2  wrong use of the command line
  3  the configuration is wrong
\b
Shell completion:
  bash  eval "$(_OBSERVER_COMPLETE=bash_source observer)"
  zsh   eval "$(_OBSERVER_COMPLETE=zsh_source observer)"
  fish  _OBSERVER_COMPLETE=fish_source observer | source
"""

_COMMANDS = {
    "run": "Watch models: consume, judge, export.",
    "demo": "Watch drift being found and acted on; needs nothing.",
    "check": "Validate a configuration, then reach what it names.",
    "replay": "Run the same pipeline over files, in event time.",
    "backtest": "Replay history under the policy: what would have paged?",
    "explain": "Say what changed in a window, and what it goes with.",
    "export": "Hand a window to another package: evidently's report.",
    "map": "Propose which tensors of a model server are features and answers.",
    "reference": "Build, look at and accept reference profiles.",
    "incident": "Close the incidents of a model's version.",
    "actions": "Actions about findings: see, approve, reject, hold.",
    "rollout": "Champion against challenger: start, status, abort.",
    "rules": "Print Prometheus rules for what a configuration watches.",
    "openslo": "Print the objectives of a configuration as OpenSLO v1 documents.",
    "dashboards": "Write Grafana dashboards, or push them to a server.",
    "schema": "Print the contract of events, or of the configuration.",
}

config_option = click.option(
    "-c",
    "--config",
    "path",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration, YAML.",
)


class _Lazy(click.Group):
    """Imports a command when it is used, so that help and completion answer at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order a newcomer needs them."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"observer.cli.{cmd_name}").command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, without importing them, and options."""
        found = [
            CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Lazy, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ml-observer", prog_name="observer")
def group() -> None:
    """Watches machine-learning models in production: drift and quality, from Kafka to Prometheus."""


def run() -> None:
    """Run the command line; turns the service's errors into messages and exit codes."""
    try:
        group(prog_name="observer")
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        sys.exit(3)
    except ObserverError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
