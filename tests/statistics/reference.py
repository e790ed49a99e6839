"""Makes reference.json: what scipy and statsmodels say, which the tests of src/analyze/stats compare with.

    python3 -m venv venv && venv/bin/pip install scipy statsmodels && venv/bin/python tests/statistics/reference.py
"""

import json
from pathlib import Path

import numpy as np
import scipy
import statsmodels
from scipy import stats
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(20240229)


def runs(n, median, spread, decimals=6):
    return sorted(round(float(x), decimals) for x in median * np.exp(rng.normal(0, spread, n)))


def group(a, b):
    exact = len(set(a) | set(b)) == len(a) + len(b) and len(a) * len(b) <= 400
    test = stats.mannwhitneyu(a, b, alternative="two-sided", method="exact" if exact else "asymptotic")

    def log_ratio(x, y, axis):
        return np.log(np.median(y, axis=axis)) - np.log(np.median(x, axis=axis))

    boot = None
    if min(len(a), len(b)) >= 6:
        interval = stats.bootstrap(
            (a, b), log_ratio, n_resamples=40000, method="percentile", vectorized=True, rng=np.random.default_rng(7), batch=2000
        ).confidence_interval
        boot = [float(np.exp(interval.low)), float(np.exp(interval.high))]
    return {"a": a, "b": b, "u": float(test.statistic), "p": float(test.pvalue), "exact": exact, "ratio": boot, "shift": shift(a, b, exact)}


def shift(a, b, exact):
    """The factors that the test does not reject, found by asking it: b divided by what lies between two neighbouring ratios b/a."""
    ratios = np.sort(np.divide.outer(np.array(b), np.array(a)).ravel())
    if len(set(a) | set(b)) < len(a) + len(b):
        return None
    method = "exact" if exact else "asymptotic"

    def rejected(i):
        edges = np.concatenate([[ratios[0] / 2], ratios, [ratios[-1] * 2]])
        factor = np.sqrt(edges[i] * edges[i + 1])
        return stats.mannwhitneyu(a, np.array(b) / factor, alternative="two-sided", method=method).pvalue < 0.05

    if not rejected(0):
        return {"value": float(np.median(ratios)), "interval": None}
    low, high = 0, len(ratios) // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return {"value": float(np.median(ratios)), "interval": [float(ratios[low]), float(ratios[len(ratios) - 1 - low])]}


def sample(x):
    interval = stats.quantile_test(x, q=0, p=0.5).confidence_interval(0.95)
    return {
        "values": x,
        "median": float(np.median(x)),
        "mad": float(stats.median_abs_deviation(x)),
        "low": None if np.isnan(interval.low) else float(interval.low),
        "high": None if np.isnan(interval.high) else float(interval.high),
    }


out = {
    "made_by": {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "numpy": np.__version__},
    "samples": [sample(runs(n, 20.0, 0.1)) for n in (1, 2, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 20, 25, 31, 50, 101, 500)],
    "groups": [
        group(runs(n, 20.0, s), runs(m, 20.0 * r, s))
        for n, m, s, r in [
            (1, 1, 0.1, 1.0), (3, 3, 0.1, 2.0), (4, 5, 0.1, 1.1), (6, 6, 0.1, 1.0), (10, 10, 0.05, 1.2), (10, 10, 0.1, 1.2), (10, 10, 0.3, 0.5),
            (7, 12, 0.1, 1.05), (20, 20, 0.1, 1.1), (15, 26, 0.1, 1.05), (30, 30, 0.1, 1.05), (100, 80, 0.2, 1.02), (300, 301, 0.2, 1.01),
        ]
    ]
    # With ties: times of a coarse clock.
    + [group(runs(n, 20.0, 0.1, 0), runs(m, 20.0 * r, 0.1, 0)) for n, m, r in [(5, 5, 1.1), (10, 10, 1.1), (12, 9, 1.0), (60, 50, 1.05)]],
    "holm": [
        {"p": p, "corrected": [float(x) for x in multipletests(p, method="holm")[1]]}
        for p in (
            [0.01, 0.02, 0.03, 0.04, 0.05],
            [0.5, 0.001, 0.04, 0.04, 0.2, 0.0004],
            [round(float(x), 6) for x in rng.uniform(0, 1, 40) ** 4],
            [0.03],
        )
    ],
}
Path(__file__).with_name("reference.json").write_text(json.dumps(out, indent=None, separators=(",", ":")) + "\n")
