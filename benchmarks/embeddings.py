"""How often `rff_mmd` on embeddings is wrong without a change, and what it finds.

`python -m benchmarks.statistics embeddings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from detectors.base import Floats, Vectors, Verdict
from detectors.learned.fourier import FourierMmd, discrepancy
from detectors.summaries.embeddings import EmbeddingSketch, EmbeddingSums, sketched

LENGTH = 96
SCALE = np.arange(1, LENGTH + 1) ** -0.5
"""Standard deviations of the components: a decaying spectrum."""
Rows = Callable[[np.random.Generator, int], Floats]


def _normal(rng: np.random.Generator, n: int) -> Floats:
    return rng.standard_normal((n, LENGTH)) * SCALE


def _clusters(rng: np.random.Generator, n: int) -> Floats:
    centres = np.random.default_rng(0).standard_normal((8, LENGTH)) * SCALE * 2
    return centres[rng.integers(0, 8, n)] + 0.5 * _normal(rng, n)


def _heavy(rng: np.random.Generator, n: int) -> Floats:
    return _normal(rng, n) * np.sqrt(4 / rng.chisquare(4, (n, 1)))


def _of_length_one(rng: np.random.Generator, n: int) -> Floats:
    rows = _normal(rng, n)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


KINDS: dict[str, Rows] = {
    "normal": _normal,
    "8 clusters": _clusters,
    "multivariate t, 4 degrees": _heavy,
    "normalised to length 1": _of_length_one,
}


def rows(count: int = 4000, pool: int = 60_000) -> Iterator[dict[str, object]]:
    """Share of unchanged windows with p below .05, .01 and .001; then what is found at level .0001."""
    for name, draw in KINDS.items():
        rng = np.random.default_rng(914)
        sketch, _ = EmbeddingSketch.fit("e", draw(rng, 1500).astype(np.float32))
        known = sketch.features(draw(rng, pool).astype(np.float32))
        for n, m in ((200, 200), (2000, 200)):
            sides = [
                np.array(
                    [known[rng.integers(0, pool, size)].sum(axis=0, dtype=np.int32) for _ in range(count)]
                )
                / (size * 2.0**14 * 16)
                for size in (n, m)
            ]
            p = discrepancy(*sides, np.full(count, n), np.full(count, m), [sketch.null] * count).p_value
            below = {str(level): round(float((p < level).mean()), 4) for level in (0.05, 0.01, 0.001)}
            yield {"embedding": name, "sizes": f"{n}/{m}", **below}
    yield from _power()


def _power(trials: int = 60, n: int = 10_000, m: int = 500) -> Iterator[dict[str, object]]:
    rng = np.random.default_rng(915)
    sums, _ = sketched([("e", _vectors(_normal(rng, n)))])
    along = np.eye(LENGTH) * SCALE
    changes: dict[str, Rows] = {
        "unchanged": _normal,
        "mean + .2 sigma along the first component": lambda r, k: _normal(r, k) + 0.2 * along[0],
        "mean + .5 sigma along the first": lambda r, k: _normal(r, k) + 0.5 * along[0],
        "mean + .5 sigma along the sixteenth": lambda r, k: _normal(r, k) + 0.5 * along[15],
        "all spreads x 1.1": lambda r, k: 1.1 * _normal(r, k),
    }
    for what, draw in changes.items():
        found = [_judged(sums, draw(rng, m)).status == "drift" for _ in range(trials)]
        yield {"change": what, "found": round(float(np.mean(found)), 2)}


def _vectors(values: Floats) -> Vectors:
    return Vectors(values.astype(np.float32).ravel(), np.full(len(values), LENGTH, np.int32))


def _judged(sums: EmbeddingSums, values: Floats) -> Verdict:
    now = sums.embeddings.zero()
    now.update(0, sums.embeddings.encode(0, _vectors(values)))
    return FourierMmd().compare(sums, now, 0.0001)[0]
