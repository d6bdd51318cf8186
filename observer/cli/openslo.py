"""`observer openslo`."""

# ruff: noqa: PLC0415 - imports wait until the command runs, so that help and completion answer at once

from __future__ import annotations

from pathlib import Path

import click

from observer.cli.group import config_option

_EPILOG = """\b
Example:
  observer openslo -c observer.yaml > objectives.yaml
"""


@click.command(epilog=_EPILOG)
@config_option
def command(path: Path) -> None:
    """Print the objectives of the models that a configuration names, as OpenSLO v1 documents.

    A configuration reads them again as `openslo: [objectives.yaml]`.
    """
    import yaml

    from observer.config import load
    from observer.slo.openslo import document

    config = load(path)
    documents = [
        document(model, name, objective, spec.window.size)
        for model, spec in config.models.items()
        for name, objective in spec.objectives.items()
    ]
    click.echo(yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True), nl=False)
