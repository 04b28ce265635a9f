"""Recomputes a table from what its records keep of every text, and compares it with what the program wrote.

    make report                                            # writes table.csv beside every table
    python results/recompute.py results/decoder-classify/trec

Needs numpy and scipy. Scores (accuracy, NLL, Brier score, ECE, AURC, AUROC of the entropy) and their means and deviations over seeds are made
anew, and so are the differences from the reference, and those of contrasts, with their p-values, for the metrics that are means and for AUROC. So is what scores know
beyond one pass (beyond.csv), with one error of each kind by permutation. ECE and AURC are
resampled by the program with its own random numbers: of those the difference is compared, not the p-value. Columns have four digits, so
scores agree to their relative error, not bit by bit. An ECE may be off by the texts that rounding moves across an edge of a bin, an
AURC by the order of texts that it ties. The script exits with 1 where something disagrees.
"""

import collections
import csv
import itertools
import json
import pathlib
import re
import sys

import numpy as np
from scipy import optimize, special, stats

TEMPERED = "+temperature"
# Relative to the value, or to 0.05 where it is smaller: four digits of every text, averaged.
SCORE = 2e-4
# Of a p-value: rounding of the columns moves ties of detection scores.
P_VALUE = 0.02


def read(folder):
    """Columns by row, test set and seed; the test set in distribution; the reference."""
    texts = collections.defaultdict(dict)
    inside = None
    for path in sorted((folder / "units").glob("*.json")):
        unit = json.loads(path.read_text())
        for row in unit["outcome"].get("rows", []):
            for domain in row["domains"]:
                inside = domain["domain"] if domain["in_distribution"] else inside
                if "per_text" in domain:
                    texts[row["row"], domain["domain"]][unit["seed"]] = columns(domain["per_text"])
    return texts, inside


def columns(kept):
    p = np.array(kept.get("label_probability", []))
    wrong = np.array(kept.get("wrong", []), dtype=int)
    correct = np.ones(len(p), dtype=bool)
    correct[wrong] = False
    top = p.copy()
    top[wrong] = kept.get("wrong_probability") or 1 - p[wrong]
    entropy = np.array(kept.get("predictive_entropy", []))
    if not len(entropy) and kept["classes"] == 2:
        entropy = stats.entropy(np.stack([p, 1 - p]), axis=0)
    kept_too = {name: np.array(kept.get(name, [])) for name in ("mutual_information", "pass_entropy")}
    return {"p": p, "correct": correct, "top": top, "entropy": entropy, "classes": kept["classes"], **kept_too}


def per_text(metric, own):
    """What the metric is the mean of, or None."""
    if not len(own["p"]):
        return None
    if metric == "accuracy":
        return own["correct"].astype(float)
    if metric == "nll":
        return -np.log(own["p"])
    if metric == "brier" and own["classes"] == 2:
        return 2 * (1 - own["p"]) ** 2
    return None


EDGES = np.arange(1, 15) / 15


def ece(own, bins=15):
    place = np.searchsorted(EDGES, own["top"], side="right")
    gaps = [abs(own["correct"][place == b].sum() - own["top"][place == b].sum()) for b in range(bins)]
    return sum(gaps) / len(place)


def at_an_edge(own):
    """Share of texts that rounding may have moved into the next bin: what the ECE is then off by."""
    return np.mean(np.abs(own["top"][:, None] - EDGES).min(1) <= 5.1e-5)


def aurc(own):
    """Mean risk over coverages; tied texts share their errors evenly."""
    answered = errors = area = 0.0
    for top in np.unique(own["top"])[::-1]:
        tied = own["top"] == top
        count, wrong = tied.sum(), (~own["correct"][tied]).sum()
        area += sum((errors + wrong * k / count) / (answered + k) for k in range(1, count + 1))
        answered, errors = answered + count, errors + wrong
    return area / answered


def among_ties(own):
    """How far the AURC of the program, which has all digits, may be from that of rounded columns: errors last or first among tied texts."""
    ends = []
    for first in (own["correct"], ~own["correct"]):
        wrong = ~own["correct"][np.lexsort((first, -own["top"]))]
        ends.append((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())
    return abs(ends[0] - ends[1])


def placements(inside, outside):
    """AUROC and the structural components of DeLong's test, over the texts of both."""
    below = stats.rankdata(np.concatenate([inside, outside]))
    n, m = len(inside), len(outside)
    of_outside = (below[n:] - stats.rankdata(outside)) / n
    of_inside = 1 - (below[:n] - stats.rankdata(inside)) / m
    area = of_outside.mean()
    scaled = [(of_inside - area) / np.sqrt(n * (n - 1)), (of_outside - area) / np.sqrt(m * (m - 1))]
    return area, np.concatenate(scaled)


def fits(metric, row, domain, inside, texts):
    """Seeds, values and deviations `[fits, texts]` (None where they are resampled), or None where the metric is not defined."""
    own = texts.get((row, domain))
    if not own:
        return None
    seeds, values, deviations = sorted(own), [], []
    for seed in seeds:
        if metric == "auroc_predictive_entropy":
            here, there = own[seed]["entropy"], texts[row, inside].get(seed, {}).get("entropy", [])
            if domain == inside or not len(here) or not len(there):
                return None
            area, psi = placements(there, here)
            values.append(area)
            deviations.append(psi)
        elif metric in ("ece", "aurc"):
            if not len(own[seed]["p"]) or (metric == "aurc" and domain != inside):
                return None
            values.append({"ece": ece, "aurc": aurc}[metric](own[seed]))
        else:
            x = per_text(metric, own[seed])
            if x is None:
                return None
            values.append(x.mean())
            deviations.append((x - x.mean()) / np.sqrt(len(x) * (len(x) - 1)))
    return seeds, np.array(values), np.array(deviations) if deviations else None


def prior(variances, own):
    variances = np.maximum(variances, 1e-5 * np.median(variances))
    if len(variances) < 2 or variances.min() <= 0:
        return 0.0, 0.0
    logs = np.log(variances) - special.digamma(own / 2) + np.log(own / 2)
    spread = np.var(logs, ddof=1) - special.polygamma(1, own / 2)
    if spread <= 0:
        return np.inf, variances.mean()
    d0 = 2 * optimize.brentq(lambda x: special.polygamma(1, x) - spread, 1e-8, 1e12, xtol=1e-14, rtol=1e-14)
    return d0, np.exp(logs.mean() + special.digamma(d0 / 2) - np.log(d0 / 2))


def tail(t, parts):
    parts = [(v, nu) for v, nu in parts if v > 0]
    total = sum(v for v, _ in parts)
    above = lambda log_p: sum(v / total * stats.t.isf(np.exp(log_p), nu) for v, nu in parts) - t
    return 0.5 if t == 0 else np.exp(optimize.brentq(above, -200, np.log(0.5), xtol=1e-12, rtol=1e-14))


def effects(rows, reference):
    """Estimate and p-value (None where texts are resampled) of every row of one group, beside all fits of the reference."""
    reference_seeds, x, phi = reference
    seeds, r, s, k = rows[0][0], len(x), len(rows[0][0]), len(rows)
    xs = x[[reference_seeds.index(seed) for seed in seeds]]
    slope, own = 1.0, s - 1
    varies = np.ptp(xs) > 0
    if r > s and not varies:
        slope = 0.0
    elif r > s:
        slope = float(np.clip(np.mean([np.polyfit(xs, y, 1)[0] for _, y, _ in rows]), 0, 1))
        own = s - 1 - 1 / k
    residuals = np.array([y - slope * xs for _, y, _ in rows])
    variances = residuals.var(1) * s / own
    d0, s0 = prior(variances, own)
    doubled = (xs.mean() - x.mean()) ** 2 / np.sum((xs - xs.mean()) ** 2) if varies else 0.0
    found = []
    for (_, _, psi), residual, variance in zip(rows, residuals, variances):
        estimate = residual.mean() - (1 - slope) * x.mean()
        if psi is None:
            found.append((estimate, None))
            continue
        if np.isinf(d0):
            posterior, degrees = s0, k * own
        elif d0 == 0:
            posterior, degrees = variance, own
        else:
            posterior, degrees = (d0 * s0 + own * variance) / (d0 + own), min(d0 + own, k * own)
        borrowed = (degrees - own) * min(1.0, s0 / variance) ** 2 if d0 else 0.0
        within = lambda p: np.mean([p[i] @ p[j] for i, j in itertools.permutations(range(len(p)), 2)])
        across = np.mean([psi[i] @ phi[j] for i, a in enumerate(seeds) for j, b in enumerate(reference_seeds) if a != b])
        parts = [
            (max(posterior, variance) / s, own + borrowed),
            (variances.mean() * doubled / k, k * own),
            ((1 - slope) ** 2 * x.var(ddof=1) / r, r - 1),
            (max(0.0, within(psi) + within(phi) - 2 * across), psi.shape[1] - 1),
        ]
        total = sum(v for v, _ in parts)
        found.append((estimate, min(1.0, 2 * tail(abs(estimate) / np.sqrt(total), parts)) if total > 0 else 1.0))
    return found


def reads_reference(row, reference, inside, texts):
    """Whether another reading of the row's fit predicts as the reference does, at every seed."""
    method = row.split("/")[0]
    for other in {key[0] for key in texts} - {row}:
        if other.split("/")[0] != method or other.endswith(TEMPERED):
            continue
        pairs = [(own["p"], texts[reference, inside].get(seed, {}).get("p")) for seed, own in texts[other, inside].items()]
        if all(q is not None and len(p) == len(q) and np.all(np.abs(p - q) <= 1e-3 * q) for p, q in pairs):
            return True
    return False


def scores_of(row, domain, reference, texts, distances):
    """What each score says of every text, fit by fit, beside the entropy of the pass."""
    own = texts[reference if row.startswith("+") else row, domain]
    seeds = sorted(own)
    following = dict(zip(seeds, seeds[1:] + seeds[:1]))
    entropy = {seed: fit["entropy"] for seed, fit in own.items()}
    top = {seed: 1 - fit["top"] for seed, fit in own.items()}
    if row == "+distances":
        return own, {name: {seed: values for seed in own} for name, values in distances.get(domain, {}).items()}, entropy
    if row == "+other-fit":
        return own, {"predictive_entropy": {seed: entropy[following[seed]] for seed in seeds}}, entropy
    if row == "+other-pass":
        passes = {seed: entropy[following[seed]] for seed in seeds}
        return own, {"predictive_entropy": entropy, "max_probability": top}, passes
    if row == "+same-pass":
        return own, {"max_probability": top}, entropy
    mean = texts.get((row.split("/")[0] + "/mean", domain))
    passes = {seed: (mean[seed]["entropy"] if mean else fit["pass_entropy"]) for seed, fit in own.items()}
    scores = {
        "max_probability": top,
        "predictive_entropy": entropy,
        "expected_entropy": {seed: fit["entropy"] - fit["mutual_information"] for seed, fit in own.items()},
        "mutual_information": {seed: fit["mutual_information"] for seed, fit in own.items()},
    }
    return own, scores, passes


def expected(rows, reference, inside, texts, distances):
    """Everything that beyond.csv has to answer: row, test set, question, score."""
    for row in [*rows, "+other-fit", "+other-pass", "+same-pass", *(["+distances"] if distances else [])]:
        placebo = row in ("+other-fit", "+other-pass")
        for domain in {key[1] for key in texts if key[0] == (reference if row.startswith("+") else row)}:
            own, scores, passes = scores_of(row, domain, reference, texts, distances)
            labelled = all(len(fit["p"]) for fit in own.values())
            classes = next(iter(own.values()))["classes"]
            if not all(len(values) for values in passes.values()):
                continue
            for name in scores:
                if name == "max_probability" and (classes == 2 or not labelled):
                    continue
                if labelled:
                    yield row, domain, "errors", name
                    errors = {seed: ~fit["correct"] for seed, fit in own.items()}
                    if all(leaves_something(values[seed], passes[seed]) for values in (scores[name], errors) for seed in own):
                        yield row, domain, "errors-given-entropy", name
                if domain != inside and not placebo:
                    yield row, domain, "shift", name


def over_texts_and_seeds(values, error, degrees):
    """Half the 95 % interval and two-sided p of the mean: variances over texts and seeds add up (Satterthwaite)."""
    values = np.array(values)
    parts = [(error**2, degrees)] + ([(values.var(ddof=1) / len(values), len(values) - 1)] if len(values) > 1 else [])
    total = sum(v for v, _ in parts)
    if total == 0:
        return 0.0, float(values.mean() == 0)
    nu = 1 / sum((v / total) ** 2 / nu for v, nu in parts if v > 0)
    return stats.t.ppf(0.975, nu) * np.sqrt(total), 2 * stats.t.sf(abs(values.mean()) / np.sqrt(total), nu)


def areas(score, given, positive):
    """Differences of two AUROCs, fit by fit, and the error of their mean over texts."""
    gains, deviations = [], 0
    for own, other, where in zip(score, given, positive):
        psi = []
        for values in (own, other):
            area, scaled = placements(values[~where], values[where])
            place = np.empty(len(where))
            place[np.flatnonzero(~where)], place[np.flatnonzero(where)] = scaled[: (~where).sum()], scaled[(~where).sum() :]
            psi.append((area, place))
        gains.append(psi[0][0] - psi[1][0])
        deviations = deviations + (psi[0][1] - psi[1][1]) / len(score)
    return gains, np.sqrt(deviations @ deviations)


def strata(values):
    """Places of about 20 texts each, by the order of `values`."""
    count, number = len(values), len(values) // 20
    return np.array_split(np.argsort(values, kind="stable"), [k * count // number for k in range(1, number)])


def left(values, rank):
    """What a line in the rank of the entropy leaves of values, in each of its strata."""
    rest = np.empty(len(values))
    for stratum in strata(rank):
        x, y = rank[stratum] - rank[stratum].mean(), values[stratum] - values[stratum].mean()
        rest[stratum] = y - (x @ y / (x @ x) if x @ x > 0 else 0) * x
    return rest


def leaves_something(values, given):
    """Whether a fit's score or errors have anything left to correlate: samples that hardly disagree rank texts as their pass does."""
    ranks = stats.rankdata(values)
    return np.linalg.norm(left(ranks, stats.rankdata(given))) > 1e-9 * np.linalg.norm(ranks - ranks.mean())


def within_strata(score, errors, given, random=None):
    """Correlation within strata of the entropy, fit by fit, the error of its mean over texts, and the degrees of freedom of that.

    With `random` the error is that of 2,000 permutations instead, corrected for the line in each stratum: a check by other means."""
    count = len(score[0])
    number = count // 20
    ranks = [stats.rankdata(values) for values in given]
    scaled = lambda values: values / np.linalg.norm(values)
    s = np.array([scaled(left(stats.rankdata(values), rank)) for values, rank in zip(score, ranks)])
    e = np.array([scaled(left(values.astype(float), rank)) for values, rank in zip(errors, ranks)])
    common = strata(np.sum(ranks, axis=0))
    if random is not None:
        drawn, order = [], np.arange(count)
        for _ in range(2000):
            for stratum in common:
                order[stratum] = random.permutation(stratum)
            drawn.append(np.mean(np.sum(s[:, order] * e, axis=1)))
        sizes = np.mean([(len(stratum) - 1) / (len(stratum) - 2) for stratum in common])
        return None, np.sqrt(np.mean(np.square(drawn)) * sizes), None
    mean = variance = 0.0
    for stratum in common:
        a, b = s[:, stratum], e[:, stratum]
        mean += len(stratum) * np.mean(a.mean(1) * b.mean(1))
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        variance += np.mean((a @ a.T) * (b @ b.T)) / (len(stratum) - 2)
    return np.sum(s * e, axis=1), np.sqrt(variance + mean**2), count - 2 * number


def recomputed(line, reference, texts, inside, distances):
    """Baseline, estimate, half the interval and p-value of a line of beyond.csv, and two errors that must be about the same."""
    own, scores, passes = scores_of(line["row"], line["domain"], reference, texts, distances)
    seeds = sorted(own)
    of = lambda values: [np.array(values[seed]) for seed in seeds]
    score, given = of(scores[line["score"]]), of(passes)
    errors = [~own[seed]["correct"] for seed in seeds]
    if line["question"] == "errors-given-entropy":
        values, error, degrees = within_strata(score, errors, given)
        permuted = within_strata(score, errors, given, np.random.default_rng(1))[1] if line["row"] == "+other-fit" else error
        return None, np.mean(values), *over_texts_and_seeds(values, error, degrees), error / permuted
    positive = errors
    if line["question"] == "shift":
        _, there, passes = scores_of(line["row"], inside, reference, texts, distances)
        there, before = of(there[line["score"]]), of(passes)
        positive = [np.repeat([False, True], [len(a), len(b)]) for a, b in zip(there, score)]
        score, given = ([np.concatenate(pair) for pair in zip(*both)] for both in ((there, score), (before, given)))
    gains, error = areas(score, given, positive)
    baseline = np.mean([placements(values[~where], values[where])[0] for values, where in zip(given, positive)])
    return baseline, np.mean(gains), *over_texts_and_seeds(gains, error, len(positive[0]) - 2), 1.0


def main():
    if len(sys.argv) != 2 or not (pathlib.Path(sys.argv[1]) / "units").is_dir():
        sys.exit(f"usage: {sys.argv[0]} FOLDER, one that has units/ and the table.csv of `make report`")
    folder = pathlib.Path(sys.argv[1])
    texts, inside = read(folder)
    if not texts:
        sys.exit(f"{folder}/units: no record keeps columns of texts; expected records with per_text")
    with open(folder / "table.csv", newline="") as file:
        table = list(csv.DictReader(line for line in file if not line.startswith("#")))
    experiment = next(path for path in [folder, *folder.parents] if (path / "experiment.toml").exists())
    reference = re.search(r'(?m)^reference = "(.*)"', (experiment / "experiment.toml").read_text())[1]
    counts, faults = collections.Counter(), []

    def check(what, own, written, tolerance):
        counts[what.split(",")[-1].strip()] += 1
        if abs(own - written) > tolerance:
            faults.append(f"{what}: {own:.7g} here, {written:.7g} in the program's files")

    tested = collections.defaultdict(list)
    for line in table:
        found = fits(line["metric"], line["row"], line["domain"], inside, texts)
        if found is None:
            continue
        name, (_, values, deviations) = f'{line["row"]}, {line["domain"]}, {line["metric"]}', found
        scale = SCORE * max(0.05, abs(values.mean()))
        if line["metric"] == "ece":
            scale += max(at_an_edge(own) for own in texts[line["row"], line["domain"]].values())
        if line["metric"] == "aurc":
            scale += max(among_ties(own) for own in texts[line["row"], line["domain"]].values())
        check(f"{name}, mean", values.mean(), float(line["mean"]), scale)
        if line["sd"]:
            check(f"{name}, deviation", values.std(ddof=1), float(line["sd"]), 2 * scale)
        if line["p_value"]:
            other = reference + TEMPERED if line["row"].endswith(TEMPERED) else reference
            other = fits(line["metric"], other, line["domain"], inside, texts)
            apart = reads_reference(line["row"].removesuffix(TEMPERED), reference, inside, texts)
            key = line["domain"], line["metric"], line["row"].endswith(TEMPERED), apart
            tested[key].append((name, found, other, line, 2 * scale))
    for group in tested.values():
        for (name, _, _, line, scale), (estimate, p) in zip(group, effects([own for _, own, *_ in group], group[0][2])):
            check(f"{name}, difference", estimate, float(line["difference"]), scale)
            if p is not None:
                check(f"{name}, p", np.log(max(p, 1e-300)), np.log(max(float(line["p_value"]), 1e-300)), P_VALUE)
    contrasts = folder / "contrasts.csv"
    named = re.search(r"(?m)^contrasts = (.*)", (experiment / "experiment.toml").read_text())
    pairs = re.findall(r'row = "(.*?)", beside = "(.*?)"', named[1]) if named else []
    if any((row, inside) in texts and (beside, inside) in texts for row, beside in pairs) and not contrasts.exists():
        faults.append("contrasts.csv: is not there, and the experiment names contrasts")
    for line in csv.DictReader(contrasts.read_text().splitlines()) if contrasts.exists() else []:
        own, other = (fits(line["metric"], row, line["domain"], inside, texts) for row in (line["row"], line["beside"]))
        (estimate, p), name = effects([own], other)[0], f'{line["row"]}, {line["beside"]}, {line["domain"]}, {line["metric"]}'
        scale = 2 * SCORE * max(0.05, abs(own[1].mean()))
        if slack := {"ece": at_an_edge, "aurc": among_ties}.get(line["metric"]):
            scale += max(slack(fit) for row in (line["row"], line["beside"]) for fit in texts[row, line["domain"]].values())
        check(f"{name}, contrast", estimate, float(line["difference"]), scale)
        if p is not None:
            check(f"{name}, p", np.log(max(p, 1e-300)), np.log(max(float(line["p_value"]), 1e-300)), P_VALUE)
    rows = {line["row"] for line in table if line["p_value"] and not line["row"].endswith(TEMPERED)}
    rows = [row for row in sorted(rows) if all(len(own["mutual_information"]) for own in texts[row, inside].values())]
    kept = [json.loads(path.read_text()) for path in (folder / "distances").glob("*.json")]
    if len(kept) > 1:
        sys.exit(f"{folder}/distances: {len(kept)} records; expected one at most")
    distances = {own.pop("domain"): own for record in kept for own in record["domains"]}
    with open(folder / "beyond.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    answered = {(line["row"], line["domain"], line["question"], line["score"]) for line in lines}
    for missing in answered ^ set(expected(rows, reference, inside, texts, distances)):
        faults.append(f"{', '.join(missing)}: in beyond.csv or here, and not in both")
    for line in lines:
        name = f'{line["row"]}, {line["domain"]}, {line["score"]}, {line["question"]}'
        baseline, estimate, half, p, ratio = recomputed(line, reference, texts, inside, distances)
        check(f"{name}, beyond one pass", estimate, float(line["estimate"]), SCORE)
        check(f"{name}, interval", estimate - half, float(line["lower"]), 2 * SCORE)
        check(f"{name}, interval", estimate + half, float(line["upper"]), 2 * SCORE)
        check(f"{name}, p", np.log(max(p, 1e-300)), np.log(max(float(line["p_value"]), 1e-300)), P_VALUE)
        if baseline is not None:
            check(f"{name}, baseline", baseline, float(line["baseline"]), SCORE)
        # An error of 2,000 draws is known to some percent.
        check(f"{name}, error of permutations", ratio, 1.0, 0.08)
    print(f"{folder}: " + ", ".join(f"{number} x {what}" for what, number in sorted(counts.items())))
    print("\n".join(faults) if faults else "everything agrees")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
