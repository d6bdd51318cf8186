"""Runs in an interpreter that has Feast, and imports nothing of observer; see `process`.

A line of JSON asks, a line of JSON answers, and the rows are written into the Arrow file that was asked for.
"""

# ruff: noqa: PLC0415 - Feast takes seconds to import, and a wrong request need not wait for it

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

_NUMBERS = {"INT32", "INT64", "FLOAT", "DOUBLE", "DECIMAL"}
_TIMES = ("event_timestamp", "created")


class _Wrong(Exception):
    """What was asked for is not there."""


def _kind(field: Any) -> str | None:
    name = field.dtype.to_value_type().name
    if name in _NUMBERS:
        return "number"
    return {"BOOL": "boolean", "STRING": "category", "UUID": "category"}.get(name)


def _views(store: Any) -> dict[str, Any]:
    found = [*store.list_all_feature_views(), *store.list_on_demand_feature_views()]
    return {view.name: view for view in found}


def _types(store: Any, references: list[str], columns: list[str]) -> dict[str, str]:
    """Column -> what its view declares, whether it is called by its name or by view and name."""
    views, types = _views(store), {}
    for reference in references:
        view, _, name = reference.partition(":")
        view = view.partition("@")[0]
        for field in getattr(views.get(view), "features", ()):
            kind = _kind(field)
            if field.name == name and kind is not None:
                called = f"{view}__{name}" if f"{view}__{name}" in columns else name
                if called in columns:
                    types[called] = kind
    return types


def _dataset(store: Any, request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from feast.errors import SavedDatasetNotFound

    try:
        dataset = store.get_saved_dataset(request["name"])
    except SavedDatasetNotFound:
        known = ", ".join(sorted(one.name for one in store.list_saved_datasets())) or "none"
        raise _Wrong(f"no saved dataset {request['name']!r}; there are: {known}") from None
    table = dataset.to_arrow()
    keys = [*dataset.join_keys, *_TIMES]
    return table, {"types": _types(store, list(dataset.features), table.column_names), "keys": keys}


def _historical(store: Any, request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa
    from feast.errors import FeatureServiceNotFoundException

    with pa.OSFile(request["entities"]) as file, pa.ipc.open_file(file) as reader:
        entities = reader.read_all().to_pandas()
    given = list(entities.columns)
    if "event_timestamp" not in given:
        raise _Wrong(f"the entity rows have no column 'event_timestamp'; there are: {', '.join(given)}")
    features = request["features"]
    if request["service"]:
        try:
            features = store.get_feature_service(request["service"])
        except FeatureServiceNotFoundException:
            known = ", ".join(sorted(one.name for one in store.list_feature_services())) or "none"
            raise _Wrong(f"no feature service {request['service']!r}; there are: {known}") from None
        references = [
            f"{part.name_to_use()}:{field.name}"
            for part in features.feature_view_projections
            for field in part.features
        ]
    else:
        references = features
        views = _views(store)
        for reference in references:
            view, _, name = reference.partition(":")
            names = sorted(field.name for field in getattr(views.get(view), "features", ()))
            if name not in names:
                told = (
                    f"view {view!r} has: {', '.join(names)}"
                    if names
                    else f"views: {', '.join(sorted(views))}"
                )
                raise _Wrong(f"no feature {reference!r}; {told}")
    table = store.get_historical_features(entity_df=entities, features=features).to_arrow()
    entity_keys = {entity.join_key for entity in store.list_entities()}
    keys = [name for name in table.column_names if name in entity_keys or name in _TIMES]
    return table, {"types": _types(store, references, table.column_names), "keys": keys}


def _rows(store: Any, request: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    from feast.errors import FeatureViewNotFoundException
    from feast.infra.provider import get_provider
    from feast.utils import _get_column_names

    try:
        view = store.get_feature_view(request["view"])
    except FeatureViewNotFoundException:
        known = ", ".join(sorted(_views(store))) or "none"
        raise _Wrong(f"no feature view {request['view']!r}; there are: {known}") from None
    entities = [store.get_entity(name) for name in view.entities]
    joins, names, time, created = _get_column_names(view, entities)
    job = get_provider(store.config).offline_store.pull_all_from_table_or_query(
        config=store.config,
        data_source=view.batch_source,
        join_key_columns=joins,
        feature_name_columns=names,
        timestamp_field=time,
        created_timestamp_column=created,
        start_date=_time(request["start"], datetime(1970, 1, 1, tzinfo=UTC)),
        end_date=_time(request["end"], datetime(2200, 1, 1, tzinfo=UTC)),
    )
    table = job.to_arrow()
    mapping = view.batch_source.field_mapping or {}
    table = table.rename_columns([mapping.get(name, name) for name in table.column_names])
    return table, {"keys": joins, "time": mapping.get(time, time)}


def _time(milliseconds: int | None, otherwise: datetime) -> datetime:
    return otherwise if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def _answer(store: Any, request: dict[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    do = {"dataset": _dataset, "historical": _historical, "rows": _rows}[request["do"]]
    table, told = do(store, request)
    # Offline stores that write pandas' frames write their indexes too.
    table = table.drop_columns([name for name in table.column_names if name.startswith("__index_level_")])
    table = table.replace_schema_metadata(None)
    with pa.OSFile(request["path"], "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return {"types": {}, "keys": [], "time": "", **told}


def _requests() -> Iterator[str]:
    """What is asked for; when nobody is there any more to ask, this process ends, whatever it is doing."""
    lines = SimpleQueue[str]()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        if os.getpgrp() == os.getpid():  # with all that it may have started
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield lines.get()


def main() -> None:
    """Answer until whoever asks is gone."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Feast prints must not be taken for an answer
    warnings.simplefilter("ignore")
    store = None
    for line in _requests():
        try:
            if store is None:
                from feast import FeatureStore

                store = FeatureStore(repo_path=sys.argv[1])
            answer = _answer(store, json.loads(line))
        except _Wrong as error:
            answer = {"error": str(error), "ours": True}
        except Exception as error:
            said = " ".join(str(error).split())[:1000]
            answer = {"error": f"{type(error).__name__}: {said}", "ours": False}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
