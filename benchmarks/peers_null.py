"""False alarms and delays of the default rules of other libraries, beside ours, on the same rows.

Rows of a window of a feature are normal about its latent mean (`benchmarks.evidence.latent`), with a
standard deviation of 1: 500 rows a window, 672 reference windows, 720 live ones, 50 features. The rules are
computed from these rows exactly as the libraries do; `python -m benchmarks.peers_null check` holds some
windows against the libraries themselves, each in an environment of its own. River's detectors run there.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import kstwo

from benchmarks.evidence import (
    MINIMUM,
    QUIET,
    REGIMES,
    SHIFTS,
    Alarms,
    first_evidence,
    latent,
    monitor,
    spell,
)
from detectors.base import Floats
from detectors.evidence.conformal import ConformalRank
from detectors.evidence.edetector import log_mean_exp
from tests.services.peers import environment

FEATURES, ROWS, REFERENCE, LIVE = 50, 500, 672, 720
PATIENCE = 720.0
PACKAGES = {
    "evidently": ["evidently==0.7.23", "pandas<3", "numpy<2.3"],
    "nannyml": ["nannyml==0.13.1", "statsmodels"],
    "alibi": ["alibi-detect==0.11.4", "numba>=0.57,<0.58", "numpy<1.25", "scipy<1.12"],
    "alibi-torch": ["alibi-detect==0.11.4", "numba>=0.57,<0.58", "numpy<1.25", "scipy<1.12", "torch"],
    "river": ["river==0.26.1"],
}
KS, BONFERRONI, BH = "KS p < .05 on any feature", "KS, Bonferroni", "KS, Benjamini-Hochberg"
W1_ANY, W1_HALF = "W1 >= .1 sigma on any feature", "W1 >= .1 sigma on half of the features"
JS_SAME, JS_TEN = "JS beyond mean +- 3 sd of reference windows", "JS beyond mean +- 3 sd of 10 chunks"
PSI = "PSI >= .2 in ten deciles, any feature"


@dataclass(frozen=True)
class Scores:
    """One feature's statistics by window: float64[W] each."""

    ks: Floats
    w1: Floats
    js: Floats
    psi: Floats
    pit: Floats


class Feature:
    """A feature's reference: its rows float64[windows, rows], sorted and summed up."""

    def __init__(self, rows: Floats) -> None:
        self.ordered = np.sort(rows.ravel())
        self.sums = np.concatenate(([0.0], np.cumsum(self.ordered)))
        self.deviation = max(float(rows.std()), 0.001)
        self.edges = np.histogram_bin_edges(self.ordered, bins="doane")
        self.shares = self._counts(rows.reshape(1, -1))[0] / rows.size
        self.deciles = np.quantile(self.ordered, np.linspace(0.1, 0.9, 9))
        self.band = self._band(self._js(rows))
        self.band_of_ten = self._band(self._js(rows.reshape(10, -1)))

    def _counts(self, rows: Floats) -> Floats:
        """Rows by bin, the last one open to what lies outside: float64[W, bins + 1]."""
        bins = len(self.edges) - 1
        at = np.searchsorted(self.edges, rows, side="right") - 1
        at[rows == self.edges[-1]] = bins - 1
        at = np.where((at < 0) | (at >= bins), bins, at) + np.arange(len(rows))[:, None] * (bins + 1)
        counts = np.bincount(at.ravel(), minlength=len(rows) * (bins + 1))
        return counts.reshape(len(rows), -1).astype(np.float64)

    def _js(self, rows: Floats) -> Floats:
        return np.asarray(jensenshannon(self.shares[None], self._counts(rows) / rows.shape[1], 2, axis=1))

    @staticmethod
    def _band(js: Floats) -> tuple[float, float]:
        return max(float(js.mean() - 3 * js.std()), 0.0), float(js.mean() + 3 * js.std())

    def pit(self, rows: Floats) -> Floats:
        """Mean PIT by window."""
        return np.asarray(np.searchsorted(self.ordered, rows, side="right").mean(axis=1) / len(self.ordered))

    def scores(self, rows: Floats) -> Scores:
        """Every statistic of windows float64[W, rows]; exact, though the reference is large."""
        m, n = rows.shape[1], len(self.ordered)
        rows = np.sort(rows, axis=1)
        below = np.searchsorted(self.ordered, rows, side="right")
        share, step = below / n, np.arange(1, m + 1) / m
        ks = np.maximum((step - share).max(axis=1), (share - step + 1 / m).max(axis=1))
        # The k-th row of the window faces the n / m reference values of its rank.
        low = np.arange(m) * (n // m)
        high = low + n // m
        cut = np.clip(below, low, high)
        sums = self.sums
        apart = rows * (2 * cut - low - high) - 2 * sums[cut] + sums[low] + sums[high]
        w1 = apart.sum(axis=1) / n / self.deviation
        tenth = np.searchsorted(self.deciles, rows) + 10 * np.arange(len(rows))[:, None]
        q = np.bincount(tenth.ravel(), minlength=10 * len(rows)).reshape(-1, 10) / m
        q = np.maximum(q, 1e-4)
        psi = ((q - 0.1) * np.log(q / 0.1)).sum(axis=1)
        return Scores(ks, w1, self._js(rows), psi, share.mean(axis=1))


def limits() -> Floats:
    """KS distances at which p reaches .05 k / 50, k = 1 ... 50, and .05 itself last."""
    n = REFERENCE * ROWS
    levels = 0.05 * np.arange(1, FEATURES + 1) / FEATURES
    return np.asarray(kstwo.isf(levels, round(n * ROWS / (n + ROWS))))


def alarms(features: list[Feature], scores: list[Scores], shifted: list[Scores] | None) -> dict[str, Any]:
    """Rule -> bool[W] without `shifted`, else bool[W, F]: alarms of feature f when it alone is shifted."""
    limit = limits()
    seen = shifted or scores
    ks = np.column_stack([one.ks for one in seen])
    if shifted is None:
        discovered = (-np.sort(-ks, axis=1) >= limit).any(axis=1)[:, None]
    else:  # the rank of the shifted feature among the others' distances
        others = np.column_stack([one.ks for one in scores])
        discovered = np.empty_like(ks, np.bool_)
        for f in range(ks.shape[1]):
            all_of = others.copy()
            all_of[:, f] = ks[:, f]
            rejected = (-np.sort(-all_of, axis=1) >= limit) * np.arange(1, FEATURES + 1)
            discovered[:, f] = (all_of > ks[:, f : f + 1]).sum(axis=1) < rejected.max(axis=1)
    far = np.column_stack([one.w1 for one in seen]) >= 0.1
    js = np.column_stack([one.js for one in seen])

    def outside(bands: list[tuple[float, float]]) -> Any:
        low, high = np.array(bands).T
        return (js < low) | (js > high)

    found = {
        KS: ks >= limit[-1],
        BONFERRONI: ks >= limit[0],
        BH: discovered,
        W1_ANY: far,
        JS_SAME: outside([one.band for one in features]),
        JS_TEN: outside([one.band_of_ten for one in features]),
        PSI: np.column_stack([one.psi for one in seen]) >= 0.2,
    }
    if shifted is None:
        found = {rule: one.any(axis=1) for rule, one in found.items()}
        found[W1_HALF] = far.mean(axis=1) >= 0.5
    else:
        others_far = np.column_stack([one.w1 for one in scores]) >= 0.1
        found[W1_HALF] = (others_far.sum(axis=1)[:, None] - others_far + far) / FEATURES >= 0.5
    return found


def first(alarm: Any) -> Floats:
    """Windows to the first alarm by column, from 1; infinite where there is none."""
    return np.where(alarm.any(axis=0), alarm.argmax(axis=0) + 1.0, np.inf)


def conformal_pages(values: Floats) -> int:
    """Pages of the conformal ranks on unchanged windows; all evidence is reset by each."""
    ranks = ConformalRank(values[:REFERENCE], np.zeros(values.shape[1], np.bool_))
    pages = 0
    for row in values[REFERENCE:]:
        ranks.update(row)
        if log_mean_exp(ranks.log_evidence, float(values.shape[1])) >= np.log(PATIENCE):
            pages += 1
            ranks.reset(np.ones(values.shape[1], np.bool_))
    return pages


def conformal_delays(values: Floats) -> Floats:
    """Windows until a stream's ranks alone make the mean of 50 reach A."""
    ranks = ConformalRank(values[:REFERENCE], np.zeros(values.shape[1], np.bool_))
    found = np.full(values.shape[1], np.inf)
    enough = np.log(values.shape[1] * PATIENCE)
    for t, row in enumerate(values[REFERENCE:]):
        ranks.update(row)
        if t >= QUIET:
            found[(ranks.log_evidence >= enough) & np.isinf(found)] = t - QUIET + 1
    return found


def compare(regime: str, seed: int = 0, river: bool = True) -> Iterator[dict[str, Any]]:
    """Rows of the table: false alarms per 720 windows, and median windows to a shift of one feature."""
    rng = np.random.default_rng((7, seed))
    start = REFERENCE + QUIET
    means = latent(rng, regime, start + LIVE, FEATURES)
    features, by_shift = [], {shift: [] for shift in (0.0, *SHIFTS)}
    values = np.empty((start + LIVE, FEATURES))
    kept = []
    for f in range(FEATURES):
        rows = means[:, f, None] + rng.standard_normal((start + LIVE, ROWS))
        feature = Feature(rows[:REFERENCE])
        features.append(feature)
        values[:start, f] = feature.pit(rows[:start])
        for shift, scores in by_shift.items():
            scores.append(feature.scores(rows[start:] + shift))
        kept.append(rows[start - WARM : start + SHORT])
    quiet = by_shift[0.0]
    rules = {rule: {"false alarms": int(one.sum())} for rule, one in alarms(features, quiet, None).items()}
    shifted_values = {}
    for shift, scores in by_shift.items():
        shifted_values[shift] = values.copy()
        shifted_values[shift][start:] = np.column_stack([one.pit for one in scores])
        if shift:
            for rule, one in alarms(features, quiet, scores).items():
                rules[rule][f"{shift}"] = spell(first(one))
    for name, minimum in (("ours", 0.0), ("ours, with the gate", MINIMUM)):
        counted = Alarms()
        running, strata = monitor(shifted_values[0.0], REFERENCE, minimum)
        counted.follow(running, shifted_values[0.0][REFERENCE:], strata[REFERENCE:])
        rules[name] = {"false alarms": counted.pages}
        for shift in SHIFTS:
            rules[name][f"{shift}"] = spell(first_evidence(shifted_values[shift], REFERENCE, QUIET, minimum))
    rules["ours, conformal ranks"] = {"false alarms": conformal_pages(shifted_values[0.0])}
    for shift in SHIFTS:
        rules["ours, conformal ranks"][f"{shift}"] = spell(conformal_delays(shifted_values[shift]))
    if river:
        rules.update(river_rules(np.array(kept)))
    for rule, row in rules.items():
        yield {"regime": regime, "rule": rule, **row}


WARM, SHORT = 48, 180
"""Windows before the live ones, and live ones, that river's detectors see row by row."""

_RIVER = """
import json, sys
import numpy as np
from river import drift
rows = np.load(sys.argv[1])
warm, shifts = int(sys.argv[2]), json.loads(sys.argv[3])
features, windows, size = rows.shape
out = {}
for name, make in (("ADWIN", drift.ADWIN), ("Page-Hinkley", drift.PageHinkley)):
    alarmed = np.zeros(windows, bool)
    for f in range(features):
        detector = make()
        for w in range(windows):
            for value in rows[f, w].tolist():
                detector.update(value)
                if detector.drift_detected:
                    alarmed[w] = True
    out[name] = {"alarms": int(alarmed[warm:].sum()), "windows": windows - warm}
    for shift in shifts:
        found = []
        for f in range(0, features, 4):
            detector, at = make(), None
            for w in range(windows):
                for value in (rows[f, w] + (shift if w >= warm else 0.0)).tolist():
                    detector.update(value)
                    if w >= warm and detector.drift_detected:
                        at = w - warm + 1
                        break
                if at:
                    break
            found.append(at)
        out[name][str(shift)] = found
print(json.dumps(out))
"""


def river_rules(rows: Floats) -> dict[str, dict[str, Any]]:
    """ADWIN and Page-Hinkley at river's defaults on every row: float64[features, windows, rows]."""
    path = Path(".cache/data/river-rows.npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, rows)
    found = in_environment("river", _RIVER, str(path), str(WARM), json.dumps(SHIFTS))
    path.unlink()
    out: dict[str, dict[str, Any]] = {}
    for name, one in found.items():
        row: dict[str, Any] = {"false alarms": round(one["alarms"] * LIVE / one["windows"])}
        for shift in SHIFTS:
            delays = [np.inf if at is None else at for at in one[str(shift)]]
            row[f"{shift}"] = spell(np.array(delays, np.float64))
        out[f"{name} on every row, any feature"] = row
    return out


def in_environment(package: str, script: str, *arguments: str) -> Any:
    """What a script prints as JSON on its last line, run where the package is installed."""
    base = "3.11" if package.startswith("alibi") else sys.executable
    python = environment(f"null-{package}", shlex.join(PACKAGES[package]), base)
    variables = {"PATH": "/usr/bin:/bin", "NML_DISABLE_USAGE_LOGGING": "1", "DO_NOT_TRACK": "1"}
    variables |= {"OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    printed = subprocess.run(
        [str(python), "-W", "ignore", "-c", script, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=variables,
    ).stdout
    return json.loads(printed.strip().splitlines()[-1])


_ALIBI = """
import json, sys
import numpy as np
from alibi_detect.cd import TabularDrift
data = np.load(sys.argv[1])
windows = data["windows"]
out = {}
for name in ("bonferroni", "fdr"):
    detector = TabularDrift(data["reference"], p_val=0.05, correction=name)
    found = [detector.predict(one, drift_type="batch")["data"] for one in windows]
    out[name] = [int(one["is_drift"]) for one in found]
out["distance"] = [one["distance"].tolist() for one in found]
print(json.dumps(out))
"""

_EVIDENTLY = """
import json, sys
import numpy as np, pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
data = np.load(sys.argv[1])
names = [f"x{i}" for i in range(data["reference"].shape[1])]
frame = lambda rows: Dataset.from_pandas(
    pd.DataFrame(rows, columns=names), data_definition=DataDefinition(numerical_columns=names)
)
reference = frame(data["reference"])
out = []
for window in data["windows"]:
    run = Report([DataDriftPreset()]).run(frame(window), reference)
    values = [m["value"] for m in run.dict()["metrics"]]
    share = next(v["share"] for v in values if isinstance(v, dict))
    out.append([share, [float(v) for v in values if not isinstance(v, dict)]])
print(json.dumps(out))
"""

_NANNYML = """
import json, sys
import numpy as np, pandas as pd
import nannyml
data = np.load(sys.argv[1])
names = [f"x{i}" for i in range(data["reference"].shape[1])]
calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=int(sys.argv[2]))
calculator.fit(pd.DataFrame(data["reference"], columns=names))
windows = data["windows"].reshape(-1, len(names))
found = calculator.calculate(pd.DataFrame(windows, columns=names)).filter(period="analysis").to_df()
out = {}
for name in names:
    column = found[name]["jensen_shannon"]
    out[name] = {"value": column["value"].tolist(), "alert": [bool(a) for a in column["alert"]]}
print(json.dumps(out))
"""


def check(columns: int = 5, windows: int = 6) -> Iterator[dict[str, Any]]:
    """Some windows of the seasonal regime, by the libraries and by the rules above."""
    rng = np.random.default_rng(11)
    reference = 0.2 * rng.standard_normal((REFERENCE, 1, columns))
    reference = reference + rng.standard_normal((REFERENCE, ROWS, columns))
    live = np.linspace(0, 0.3, windows)[:, None, None] * np.linspace(0, 1, columns)
    live = live + rng.standard_normal((windows, ROWS, columns))
    path = Path(".cache/data/peers-check.npz")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, reference=reference.reshape(-1, columns), windows=live)
    features = [Feature(reference[..., f]) for f in range(columns)]
    scores = [feature.scores(live[..., f]) for f, feature in enumerate(features)]
    n = REFERENCE * ROWS
    limit = kstwo.isf(0.05 * np.arange(1, columns + 1) / columns, round(n * ROWS / (n + ROWS)))
    ks = np.column_stack([one.ks for one in scores])

    alibi = in_environment("alibi", _ALIBI, str(path))
    mine = {"bonferroni": (ks >= limit[0]).any(axis=1), "fdr": (-np.sort(-ks, axis=1) >= limit).any(axis=1)}
    for rule, decided in mine.items():
        yield {
            "library": "alibi-detect",
            "rule": rule,
            "windows": windows,
            "alarms": int(decided.sum()),
            "equal decisions": int((decided == np.array(alibi[rule], bool)).sum()),
            "largest difference": float(np.abs(ks - np.array(alibi["distance"])).max()),
        }
    w1 = np.column_stack([one.w1 for one in scores])
    found = in_environment("evidently", _EVIDENTLY, str(path))
    theirs = np.array([values for _, values in found])
    yield {
        "library": "evidently",
        "rule": "W1 on any",
        "windows": windows,
        "alarms": int((w1 >= 0.1).any(axis=1).sum()),
        "equal decisions": int(((w1 >= 0.1).mean(axis=1) == np.array([share for share, _ in found])).sum()),
        "largest difference": float(np.abs(w1 - theirs).max()),
    }
    js = np.column_stack([one.js for one in scores])
    low, high = np.array([one.band for one in features]).T
    decided = (js < low) | (js > high)
    found = in_environment("nannyml", _NANNYML, str(path), str(ROWS))
    theirs = np.column_stack([found[f"x{f}"]["value"] for f in range(columns)])
    alerts = np.column_stack([found[f"x{f}"]["alert"] for f in range(columns)])
    yield {
        "library": "nannyml",
        "rule": "JS beyond 3 sd",
        "windows": windows,
        "alarms": int(decided.any(axis=1).sum()),
        "equal decisions": int((decided == alerts).all(axis=1).sum()),
        "largest difference": float(np.abs(js - theirs).max()),
    }
    path.unlink()


def rows() -> Iterator[dict[str, Any]]:
    """The whole table."""
    for regime in REGIMES:
        yield from compare(regime)


def both() -> Iterator[dict[str, Any]]:
    """What the libraries themselves say of some windows, then the table."""
    yield from check()
    yield from rows()


if __name__ == "__main__":
    for row in check() if "check" in sys.argv else rows():
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
