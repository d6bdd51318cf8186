"""river's drift detectors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from detectors.adapters.adapter import Adapter
from detectors.adapters.peer import Keywords


class River(Adapter):
    """Any drift detector of river, one a column.

    Numbers go to ADWIN, PageHinkley and KSWIN as ranks in the reference, from 0 to 1, so that the bounds they
    assume hold and their thresholds have one unit; columns of two values to DDM, EDDM, FHDDM, HDDMA, HDDMW.
    A detector is fed the reference's rows once and then, from there, each window's, in the order of the rows'
    hashes; drift is any detection among the window's. The same window gives the same verdict, whatever came
    before.
    Statistic: detections in the column that had most. Effect: share of the columns that had any.
    """

    packages: ClassVar[str] = "'river==0.26.1' pyarrow"

    type: Literal["river"] = "river"
    python: Path = Path("peers/river/bin/python")
    detector: str = Field("ADWIN", pattern=r"^\w+$", description="Class of river.drift or its binary.")
    kwargs: Keywords = Field(default={}, validate_default=True, description="Its keywords, as JSON.")

    @property
    def _method(self) -> str:
        return self.detector
