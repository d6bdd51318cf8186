"""Every schema there was becomes the one of today, with what it held."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import insert

from observer.stores.history import tables
from observer.stores.history.database import _MIGRATIONS, Database
from observer.stores.history.nouns import encode
from observer.stores.history.reader import HistoryReader
from observer.stores.history.spec import HistorySpec
from tests.unit.stores.results import START, window


def migrate(database: Database, revision: str) -> None:
    with database._writing.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def first_schema_with_a_window(database: Database) -> None:
    migrate(database, "0001")
    row = {"model": "churn", "version": "1", "segment": "", "start": START, "end": START + 1, "rows": 9}
    with database._writing.begin() as connection:
        connection.execute(insert(tables.WINDOWS), [{**row, "status": "stable", "data": encode(window())}])


def check_from_the_first(database: Database) -> None:
    first_schema_with_a_window(database)
    database.prepare()
    reader = HistoryReader(database)
    assert reader.windows("churn", "1") == [reader.windows("churn", "1")[0]]
    assert reader.windows("churn", "1")[0].key == window().key
    assert reader.objectives() == []


def differences(database: Database) -> list[object]:
    with database.reading() as connection:
        context = MigrationContext.configure(connection)
        return [one for one in compare_metadata(context, tables.METADATA) if one[0] != "remove_index"]


def test_from_the_first_schema(tmp_path: Path) -> None:
    database = Database(HistorySpec().address(tmp_path))
    check_from_the_first(database)
    database.close()


def test_the_steps_lead_to_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    database = Database(HistorySpec().address(tmp_path))
    database.prepare()
    assert differences(database) == []
    database.close()
