"""What everything that advances window by window must do, as checks that plugin authors can run on theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from detectors.base import Floats
from detectors.online.spec import Fed, Moments, Standing
from detectors.summaries.outcomes import BinaryOutcomes, MulticlassOutcomes, Outcomes, RegressionOutcomes


class Advancing(Protocol):
    """What advances by a window, and can be saved: an online detector, or a stream of evidence."""

    def update(self, window: Any, /) -> Standing | None:
        """Advance by one closed window."""

    def snapshot(self) -> bytes:
        """The whole state but the reference."""

    def restore(self, state: bytes, /) -> None:
        """Replace the state by one that `snapshot` gave."""


Fresh: TypeAlias = Callable[[], Advancing]
Windows: TypeAlias = Sequence[Any]


def online_windows(fed: Fed, width: int = 1) -> list[Any]:
    """Windows to check an online detector on: plain, constant, without values, tiny, huge, infinite, plain.

    `width` is the number of streams of moments, or of columns of a table.
    """
    if fed == "outcomes":
        return _cohorts()
    rng = np.random.default_rng(4)
    shape = (60, width)
    plain, later = rng.standard_normal((30, *shape)), 3 + rng.standard_normal((10, *shape))
    holes = np.where(rng.random(shape) < 0.4, np.nan, plain[0])
    odd = [
        *(np.full(shape, value) for value in (7.0, 0.0, np.nan, 1e300, -1e300, np.inf, -np.inf)),
        *(plain[0] * size for size in (1e-300, 1e300)),
        plain[:, 0][:3],
        plain[0][:0],
        holes,
    ]
    rows = [*plain, *odd, *later, np.full(shape, np.nan), *plain]
    if fed == "column":
        return [each[:, 0] for each in rows]
    return rows if fed == "table" else list(map(_moments, rows))


def _moments(rows: Floats) -> Moments:
    count, none = np.count_nonzero(~np.isnan(rows), axis=0), np.full(rows.shape[1], np.nan)
    if not count.any():
        return Moments(count.astype(np.float64), none, np.zeros(len(none)))
    with np.errstate(over="ignore", invalid="ignore"):
        mean, square = np.nansum(rows, axis=0) / count, np.nansum(rows**2, axis=0) / count
        return Moments(count.astype(np.float64), mean, np.maximum(square - mean**2, 0.0))


def _cohorts() -> list[Outcomes]:
    """Final cohorts: of all sizes, of one class, without scores, changed; of every task."""
    rng, found = np.random.default_rng(5), []
    for i, n in enumerate([400] * 8 + [0, 1, 3] + [400] * 8):
        score = rng.random(n)
        label = (rng.random(n) < (score if i < 12 else score**3)).astype(np.int64)
        if i == 9:
            label[:], score[:] = 1, np.nan
        found.append(BinaryOutcomes(np.linspace(0, 1, 255)))
        found[-1].update(label, (score > 0.5).astype(np.int64), score)
    several, regression = MulticlassOutcomes(("a", "b", "c")), RegressionOutcomes()
    several.update(np.zeros(50, np.int64), np.ones(50, np.int64), rng.dirichlet(np.ones(3), 50))
    regression.update(np.array([1.0, 1e300, -1e300]), np.array([1.0, 0.0, 1e-300]))
    return [*found, several, regression, *found]


def check_answers(fresh: Fresh, windows: Windows) -> None:
    """Whatever the window, a finite answer, and drift only above the threshold."""
    detector = fresh()
    for i, window in enumerate(windows):
        said, where = detector.update(window), f"{type(detector).__name__}, window {i}"
        evidence = getattr(detector, "log_evidence", None)
        _require(evidence is None or not np.isnan(evidence).any(), f"{where}: evidence {evidence}")
        if said is not None:
            _require(bool(said.ready.all()) or not said.drift[~said.ready].any(), f"{where}: {said}")
            finite = np.isfinite(said.statistic) & np.isfinite(said.threshold)
            _require(bool(finite.all()), f"{where}: {said}")
            above = said.ready & (said.statistic > said.threshold)
            _require(bool((said.drift <= above).all() and (said.age >= 0).all()), f"{where}: {said}")


def check_resumes(fresh: Fresh, windows: Windows) -> None:
    """Saved and restored between any two windows, it goes on bit for bit as if it had not been."""
    whole, again = fresh(), fresh()
    for i, window in enumerate(windows):
        state = again.snapshot()
        again = fresh()
        again.restore(state)
        where = f"{type(whole).__name__}, window {i}"
        _require(again.snapshot() == state, f"{where}: a restored detector has another snapshot")
        one, other = whole.update(window), again.update(window)
        _require(_said(one) == _said(other), f"{where}: {other} after restoring instead of {one}")
        _require(whole.snapshot() == again.snapshot(), f"{where}: restored, it goes on differently")


def check_clones(fresh: Fresh, windows: Windows) -> None:
    """A detector restored from another's snapshot goes its own way, and neither moves the other."""
    half = len(windows) // 2
    original, clone = fresh(), fresh()
    for window in windows[:half]:
        original.update(window)
    state = original.snapshot()
    clone.restore(state)
    for window in windows[half:]:
        clone.update(window)
    name = type(original).__name__
    _require(clone.snapshot() != state, f"{name}: windows do not move it")
    _require(original.snapshot() == state, f"{name}: advancing a clone moved the original")


def check_windows_unchanged(fresh: Fresh, windows: Windows) -> None:
    """Neither updating nor what follows writes to a window."""
    detector, before = fresh(), [[np.array(part) for part in _parts(window)] for window in windows]
    for window in windows:
        detector.update(window)
    for i, window in enumerate(windows):
        pairs = zip(_parts(window), before[i], strict=True)
        same = all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
        _require(same, f"{type(detector).__name__}: update changed window {i}")


ONLINE_CHECKS: tuple[Callable[[Fresh, Windows], None], ...] = (
    check_answers,
    check_resumes,
    check_clones,
    check_windows_unchanged,
)


def check_online(fresh: Fresh, windows: Windows) -> None:
    """Check a detector that advances window by window; raises `AssertionError` saying what is broken.

    `fresh` gives a new detector of always the same reference; `windows` are what its `update` takes, odd
    ones among them (`online_windows`).
    """
    for check in ONLINE_CHECKS:
        check(fresh, windows)


def _parts(window: Any) -> Sequence[Any]:
    if hasattr(window, "to_bytes"):
        return (np.frombuffer(window.to_bytes(), np.uint8),)
    return window if isinstance(window, tuple) else (window,)


def _said(standing: Standing | None) -> list[bytes]:
    if standing is None:
        return []
    return [
        part.tobytes()
        for part in (standing.ready, standing.drift, standing.statistic, standing.threshold, standing.age)
    ]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
