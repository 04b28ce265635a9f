"""Reference values for tests/statistics_golden.rs, written to statistics.json beside this file.

Run with numpy, scipy, scikit-learn and statsmodels installed:

    python crates/metrics/tests/golden/statistics.py

What a library computes comes from the library; DeLong's variance and the partial rank correlation, which none of these
has, are computed from their definitions in another way than the Rust code does it (all pairs; regression residuals).
"""

import json
import pathlib

import numpy as np
import scipy
import scipy.optimize
import scipy.special
import scipy.stats
import sklearn
import sklearn.covariance
import sklearn.metrics
import sklearn.neighbors
import sklearn.preprocessing
import statsmodels
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

SEED = 20240614


def flat(values):
    return [float(value) for value in np.asarray(values).ravel()]


def delong(name, negatives, positives, level):
    """`negatives: [2, n]`, `positives: [2, m]`: both detectors; the variance from the matrix of all pairs."""
    truth = np.r_[np.zeros(negatives.shape[1]), np.ones(positives.shape[1])]
    areas = [sklearn.metrics.roc_auc_score(truth, np.r_[n, p]) for n, p in zip(negatives, positives)]
    wins = [(p[:, None] > n) + 0.5 * (p[:, None] == n) for n, p in zip(negatives, positives)]
    np.testing.assert_allclose([w.mean() for w in wins], areas, atol=1e-14)
    by_positive = np.cov([w.mean(1) for w in wins])
    by_negative = np.cov([w.mean(0) for w in wins])
    covariance = by_positive / positives.shape[1] + by_negative / negatives.shape[1]
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = areas[0] - areas[1]
    lower, upper = scipy.stats.norm.interval(level, difference, error)
    return {
        "name": name,
        "negatives": [flat(n) for n in negatives],
        "positives": [flat(p) for p in positives],
        "level": level,
        "areas": flat(areas),
        "standard_error": float(error),
        "unpaired_error": float(np.sqrt(covariance[0, 0] + covariance[1, 1])),
        "lower": float(lower),
        "upper": float(upper),
        "p_value": float(2 * scipy.stats.norm.sf(abs(difference) / error)),
    }


def partial(name, x, y, given):
    ranks = [scipy.stats.rankdata(values) for values in (x, y, given)]
    design = np.c_[np.ones(len(x)), ranks[2]]
    left, right = (r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks[:2])
    r = float(left @ right / np.sqrt((left @ left) * (right @ right)))
    freedom = len(x) - 3
    t = abs(r) * np.sqrt(freedom / (1 - r * r))
    return {
        "name": name,
        "x": flat(x),
        "y": flat(y),
        "given": flat(given),
        "coefficient": r,
        "p_value": float(2 * scipy.stats.t.sf(t, freedom)),
        "plain": float(scipy.stats.spearmanr(x, y).statistic),
    }


def friedman(name, losses):
    losses = np.asarray(losses, float)
    n, k = losses.shape
    test = scipy.stats.friedmanchisquare(*losses.T)
    f = (n - 1) * test.statistic / (n * (k - 1) - test.statistic)
    return {
        "name": name,
        "shape": losses.shape,
        "losses": flat(losses),
        "average_ranks": flat(np.mean([scipy.stats.rankdata(row) for row in losses], axis=0)),
        "chi_squared": float(test.statistic),
        "chi_squared_p": float(test.pvalue),
        "f": float(f),
        "f_p": float(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
    }


def nemenyi(methods, data_sets, alpha):
    q = scipy.stats.studentized_range.ppf(1 - alpha, methods, np.inf) / np.sqrt(2)
    critical = q * np.sqrt(methods * (methods + 1) / (6 * data_sets))
    return {"methods": methods, "data_sets": data_sets, "alpha": alpha, "critical": float(critical)}


def power(effect, pairs, alpha):
    return {"effect": effect, "pairs": pairs, "alpha": alpha, "power": float(TTestPower().power(effect, pairs, alpha))}


def detectable(differences, alpha, wanted):
    about = float(np.atleast_1d(TTestPower().solve_power(nobs=len(differences), alpha=alpha, power=wanted))[0])

    def gap(effect):
        return TTestPower().power(effect, len(differences), alpha) - wanted

    # The solver of statsmodels stops at a few 1e-6.
    effect = scipy.optimize.brentq(gap, 0.99 * about, 1.01 * about, xtol=1e-13)
    smallest = effect * np.std(differences, ddof=1)
    return {"differences": flat(differences), "alpha": alpha, "power": wanted, "smallest": float(smallest)}


def temperature(name, logits, labels):
    logits = np.asarray(logits, np.float32)
    z = logits.astype(np.float64)
    samples = z.shape[0]
    rows = np.arange(z.shape[1])

    def mean_probs(scaled):
        each = scipy.special.log_softmax(scaled, axis=2)
        return scipy.special.logsumexp(each, axis=0, b=1 / samples)

    log_p = {
        ("mean-probs", "samples"): lambda t: mean_probs(z / t),
        ("mean-probs", "mean"): lambda t: scipy.special.log_softmax(mean_probs(z) / t, axis=1),
        ("mean-logits", "samples"): lambda t: scipy.special.log_softmax(z.mean(0) / t, axis=1),
        ("mean-logits", "mean"): lambda t: scipy.special.log_softmax(z.mean(0) / t, axis=1),
    }
    fits = []
    for (averaging, scaled), f in log_p.items():

        def nll(log_t):
            return float(-f(np.exp(log_t))[rows, labels].mean())

        starts = np.linspace(np.log(0.01), np.log(100), 400)
        best = starts[np.argmin([nll(start) for start in starts])]
        found = scipy.optimize.minimize_scalar(
            nll, bounds=(best - 0.05, best + 0.05), method="bounded", options={"xatol": 1e-12}
        )
        fits.append(
            {
                "averaging": averaging,
                "scaled": scaled,
                "temperature": float(np.exp(found.x)),
                "before": nll(0.0),
                "after": float(found.fun),
            }
        )
    return {"name": name, "shape": logits.shape, "logits": flat(logits), "labels": labels.tolist(), "fits": fits}


def distances(name, train, labels, test, shrinkage, k):
    classes = np.unique(labels)
    means = np.array([train[labels == c].mean(0) for c in classes])
    centred = train - means[np.searchsorted(classes, labels)]
    covariance = sklearn.covariance.EmpiricalCovariance(assume_centered=True).fit(centred).covariance_
    inverse = np.linalg.inv(sklearn.covariance.shrunk_covariance(covariance, shrinkage))
    gaps = test[:, None, :] - means[None]
    mahalanobis = np.einsum("ncd,de,nce->nc", gaps, inverse, gaps).min(1)
    unit = sklearn.preprocessing.normalize
    neighbours = sklearn.neighbors.NearestNeighbors(n_neighbors=k, algorithm="brute").fit(unit(train))
    return {
        "name": name,
        "width": train.shape[1],
        "train": flat(train),
        "labels": labels.tolist(),
        "test": flat(test),
        "shrinkage": shrinkage,
        "k": k,
        "mahalanobis": flat(mahalanobis),
        "neighbour": flat(neighbours.kneighbors(unit(test))[0][:, -1]),
    }


def main():
    rng = np.random.default_rng(SEED)
    normal = rng.standard_normal

    def correlated(n, shift):
        shared = normal(n)
        return np.array([shared + 0.5 * normal(n) + shift, shared + normal(n) + 0.5 * shift])

    coarse = rng.integers(0, 5, (2, 40)) / 4, rng.integers(1, 6, (2, 25)) / 4
    x, y, g = normal(60), normal(60), normal(60)
    case_delong = [
        delong("correlated", correlated(80, 0.0), correlated(50, 1.0), 0.95),
        delong("ties", *coarse, 0.9),
        delong("few", correlated(4, 0.0), correlated(3, 0.3), 0.95),
    ]
    case_holm = []
    for p in [rng.random(8) ** 3, [0.01, 0.01, 0.04, 1.0, 0.0], [0.2]]:
        case_holm.append({"p_values": flat(p), "adjusted": flat(multipletests(p, method="holm")[1])})
    case_partial = [
        partial("through the third only", g + 0.3 * x, g + 0.3 * y, g),
        partial("beside the third", x + g, x + 0.5 * y + g, g),
        partial("ties", rng.integers(0, 3, 40), rng.integers(0, 4, 40), rng.integers(0, 3, 40)),
    ]
    case_friedman = [
        friedman("no ties", normal((12, 5)) + 0.4 * np.arange(5)),
        friedman("ties", rng.integers(0, 3, (9, 4))),
        friedman("two data sets", [[0.3, 0.1, 0.2], [0.1, 0.4, 0.6]]),
    ]
    case_nemenyi = [nemenyi(k, n, alpha) for k, n, alpha in [(2, 5, 0.05), (5, 30, 0.05), (10, 8, 0.1), (20, 12, 0.01)]]
    case_power = [
        power(d, n, alpha)
        for d, n, alpha in [(0.5, 34, 0.05), (2.0, 3, 0.05), (1.0, 2, 0.1), (0.05, 1821, 0.05), (0.3, 200, 0.01)]
    ]
    case_detectable = [
        detectable(0.1 * normal(5), 0.05, 0.8),
        detectable(normal(300), 0.05, 0.9),
        detectable(0.02 * normal(3), 0.05, 0.8),
    ]
    labels = rng.integers(0, 3, 60)
    signal = 4 * np.eye(3)[np.where(rng.random(60) < 0.7, labels, rng.integers(0, 3, 60))]
    case_temperature = [
        temperature("overconfident samples", signal + 2 * normal((6, 60, 3)), labels),
        temperature("one underconfident sample", 0.2 * (signal + 0.5 * normal((1, 60, 3))), labels),
    ]
    features = normal((40, 6)) @ normal((6, 6))
    groups = rng.integers(0, 4, 40)
    features += 2 * np.eye(4, 6)[groups]
    wide = normal((15, 20))
    case_distances = [
        distances("four classes", features, groups, 2 * normal((12, 6)), 0.0, 5),
        distances("more features than examples", wide, rng.integers(0, 2, 15), normal((10, 20)), 0.2, 1),
    ]
    modules = [np, scipy, sklearn, statsmodels]
    document = {
        "seed": SEED,
        "versions": {module.__name__: module.__version__ for module in modules},
        "delong": case_delong,
        "holm": case_holm,
        "partial": case_partial,
        "friedman": case_friedman,
        "nemenyi": case_nemenyi,
        "power": case_power,
        "detectable": case_detectable,
        "temperature": case_temperature,
        "distances": case_distances,
    }
    lines = []
    for key, value in document.items():
        if isinstance(value, list):
            cases = ",\n".join(json.dumps(case, allow_nan=False, separators=(",", ":")) for case in value)
            lines.append(f'"{key}":[\n{cases}\n]')
        else:
            lines.append(f'"{key}":{json.dumps(value)}')
    path = pathlib.Path(__file__).with_name("statistics.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
