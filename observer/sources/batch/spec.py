"""What may be said of labels that come in tables."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from observer.sources.feast.spec import FeastRepo
from observer.windows import Milliseconds

_Column = Annotated[str, Field(min_length=1)]
_DAY = 86_400_000


class BatchSpec(BaseModel):
    """What all of them share: which columns hold what, and when they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: _Column = "id"
    """The column with the predictions' ids."""
    label: _Column = "label"
    """The column with labels; rows without one are left for later."""
    weight: _Column | None = None
    """The column with weights."""
    model: _Column | None = None
    """The model of all rows; left out, the column `model` tells."""
    every: Annotated[Milliseconds, Field(ge=0)] = 3_600_000
    """How long after a reading the next one begins; 0: the tables are read once."""
    look_back: Annotated[Milliseconds, Field(ge=1_000, le=1_000 * _DAY)] = 14 * _DAY
    """How long after its time a row may come and still be read; older ones are left out."""


class TableSpec(BatchSpec):
    """Parquet or CSV files, on a disk or in object storage.

    Attributes
    ----------
    path : str
        A path, a URL such as `s3://labels/*.parquet`, or a glob. A file that is written again is read again.
    time : str
        The column with the labels' times.
    """

    type: Literal["table"] = "table"
    path: str = Field(min_length=1)
    time: _Column = "time"


class FeastLabelsSpec(BatchSpec, FeastRepo):
    """A Feast feature view whose entity is the prediction.

    Attributes
    ----------
    view : str
        Its name; its event timestamp is the label's time.
    """

    type: Literal["feast"] = "feast"
    view: _Column
    id: _Column
    """Its join key: the predictions' ids."""
    label: _Column
    """The feature that is the label; rows without one are left for later."""
