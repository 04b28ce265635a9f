"""Reference values for tests/golden.rs, written to metrics.json beside this file.

Run with numpy, scipy, scikit-learn, torch and torchmetrics installed:

    python crates/metrics/tests/golden/generate.py

What a library computes comes from the library. What none has (AURC with ties, E-AURC, adaptive calibration error,
quantile bins) is transcribed in numpy from its definition, in another way than the Rust code does it.
"""

import itertools
import json
import pathlib
from fractions import Fraction

import numpy as np
import scipy
import scipy.special
import scipy.stats
import sklearn
import sklearn.metrics as sk
import torch
import torchmetrics
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, multiclass_calibration_error

SEED = 20240613
BINS = [1, 4, 15]


def flat(values):
    return [float(value) for value in np.asarray(values).ravel()]


# --- predictive distributions -------------------------------------------------------------------------------------------


def predictive(name, logits, labels, rng):
    logits = np.asarray(logits, np.float32)
    samples, examples, classes = logits.shape
    votes = rng.integers(0, 4, (examples, classes))
    votes[votes.sum(1) == 0, 0] = 1
    soft = votes / votes.sum(1, keepdims=True)
    labels = np.asarray(labels)
    z = logits.astype(np.float64)
    each = scipy.special.log_softmax(z, axis=2)
    aggregated = {
        "mean-probs": scipy.special.logsumexp(each, axis=0, b=1 / samples),
        "mean-logits": scipy.special.log_softmax(z.mean(0), axis=1),
    }
    expected_entropy = scipy.stats.entropy(np.exp(each), axis=2).mean(0)
    variance = np.exp(each).var(0, ddof=1).max(1) if samples > 1 else np.zeros(examples)
    out = {
        "name": name,
        "shape": logits.shape,
        "logits": flat(logits),
        "labels": labels.tolist(),
        "soft_labels": flat(soft),
        "expected_entropy": flat(expected_entropy),
        "probability_variance": flat(variance),
    }
    for averaging, log_p in aggregated.items():
        p = np.exp(log_p)
        entropy = scipy.stats.entropy(p, axis=1)
        one_hot = np.eye(classes)[labels]
        brier = sk.brier_score_loss(
            one_hot if classes > 2 else labels,
            p if classes > 2 else p[:, 1],
            labels=None if classes > 2 else [0, 1],
            scale_by_half=False,
        )
        np.testing.assert_allclose(brier, ((p - one_hot) ** 2).sum(1).mean(), atol=1e-14)
        nll = -log_p[np.arange(examples), labels].mean()
        if log_p.min() > -30:  # scikit-learn clips at 2e-16
            np.testing.assert_allclose(nll, sk.log_loss(labels, p, labels=np.arange(classes)), rtol=1e-9)
        soft_nll = -np.where(soft > 0, soft * log_p, 0).sum(1).mean()
        out[averaging] = {
            "probabilities": flat(p),
            "log_probabilities": flat(log_p),
            "predictive_entropy": flat(entropy),
            "mutual_information": flat(entropy - expected_entropy),
            "predicted": p.argmax(1).tolist(),
            "max_probability": flat(p.max(1)),
            "accuracy": float(sk.accuracy_score(labels, p.argmax(1))),
            "nll": float(nll),
            "soft_nll": float(soft_nll),
            "brier": float(brier),
        }
    return out


# --- calibration --------------------------------------------------------------------------------------------------------


def binned(values, hits, bins):
    """[lower, upper) with 1.0 in the last bin, edges as exact fractions rounded once."""
    edges = [float(Fraction(k, bins)) for k in range(bins + 1)]
    gap, rows = 0.0, []
    for k in range(bins):
        inside = (values >= edges[k]) & ((values < edges[k + 1]) if k < bins - 1 else True)
        count = int(inside.sum())
        confidence = float(values[inside].mean()) if count else None
        frequency = float(hits[inside].mean()) if count else None
        rows.append({"count": count, "confidence": confidence, "accuracy": frequency})
        gap += count / len(values) * abs(frequency - confidence) if count else 0.0
    return gap, rows


def right_closed(values, hits, bins):
    """(lower, upper]: another definition, which must be told apart."""
    edges = [float(Fraction(k, bins)) for k in range(bins + 1)]
    gap = 0.0
    for k in range(bins):
        inside = (values > edges[k]) & (values <= edges[k + 1])
        gap += inside.mean() * abs(hits[inside].mean() - values[inside].mean()) if inside.any() else 0.0
    return gap


def adaptive(values, hits, bins):
    _, group = np.unique(values, return_inverse=True)
    shared = np.array([hits[group == g].mean() for g in group])
    order = np.argsort(values, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return sum(len(part) / len(values) * abs(shared[part].mean() - values[part].mean()) for part in parts)


def by_torchmetrics(probs, labels, bins):
    """In f32, so only where no confidence is next to an edge; an exact 1.0 is moved off its bin of its own."""
    top = probs.max(1)
    inner = top[top < 1]
    if len(inner) and np.abs(inner[:, None] - np.arange(bins + 1) / bins).min() < 1e-5:
        return None
    moved = torch.tensor(np.minimum(probs, 1 - 1e-6))
    return float(multiclass_calibration_error(moved, torch.tensor(labels), probs.shape[1], n_bins=bins, norm="l1"))


def calibration(name, probs, labels):
    probs, labels = np.asarray(probs, np.float64), np.asarray(labels)
    top = probs.max(1)
    hits = (probs.argmax(1) == labels).astype(float)
    out = {"name": name, "shape": probs.shape, "probabilities": flat(probs), "labels": labels.tolist(), "by_bins": []}
    for bins in BINS:
        ece, rows = binned(top, hits, bins)
        classwise = np.mean([binned(p, (labels == c).astype(float), bins)[0] for c, p in enumerate(probs.T)])
        out["by_bins"].append(
            {
                "bins": bins,
                "reliability": rows,
                "ece": float(ece),
                "ece_torchmetrics": by_torchmetrics(probs, labels, bins),
                "ece_right_closed": float(right_closed(top, hits, bins)),
                "adaptive": float(adaptive(top, hits, bins)),
                "classwise": float(classwise),
            }
        )
    return out


# --- selective prediction -----------------------------------------------------------------------------------------------


def selective(name, confidence, correct):
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    n = len(confidence)
    k = np.arange(1, n + 1)

    def risks(order):
        return np.cumsum(~correct[order]) / k

    if n <= 6:  # the mean over every order that respects the confidence
        orders = [np.array(o) for o in itertools.permutations(range(n)) if (np.diff(confidence[list(o)]) <= 0).all()]
        risk = np.mean([risks(order) for order in orders], axis=0)
    else:
        share = np.array([(~correct[confidence == c]).mean() for c in confidence])
        risk = np.cumsum(share[np.argsort(-confidence, kind="stable")]) / k
    optimum = np.mean(np.cumsum(np.sort(~correct)) / k)
    coverages = [0.07, 0.5, 0.8, 1.0]
    answered = [-(-int(Fraction(str(c)) * 100) * n // 100) for c in coverages]
    rate = float((~correct).mean())
    return {
        "name": name,
        "confidence": flat(confidence),
        "correct": correct.tolist(),
        "risk": flat(risk),
        "aurc": float(risk.mean()),
        "e_aurc": float(risk.mean() - optimum),
        "e_aurc_continuous": float(risk.mean() - (rate + (1 - rate) * np.log1p(-rate))) if rate < 1 else None,
        "coverages": coverages,
        "selective_accuracy": [float(1 - risk[a - 1]) for a in answered],
    }


def quantiles(name, scores, errors, count):
    scores, errors = np.asarray(scores, np.float64), np.asarray(errors, bool)
    ordered, n = np.sort(scores), len(scores)
    edges = []
    for j in range(1, count):
        position = Fraction((n - 1) * j, count)
        below, fraction = int(position), float(position - int(position))
        edges.append(ordered[below] + (ordered[min(below + 1, n - 1)] - ordered[below]) * fraction)
    np.testing.assert_allclose(edges, np.quantile(scores, np.arange(1, count) / count), atol=1e-12)
    bin_of = np.searchsorted(np.array(edges), scores, side="right")
    rows = []
    for k in range(count):
        inside = bin_of == k
        if inside.any():
            row = {"mean_score": float(scores[inside].mean()), "error_rate": float(errors[inside].mean())}
            rows.append(row | {"count": int(inside.sum())})
    return {"name": name, "scores": flat(scores), "errors": errors.tolist(), "quantiles": count, "bins": rows}


# --- detection, rank, summary -------------------------------------------------------------------------------------------


def detection(name, negatives, positives):
    scores = np.concatenate([negatives, positives]).astype(np.float64)
    truth = np.concatenate([np.zeros(len(negatives), int), np.ones(len(positives), int)])
    fpr, tpr, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    auroc, aupr = sk.roc_auc_score(truth, scores), sk.average_precision_score(truth, scores)
    # torchmetrics agrees in f32 where scores are logits or probabilities without near ties.
    unit = torch.tensor(scipy.stats.rankdata(scores, "dense") / 1000.0)
    np.testing.assert_allclose(float(binary_auroc(unit, torch.tensor(truth))), auroc, atol=1e-6)
    np.testing.assert_allclose(float(binary_average_precision(unit, torch.tensor(truth))), aupr, atol=1e-6)
    return {
        "name": name,
        "negatives": flat(negatives),
        "positives": flat(positives),
        "auroc": float(auroc),
        "aupr": float(aupr),
        "aupr_trapezoid": float(sk.auc(recall, precision)),
        "tprs": [0.5, 0.95, 1.0],
        "fprs": [float(fpr[tpr >= level].min()) for level in [0.5, 0.95, 1.0]],
    }


def rank(name, x, y):
    result = scipy.stats.spearmanr(x, y)
    pearson = scipy.stats.pearsonr(x, y).statistic
    return {
        "name": name,
        "x": flat(x),
        "y": flat(y),
        "coefficient": float(result.statistic),
        "p_value": float(result.pvalue),
        "pearson": float(pearson),
    }


def main():
    rng = np.random.default_rng(SEED)
    normal = rng.standard_normal

    def labels(examples, classes):
        return rng.integers(0, classes, examples)

    saturated = np.zeros((2, 4, 2))
    saturated[:, :, 0] = [[120, 0, -120, 30], [100, 0, -800, -30]]
    identical = np.repeat(3 * normal((1, 6, 5)), 8, axis=0)
    case_predictive = [
        predictive("two classes, eight samples", 2 * normal((8, 20, 2)), labels(20, 2), rng),
        predictive("five classes, eight samples", 3 * normal((8, 20, 5)), labels(20, 5), rng),
        predictive("five classes, one sample", 3 * normal((1, 12, 5)), labels(12, 5), rng),
        predictive("two classes, one sample, one example", normal((1, 1, 2)), [1], rng),
        predictive("confidence 1.0 and underflow", saturated, [0, 1, 1, 0], rng),
        predictive("samples agree", identical, labels(6, 5), rng),
        predictive("large logits", 1000 + 40 * normal((3, 8, 3)), labels(8, 3), rng),
    ]
    five = scipy.special.softmax(2 * normal((60, 5)), axis=1)
    two = scipy.special.softmax(2 * normal((40, 2)), axis=1)
    coarse = np.array([[k, 20 - k] for k in rng.integers(0, 21, 30)]) / 20
    certain = np.eye(3)[rng.integers(0, 3, 10)]
    mixed = np.concatenate([certain, scipy.special.softmax(normal((10, 3)), axis=1)])
    case_calibration = [
        calibration("five classes", five, labels(60, 5)),
        calibration("two classes", two, labels(40, 2)),
        calibration("ties and confidences on the edges", coarse, labels(30, 2)),
        calibration("confidence exactly 1.0", certain, labels(10, 3)),
        calibration("some confidences exactly 1.0", mixed, labels(20, 3)),
        calibration("one example", [[0.25, 0.75]], [1]),
    ]
    case_selective = [
        selective("no ties", normal(50), rng.random(50) < 0.7),
        selective("ties", rng.integers(0, 6, 50) / 5, rng.random(50) < 0.6),
        selective("tiny with ties", [0.5, 0.9, 0.5, 0.5, 0.1], [False, True, True, False, True]),
        selective("all tied", [1.0] * 6, [True, False, True, True, False, True]),
        selective("no errors", normal(10), [True] * 10),
        selective("only errors", normal(10), [False] * 10),
        selective("one example", [0.3], [False]),
    ]
    case_quantiles = [
        quantiles("no ties", normal(57), rng.random(57) < 0.3, 10),
        quantiles("ties", rng.integers(0, 4, 50) / 3, rng.random(50) < 0.3, 10),
        quantiles("constant", np.zeros(8), rng.random(8) < 0.5, 10),
        quantiles("fewer examples than quantiles", normal(3), [True, False, True], 10),
    ]
    case_detection = [
        detection("no ties", normal(60), 1 + normal(40)),
        detection("ties", rng.integers(0, 5, 50) / 4, rng.integers(1, 6, 30) / 4),
        detection("constant", np.zeros(7), np.zeros(3)),
        detection("separated", [0.1, 0.2], [0.3, 0.4, 0.5]),
        detection("reversed", [0.3, 0.4, 0.5], [0.1, 0.2]),
        detection("one against one, tied", [0.5], [0.5]),
    ]
    x, binary = normal(200), (rng.random(200) < 0.4).astype(float)
    case_rank = [
        rank("no ties", x, np.exp(x) + normal(200)),
        rank("no association", normal(100), normal(100)),
        rank("binary, as errors are", x, binary),
        rank("heavy ties", rng.integers(0, 3, 60), rng.integers(0, 3, 60)),
        rank("three examples", [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]),
        rank("negative and strong", x, -x + 0.05 * normal(200)),
        rank("thousands", np.arange(3000) % 7, (np.arange(3000) ** 2) % 11),
    ]
    values = normal(5)
    case_summary = [
        {"values": flat(values), "mean": float(values.mean()), "sample_sd": float(values.std(ddof=1))},
        {"values": [0.25, 0.75], "mean": 0.5, "sample_sd": float(np.std([0.25, 0.75], ddof=1))},
    ]
    document = {
        "seed": SEED,
        "versions": {module.__name__: module.__version__ for module in [np, scipy, sklearn, torch, torchmetrics]},
        "predictive": case_predictive,
        "calibration": case_calibration,
        "selective": case_selective,
        "quantiles": case_quantiles,
        "detection": case_detection,
        "rank": case_rank,
        "summary": case_summary,
    }
    document["versions"]["torch"] = document["versions"]["torch"].split("+")[0]
    lines = []
    for key, value in document.items():
        if isinstance(value, list):
            cases = ",\n".join(json.dumps(case, allow_nan=False, separators=(",", ":")) for case in value)
            lines.append(f'"{key}":[\n{cases}\n]')
        else:
            lines.append(f'"{key}":{json.dumps(value)}')
    path = pathlib.Path(__file__).with_name("metrics.json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
