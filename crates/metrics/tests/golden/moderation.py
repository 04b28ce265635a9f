"""Reference values for tests/moderation_golden.rs, written to moderation.json beside this file.

Run with numpy and scipy installed:

    python crates/metrics/tests/golden/moderation.py

Prior and posterior variances are the formulas of limma (`fitFDist`, `squeezeVar`; Smyth 2004), with the inverse of the trigamma function by
a bracketing root finder. p-values invert the quantile of Cochran and Cox by the same root finder, on SciPy's Student t. The persistent
variance is a double loop over pairs of seeds. Differences between a row and a reference are made by hand: the slope, then two means; without surplus fits,
paired differences.
"""

import itertools
import json
import pathlib

import numpy as np
import scipy
from scipy import optimize, special, stats

SEED = 20261129


def inverse_trigamma(value):
    return optimize.brentq(lambda x: special.polygamma(1, x) - value, 1e-8, 1e12, xtol=1e-14, rtol=1e-14)


def prior(variances, own):
    variances = np.maximum(variances, 1e-5 * np.median(variances))
    logs = np.log(variances) - special.digamma(own / 2) + np.log(own / 2)
    spread = np.var(logs, ddof=1) - special.polygamma(1, own / 2)
    if spread <= 0:
        return np.inf, float(variances.mean())
    d0 = 2 * inverse_trigamma(spread)
    return float(d0), float(np.exp(logs.mean() + special.digamma(d0 / 2) - np.log(d0 / 2)))


def moderation(name, variances, own):
    d0, s0 = prior(variances, own)
    total = len(variances) * own
    if np.isinf(d0):
        posterior, degrees = np.full(len(variances), s0), np.full(len(variances), total)
    else:
        posterior = (d0 * s0 + own * variances) / (d0 + own)
        degrees = np.full(len(variances), min(d0 + own, total))
    return {
        "name": name,
        "own": own,
        "variances": list(map(float, variances)),
        "prior_degrees": None if np.isinf(d0) else d0,
        "prior_variance": s0,
        "posterior": list(map(float, posterior)),
        "degrees": list(map(float, degrees)),
    }


def tail(t, parts):
    parts = [(v, nu) for v, nu in parts if v > 0]
    total = sum(v for v, _ in parts)

    def above(log_p):
        return sum(v / total * stats.t.isf(np.exp(log_p), nu) for v, nu in parts) - t

    return float(np.exp(optimize.brentq(above, -200, np.log(0.5), xtol=1e-13, rtol=1e-14)))


def persistent(own, other, own_seeds, other_seeds):
    n = own.shape[1]
    psi = lambda values: (values - values.mean(1, keepdims=True)) / np.sqrt(n * (n - 1))
    a, b = psi(own), psi(other)
    within = lambda x: np.mean([x[i] @ x[j] for i, j in itertools.permutations(range(len(x)), 2)])
    across = np.mean([a[i] @ b[j] for i, s in enumerate(own_seeds) for j, r in enumerate(other_seeds) if s != r])
    return max(0.0, within(a) + within(b) - 2 * across)


def family(name, rows, reference, seeds, reference_seeds):
    """`rows: [K, S, n]`, `reference: [R, n]`."""
    k, s, n = rows.shape
    r = len(reference)
    y, x = rows.mean(2), reference.mean(1)
    at = [reference_seeds.index(seed) for seed in seeds]
    xs = x[at]
    slope = float(np.clip(np.mean([np.polyfit(xs, own, 1)[0] for own in y]), 0, 1))
    own = s - 1 - 1 / k
    if r == s:
        slope, own = 1.0, s - 1
    residuals = y - slope * xs
    variances = residuals.var(1, ddof=0) * s / own
    d0, s0 = prior(variances, own)
    total = k * own
    effects = []
    for row, residual, variance in zip(rows, residuals, variances):
        if np.isinf(d0):
            posterior, degrees = s0, total
        else:
            posterior, degrees = (d0 * s0 + own * variance) / (d0 + own), min(d0 + own, total)
        borrowed = (degrees - own) * min(1.0, s0 / variance) ** 2
        texts = persistent(row, reference, seeds, reference_seeds)
        doubled = (xs.mean() - x.mean()) ** 2 / np.sum((xs - xs.mean()) ** 2)
        parts = [
            (max(posterior, variance) / s, own + borrowed),
            (variances.mean() * doubled / k, total),
            ((1 - slope) ** 2 * x.var(ddof=1) / r, r - 1),
            (texts, n - 1),
        ]
        estimate = residual.mean() - (1 - slope) * x.mean()
        variance = sum(v for v, _ in parts)
        effects.append({
            "estimate": float(estimate),
            "error_over_texts": float(np.sqrt(texts)),
            "error_over_seeds": float(np.sqrt(sum(v for v, _ in parts[:3]))),
            "p_value": 2 * tail(abs(estimate) / np.sqrt(variance), parts),
        })
    return {
        "name": name,
        "seeds": seeds,
        "reference_seeds": reference_seeds,
        "rows": np.round(rows, 6).tolist(),
        "reference": np.round(reference, 6).tolist(),
        "effects": effects,
    }


def main():
    rng = np.random.default_rng(SEED)
    own = 4.0
    cases = [
        moderation("differing", np.exp(rng.normal(size=12)) * rng.chisquare(own, 12) / own, own),
        moderation("alike", np.linspace(0.6, 1.4, 8), own),
        moderation("one without variance", np.r_[0.0, rng.chisquare(own, 9)], own),
        moderation("degrees that are not whole", np.exp(2 * rng.normal(size=20)), 3.95),
    ]
    k, s, r, n = 4, 3, 6, 14
    text, seed = rng.normal(size=n), rng.normal(size=r) * 0.3
    reference = np.round(text + seed[:, None] + 0.4 * rng.normal(size=(r, n)), 6)
    rows = text + 0.3 * rng.normal(size=(k, 1, n)) + 0.7 * seed[:s, None] + 0.2 * rng.normal(size=(k, s, 1))
    rows = np.round(rows + 0.4 * rng.normal(size=(k, s, n)) - 0.2 * np.arange(k)[:, None, None], 6)
    families = [family("surplus", rows, reference, [1, 2, 3], [1, 2, 3, 4, 5, 6])]
    families.append(family("none", rows, reference[:3], [1, 2, 3], [1, 2, 3]))
    tails = [
        {"t": t, "parts": parts, "tail": tail(t, parts)}
        for t, parts in [
            (2.0, [[1.0, 4.0], [0.5, 499.0]]),
            (4.5, [[1.0, 3.95], [0.05, 19.0], [0.2, 299.0]]),
            (9.0, [[0.1, 8.0], [1.0, 71.0]]),
        ]
    ]
    document = {
        "seed": SEED,
        "versions": {module.__name__: module.__version__ for module in (np, scipy)},
        "moderation": cases,
        "tails": tails,
        "families": families,
    }
    lines = []
    for key, value in document.items():
        if isinstance(value, list):
            written = ",\n".join(json.dumps(case, allow_nan=False, separators=(",", ":")) for case in value)
            lines.append(f'"{key}":[\n{written}\n]')
        else:
            lines.append(f'"{key}":{json.dumps(value)}')
    pathlib.Path(__file__).with_name("moderation.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
