"""A real Feast repository in a folder: file registry, SQLite online store, Parquet offline."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from tests.services.peers import interpreter
from tests.services.process import ServiceError

_STORE = """
project: shop
registry: registry.db
provider: local
online_store: {type: sqlite, path: online.db}
offline_store: {type: file}
entity_key_serialization_version: 3
"""

_DEFINITIONS = """
import sys, warnings
warnings.simplefilter("ignore")
from datetime import datetime, timedelta, timezone
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp
from feast.value_type import ValueType

store = FeatureStore(repo_path=".")
customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
prediction = Entity(name="prediction", join_keys=["prediction_id"], value_type=ValueType.STRING)
customers = FeatureView(
    name="customers", entities=[customer], ttl=timedelta(days=400),
    schema=[
        Field(name="spend", dtype=Float64), Field(name="visits", dtype=Int64),
        Field(name="account", dtype=Int64),
        Field(name="plan", dtype=String), Field(name="member", dtype=Bool),
        Field(name="joined", dtype=UnixTimestamp), Field(name="taste", dtype=Array(Float32)),
    ],
    source=FileSource(path="customers.parquet", timestamp_field="event_timestamp"),
)
outcomes = FeatureView(
    name="outcomes", entities=[prediction], ttl=timedelta(days=400),
    schema=[Field(name="churned", dtype=Int64)],
    source=FileSource(
        path="outcomes.parquet", timestamp_field="known_at", field_mapping={"left_us": "churned"}
    ),
)
service = FeatureService(name="churn_v3", features=[customers])
store.apply([customer, prediction, customers, outcomes, service])
entities = pd.read_parquet("entities.parquet")
job = store.get_historical_features(entity_df=entities, features=service)
store.create_saved_dataset(
    from_=job, name="churn_march", feature_service=service,
    storage=SavedDatasetFileStorage(path="march.parquet"),
)
first, last = (datetime(2026, month, 1, tzinfo=timezone.utc) for month in (1, 6))
store.materialize(first, last, ["customers"])
"""


def make_repository(folder: Path, customers: pa.Table, entities: pa.Table, outcomes: pa.Table) -> Path:
    """Apply the definitions over the tables; returns the interpreter that has Feast.

    `outcomes` holds prediction_id, left_us (which the view calls churned) and known_at.
    """
    python = interpreter("feast")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(_STORE)
    for name, table in (("customers", customers), ("entities", entities), ("outcomes", outcomes)):
        pa.parquet.write_table(table, folder / f"{name}.parquet")
    command = [str(python), "-O", "-c", _DEFINITIONS]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=800, check=False)
    if done.returncode:
        raise ServiceError(f"Feast: {done.stderr[-3000:]}")
    return python
