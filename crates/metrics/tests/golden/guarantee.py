"""Reference values for tests/guarantee_golden.rs, written to guarantee.json beside this file.

Run with numpy, scipy, mpmath, mapie and crepes installed:

    python crates/metrics/tests/golden/guarantee.py

Tails, intervals and evidence are computed with 60 digits, ranks and powers with SciPy. Sets are those of MAPIE, p-values those of crepes. There is no
seed: nothing is drawn.
"""

import json
import pathlib
import warnings

import crepes
import mapie
import mpmath
import numpy
import scipy
from crepes.base import p_values_batch
from mapie.classification import SplitConformalClassifier
from scipy.stats import binom
from sklearn.base import BaseEstimator, ClassifierMixin

warnings.filterwarnings("ignore")
mpmath.mp.dps = 60


def ln_tail(k, n, p):
    """ln P(Bin(n, p) <= k), from the largest term downwards."""
    p = mpmath.mpf(p)
    term = total = mpmath.mpf(1)
    for i in range(k, 0, -1):
        term *= mpmath.mpf(i) / (n - i + 1) * (1 - p) / p
        total += term
        if term < total * mpmath.mpf(10) ** -40 and i < n * p:
            break
    front = mpmath.loggamma(n + 1) - mpmath.loggamma(k + 1) - mpmath.loggamma(n - k + 1)
    return mpmath.log(total) + front + k * mpmath.log(p) + (n - k) * mpmath.log(1 - p)


def tails():
    cases = [(0, 59, "0.05"), (1, 49, "0.05"), (3, 47, "0.1"), (6, 208, "0.05"), (25, 1000, "0.04"), (300, 10_000, "0.04"),
             (9900, 10_000, "0.99"), (49_500, 1_000_000, "0.05"), (500_000, 10_000_000, "0.05"), (3, 20_000, "0.05")]
    return [[k, n, float(p), float(mpmath.exp(ln_tail(k, n, p)))] for k, n, p in cases]


def intervals():
    """Bounds of Clopper and Pearson at level 0.95, by bisection with 60 digits: SciPy's own are good to 1e-12 or so."""
    cases = [(0, 49), (1, 49), (3, 47), (49, 49), (25, 1000), (480, 1000), (1, 1_000_000), (999, 1000)]
    each = mpmath.mpf("0.025")

    def tail(k, n, p):
        term, total = (1 - p) ** n, mpmath.mpf(0)
        for i in range(k + 1):
            total += term
            term *= mpmath.mpf(n - i) / (i + 1) * p / (1 - p)
        return total

    def root(is_below):
        low, high = mpmath.mpf(0), mpmath.mpf(1)
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if is_below(middle) else (low, middle)
        return float(low)

    return [[k, n,
             root(lambda p: 1 - tail(k - 1, n, p) < each) if k else 0.0,
             root(lambda p: tail(k, n, p) > each) if k < n else 1.0] for k, n in cases]


def ranks():
    found = []
    for n, alpha, delta in [(500, 0.1, 0.1), (1000, 0.05, 0.05), (200, 0.05, 0.1), (58, 0.05, 0.05), (59, 0.05, 0.05), (4000, 0.02, 0.01)]:
        above = 0
        while binom.cdf(above, n, alpha) <= delta:
            above += 1
        found.append([n, alpha, delta, above])
    return found


def powers():
    """The smallest number of answers from which on, up to 5,000, the power at half the risk is at least 0.8."""
    found = []
    answers = numpy.arange(1, 5000)
    for delta in (0.05, 0.1):
        for risk in (0.1, 0.05, 0.02):
            most = binom.ppf(delta, answers, risk)
            most -= binom.cdf(most, answers, risk) > delta
            enough = binom.cdf(most, answers, risk / 2) >= 0.8
            found.append([risk, delta, int(answers[~enough][-1]) + 1])
    return found


def evidence():
    """ln E of the mixture over Beta(a, b) above r = 0.05."""
    r = mpmath.mpf("0.05")

    def above(a, b, wrong, right):
        more, less = mpmath.mpf(a) + wrong, mpmath.mpf(b) + right
        series = mpmath.hyp2f1(more + less, 1, less + 1, 1 - r)
        return (1 - r) ** mpmath.mpf(b) * r ** mpmath.mpf(a) / less * series

    cases = [(1, 1, 0.5, 0.5), (3, 20, 0.5, 0.5), (10, 100, 1, 1), (30, 400, 1, 10), (2, 5000, 1, 10), (0, 7, 1, 10)]
    return [[k, t, a, b, float(mpmath.log(above(a, b, k, t - k) / above(a, b, 0, 0)))] for k, t, a, b in cases]


def rows(examples):
    """Probabilities that any language computes alike."""
    counts = numpy.array([[1.0 + (7 * i + 13 * c + i * i % 5) % 11 for c in range(4)] for i in examples])
    return counts / counts.sum(1, keepdims=True)


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose probabilities are `rows`."""

    classes_ = numpy.arange(4)
    fitted_ = True
    n_features_in_ = 1

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return rows(x[:, 0].astype(int))

    def predict(self, x):
        return self.predict_proba(x).argmax(1)


def sets():
    calibration, test = numpy.arange(60), numpy.arange(100, 140)
    labels = numpy.array([(5 * i + i // 7) % 4 for i in calibration])
    found = []
    for alpha in (0.3, 0.2, 0.1, 0.05):
        model = SplitConformalClassifier(Given(), confidence_level=1 - alpha, conformity_score="lac", prefit=True)
        model.conformalize(calibration.reshape(-1, 1), labels)
        members = model.predict_set(test.reshape(-1, 1))[1][:, :, 0]
        found.append([alpha, [[int(c) for c in numpy.flatnonzero(row)] for row in members]])
    return found


def p_values():
    calibration = numpy.array([37.0 * i % 23 for i in range(40)])
    scores = numpy.array([-1, 0, 3, 3.5, 11, 21, 22, 23], dtype=float)
    return [[float(s), float(p)] for s, p in zip(scores, p_values_batch(calibration, scores, smoothing=False))]


versions = {module.__name__: module.__version__ for module in (numpy, scipy, mpmath, mapie, crepes)}
parts = {"versions": versions}
parts |= {part.__name__: part() for part in (tails, intervals, ranks, powers, evidence, sets, p_values)}
lines = [f"{json.dumps(name)}:{json.dumps(part)}" for name, part in parts.items()]
pathlib.Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
