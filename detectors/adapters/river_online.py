"""river's drift detectors of numbers, following a version window by window."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from detectors.adapters.peer import Keywords, Message, Peer
from detectors.adapters.river import River
from detectors.adapters.rows import stream
from detectors.base import Bools, DetectorError, Floats
from detectors.online.spec import Moments, MomentsSpec, Standing
from detectors.summaries.packing import pack, unpack

_BOOLS = TypeAdapter(list[bool])


class RiverOnline(Peer, MomentsSpec):
    """Any drift detector of numbers of river, one a stream, given a value a window: the stream's mean.

    Ranks and rates lie between 0 and 1, as ADWIN assumes. What is saved is what the detectors were given,
    not what they made of it: a worker that is new is given it all again. When `history` windows have been
    given, the older half is forgotten and the detectors begin anew with the others. river's binary
    detectors take single events: they are for windows (`detectors`).
    Statistic: 1 in a window in which the detector detects, else 0.
    """

    packages: ClassVar[str] = River.packages

    type: Literal["river"] = "river"
    python: Path = Path("peers/river/bin/python")
    detector: str = Field("ADWIN", pattern=r"^\w+$", description="Class of river.drift.")
    kwargs: Keywords = Field(default={}, validate_default=True, description="Its keywords, as JSON.")
    observation: Literal["window"] = "window"
    history: int = Field(1000, ge=100, le=100_000, description="Windows after which the older half goes.")

    @property
    def _method(self) -> str:
        return self.detector

    def fresh(self, reference: Moments) -> RiverState:
        """Detectors of as many streams; of the reference nothing else is used."""
        return RiverState(self, len(reference.rows))

    def told(self, given: Floats, now: Floats) -> Bools:
        """Which of K detectors, given float64[T, K] before, detect at float64[K]; NaN is no value.

        Raises `DetectorError` when the worker does not say.
        """
        after = np.vstack((given, now))
        question = self._advance(self._key(given), self._key(after), now[None])
        answer = self._ask(question, self._advance("", self._key(given), given))[0]
        try:
            drift = np.array(_BOOLS.validate_python(answer.get("drift"), strict=True), np.bool_)
        except ValidationError as error:
            raise DetectorError(f"{self.name}: it did not say what it found") from error
        if drift.shape != now.shape:
            raise DetectorError(f"{self.name}: it told of {len(drift)} streams, not {len(now)}")
        return drift

    def _advance(self, before: str, after: str, values: Floats) -> Message:
        spec = {"detector": self.detector, "kwargs": dict(self.kwargs)}
        columns = {str(i): column for i, column in enumerate(values.T)}
        return {"op": "advance", "before": before, "after": after, "spec": spec}, stream(columns)

    def _key(self, given: Floats) -> str:
        """What the worker knows detectors by that were given these values."""
        what = f"{self.detector} {sorted(self.kwargs.items())} {given.shape}".encode()
        return hashlib.blake2b(what + given.tobytes(), digest_size=16).hexdigest()


class RiverState:
    """K detectors, as the values that they were given: float64[T, K], NaN for none."""

    def __init__(self, spec: RiverOnline, streams: int) -> None:
        self.spec = spec
        self._given = np.empty((0, streams))

    def update(self, window: Moments) -> Standing:
        """Advance by one closed window; without an answer where the worker gives none."""
        whole = window.scaled(0.0, 1.0).whole()
        now = np.where(whole.rows > 0, whole.mean, np.nan)
        streams, reason = len(now), ""
        drift = ready = np.zeros(streams, np.bool_)
        if streams:
            try:
                drift = self.spec.told(self._given, now)
                ready = whole.rows > 0
            except DetectorError as error:
                reason = str(error)
        self._given = np.vstack((self._given, now))
        if len(self._given) >= self.spec.history:
            self._given = self._given[len(self._given) // 2 :]
        drift = drift & ready
        age, statistic = drift.astype(np.int64), drift.astype(np.float64)
        return Standing(ready, drift, statistic, np.zeros(streams), age, reason, failed=bool(reason))

    def reset(self, which: Bools) -> None:
        """Begin the streams bool[K] anew."""
        self._given = np.where(which, np.nan, self._given)

    def snapshot(self) -> bytes:
        """The values given."""
        return pack({"given": self._given})

    def restore(self, state: bytes) -> None:
        """Replace the state by one that `snapshot` gave for as many streams; raises `ValueError` if not."""
        self._given = unpack(state).array("given", np.float64, -1, self._given.shape[1])
