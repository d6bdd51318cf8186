"""alibi-detect's drift detectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from detectors.adapters.adapter import Adapter
from detectors.adapters.peer import Keywords

_REFUSED = {
    "p_val": "the level is `alpha`",
    "correction": "columns are combined by Bonferroni's rule",
    "categories_per_feature": "the kinds of columns are known",
    "update_x_ref": "the reference is fixed",
    "preprocess_fn": "save such a detector and `load` it",
    "x_ref": "the reference is the service's",
}


class AlibiDetect(Adapter):
    """Any batch or online drift detector of alibi-detect, by its name and keywords.

    Tests of one column (KSDrift, CVMDrift, ChiSquareDrift, TabularDrift, FETDrift) judge each column that
    they are for; the others judge the rows of numeric columns in which nothing is missing, brought to mean 0
    and deviation 1 of the reference. Online detectors are set up on the reference once and begin anew with
    each window, in the order of the rows' hashes: the same window gives the same verdict, whatever came
    before.
    """

    base: ClassVar[str] = "python3.11"
    packages: ClassVar[str] = (
        "'alibi-detect==0.11.4' 'numba>=0.57' 'scipy<1.12' 'scikit-learn<1.6' 'pydantic<2' 'pyarrow<26'"
    )

    type: Literal["alibi_detect"] = "alibi_detect"
    python: Path = Path("peers/alibi-detect/bin/python")
    detector: str = Field("TabularDrift", pattern=r"^\w+$", description="Class of alibi_detect.cd.")
    kwargs: Keywords = Field(default={}, validate_default=True, description="Its keywords, as JSON.")
    context: tuple[str, ...] = Field((), description="Of ContextMMDDrift: columns that may change.")
    load: Path | None = Field(None, description="Folder of a saved detector, in place of `detector`.")
    trusted: bool = Field(default=False, description="Whether `load` may run the code it holds.")

    @model_validator(mode="after")
    def _accepted(self) -> Self:
        for name in self.kwargs.keys() & _REFUSED.keys():
            msg = f"kwargs: {name} is not accepted: {_REFUSED[name]}"
            raise ValueError(msg)
        if bool(self.context) != (self.detector == "ContextMMDDrift"):
            raise ValueError("context: the columns that may change, of ContextMMDDrift, and of no other")
        if self.load and not self.trusted:
            raise ValueError("load: a saved detector is code that runs; accepted with `trusted: true`")
        if self.load and not self.columns:
            raise ValueError("load: name the `columns` that it was made for, in their order")
        return self

    @property
    def _method(self) -> str:
        return "saved" if self.load else self.detector

    def _request(self) -> dict[str, Any]:
        request = super()._request()
        if self.load:  # the worker runs in a folder of its own
            request["load"] = str(self.load.expanduser().absolute())
        return request
