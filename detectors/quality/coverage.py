"""What a share among labelled predictions says of all predictions."""

from __future__ import annotations


def bounds(value: float, coverage: float) -> tuple[float, float]:
    """Least and greatest share over all predictions, whatever the missing labels are.

    Parameters
    ----------
    value : float
        Share (such as accuracy) among the labelled predictions, 0..1.
    coverage : float
        Part of all predictions that is labelled, 0..1.

    Returns
    -------
    low, high : float
        `coverage`·`value` and that plus 1 - `coverage`.

    Raises
    ------
    ValueError
        Either argument lies outside 0..1.

    References
    ----------
    Manski: Partial Identification of Probability Distributions. Springer 2003.
    """
    if not (0 <= value <= 1 and 0 <= coverage <= 1):
        msg = f"value {value} and coverage {coverage} must lie within 0..1"
        raise ValueError(msg)
    low = coverage * value
    return low, low + 1.0 - coverage
