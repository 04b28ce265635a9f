"""Reference values for src/laplace/golden.rs, written to laplace.json and laplace.safetensors beside this file.

Run with torch, transformers and peft installed:

    python crates/compare/tests/golden/laplace.py

Laplace-LoRA (Yang, Robeyns, Wang and Aitchison, arXiv 2308.13111) of PEFT adapters on the tiny random encoders of the models crate,
written from its formulae and not from the Rust code: no rotation, no factor of the softmax's curvature, no contrasts. In f64:

- factors: the expectation over labels is the sum over y of p(y | x) times outer products of the gradient of log p(y | x), one pass back
  for each y;
- posterior: each block's precision kron(S, Q) + lambda I is assembled and inverted as a dense matrix;
- evidence: from log-determinants of those matrices, its optimum from their derivative by automatic differentiation;
- predictive: Jacobians of every logit by the weights themselves, one pass back for each logit.

A linear map with weight [o, i] has S = sum over sentences and rows of E_y[g g'] and Q = the mean over sentences and rows of a a': `expand`
below. A row is a token whose output some logit depends on: in the last block the queries of all tokens but the first have no effect, so
their gradients are 0 and the Rust code does not even compute them. `tokens` has them in the mean too. The paper's equation, as
methods.md has it, knows no tokens: sums over examples, each one row. Its code (adamxyang/laplace-lora, by ASDL) sums over all tokens in
both factors and divides Q by the number of *sentences*: `sentences`. `reduce` is K-FAC for shared weights after the sum over tokens
(Eschenhagen et al., arXiv 2311.00636). All of them are the same where a sentence has one token. `exact` (the
generalised Gauss-Newton matrix of all weights) and `blocks` (its diagonal blocks, one for each map) have no Kronecker approximation: what the
script prints of them says how far K-FAC is from what it approximates, and no test depends on it.

Everything is also computed with the network and the outer products of a sentence in f32, as the Rust code has them: `rounding` holds the
largest deviations, shares of the largest entry.
"""

import json
import math
import pathlib
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE / "../../../models/tests/golden"
FAMILIES = {
    "tiny": (BertConfig, BertForSequenceClassification, "bert."),
    "distilbert": (DistilBertConfig, DistilBertForSequenceClassification, ""),
}
CASES = [("tiny", "one-block"), ("tiny", "dense"), ("distilbert", "all-maps")]
PRECISIONS = [0.1, 10.0]


def load(family, case, dtype):
    """The adapted model as PEFT loads it, and the token ids of the sentences."""
    config, model, prefix = FAMILIES[family]
    folder = MODELS / family
    classes = load_file(str(folder / case / "gradients.safetensors"))["classifier.bias"].numel()
    base = model(config(**json.loads((folder / "config.json").read_text()), num_labels=classes))
    state = {prefix + name: tensor for name, tensor in load_file(str(folder / "model.safetensors")).items()}
    missing, unexpected = base.load_state_dict(state, strict=False)
    assert not unexpected and all("classifier" in name or "position_ids" in name for name in missing), (missing, unexpected)
    adapted = peft.PeftModel.from_pretrained(base, str(folder / case), is_trainable=True).eval().to(dtype)
    ids = [sentence["ids"] for sentence in json.loads((folder / "expected.json").read_text())["sentences"]]
    return adapted, ids, classes


class Map:
    """A linear module whose weights have a posterior; its bias, if it has one, is the weight of an input that is 1."""

    def __init__(self, name, module):
        self.name, self.module = name, module
        module.register_forward_hook(self.keep)

    def keep(self, _, inputs, output):
        rows = inputs[0].detach().flatten(0, -2)
        ones = rows.new_ones((len(rows), 0 if self.module.bias is None else 1))
        self.inputs, self.output = torch.cat([rows, ones], 1), output

    def parameters(self):
        return [p for p in (self.module.weight, self.module.bias) if p is not None]

    def flat(self, tensors):
        """[o * (i + 1)] of the weight and the bias: its column is the last."""
        return torch.cat([t.reshape(self.module.out_features, -1) for t in tensors], 1).flatten().double()

    def theta(self):
        return self.flat([p.detach() for p in self.parameters()])


def maps_of(adapted):
    """A and B of every adapter by name, then the head: of DistilBERT's two maps the last, the one before has no posterior."""
    found = []
    for name, module in adapted.named_modules():
        if name.endswith(("lora_A.default", "lora_B.default")) or name == "base_model.model.classifier.modules_to_save.default":
            name = name.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")
            found.append(Map(name, module))
    return sorted(found, key=lambda m: (m.name == "classifier", m.name))


class Curvature:
    """Factors, and Jacobians [C, weights] of every map at every sentence."""

    def __init__(self, logits_of, maps, sentences, train):
        self.maps, self.train = maps, train
        self.logits, self.jacobians = [], []
        # S; the sum of a a' over rows that count, their number; the same of all rows; S and Q of "reduce".
        sums = {m.name: [0] * 7 for m in maps}
        for number, sentence in enumerate(sentences):
            logits = logits_of(sentence)
            every = [p for m in maps for p in m.parameters()]
            jacobian = {m.name: [] for m in maps}
            for logit in logits:
                gradients = iter(torch.autograd.grad(logit, every, retain_graph=True))
                for m in maps:
                    jacobian[m.name].append(m.flat([next(gradients) for _ in m.parameters()]))
            self.logits.append(logits.detach().double())
            self.jacobians.append({name: torch.stack(rows) for name, rows in jacobian.items()})
            if number >= train:
                continue
            log_p = logits.log_softmax(-1)
            p = log_p.detach().double().exp()
            by_label = [torch.autograd.grad(label, [m.output for m in maps], retain_graph=True) for label in log_p]
            for m, gradients in zip(maps, zip(*by_label)):
                # [labels, rows, o]
                g = torch.stack([gradient.flatten(0, -2) for gradient in gradients])
                counts = (g != 0).any(2).any(0)
                a, reduced = m.inputs[counts], g.double().sum(1)
                mean = a.double().mean(0)
                found = [
                    sum(weight * (rows.T @ rows).double() for weight, rows in zip(p, g)),
                    (a.T @ a).double(), len(a), (m.inputs.T @ m.inputs).double(), len(m.inputs),
                    sum(weight * torch.outer(total, total) for weight, total in zip(p, reduced)), torch.outer(mean, mean),
                ]
                sums[m.name] = [total + part for total, part in zip(sums[m.name], found)]
        self.kinds = {
            "expand": {name: (s, q / rows) for name, (s, q, rows, *_) in sums.items()},
            "tokens": {name: (s, q / rows) for name, (s, _, _, q, rows, *_) in sums.items()},
            "sentences": {name: (s, q / train) for name, (s, _, _, q, *_) in sums.items()},
            "reduce": {name: (s, q / train) for name, (*_, s, q) in sums.items()},
        }
        self.factors = self.kinds["expand"]

    def curvatures(self, kind, names):
        """The matrix H of every block."""
        if kind in self.kinds:
            return [torch.kron(*self.kinds[kind][name]) for name in names]
        groups = [[name] for name in names] if kind == "blocks" else [names]
        return [self.gauss_newton(group) for group in groups]

    def gauss_newton(self, names):
        total = 0
        for n in range(self.train):
            p = self.logits[n].softmax(-1)
            j = torch.cat([self.jacobians[n][name] for name in names], 1)
            total = total + j.T @ (torch.diag(p) - torch.outer(p, p)) @ j
        return total

    def covariances(self, blocks, names, precision):
        """J (H + lambda I)^-1 J' of every sentence, [C, C]."""
        groups = [[name] for name in names] if len(blocks) == len(names) else [names]
        covariances = [0] * len(self.logits)
        for block, group in zip(blocks, groups):
            inverse = torch.linalg.inv(block + precision * torch.eye(len(block), dtype=block.dtype))
            for n, jacobians in enumerate(self.jacobians):
                j = torch.cat([jacobians[name] for name in group], 1)
                covariances[n] = covariances[n] + j @ inverse @ j.T
        return torch.stack(covariances)


def evidence(blocks, square, precision):
    """log p(D) less the log likelihood at theta*: -1/2 (log det (H + lambda I) - log det lambda I + lambda |theta*|^2)."""
    total = precision * square
    for block in blocks:
        identity = torch.eye(len(block), dtype=block.dtype)
        total = total + torch.linalg.slogdet(block + precision * identity)[1] - len(block) * torch.log(precision)
    return -0.5 * total


def optimum(blocks, square, largest=1000):
    """The root of the derivative of the evidence by log lambda; of blocks larger than `largest`, of the same function of their eigenvalues."""
    values = [torch.linalg.eigvalsh(b).clamp_min(0) for b in blocks if len(b) > largest]
    dense = [b for b in blocks if len(b) <= largest]
    low, high = math.log(1e-6), math.log(1e6)
    for _ in range(40):
        middle = torch.tensor((low + high) / 2, dtype=torch.float64, requires_grad=True)
        precision = middle.exp()
        value = evidence(dense, square, precision) - 0.5 * sum(torch.log1p(v / precision).sum() for v in values)
        slope = torch.autograd.grad(value, middle)[0]
        low, high = (middle.item(), high) if slope > 0 else (low, middle.item())
    return math.exp((low + high) / 2)


def centred(covariances):
    """Without what moves all logits alike, which no probability depends on."""
    classes = covariances.shape[-1]
    c = torch.eye(classes, dtype=torch.float64) - 1 / classes
    return c @ covariances @ c


def deviation(got, expected):
    """Of the largest entry."""
    return ((got - expected).abs().max() / expected.abs().max()).item()


def reach(single, double, names):
    """What a test compares, of the posterior over the maps with these names."""
    blocks, rough = double.curvatures("expand", names), single.curvatures("expand", names)
    square = sum((m.theta() ** 2).sum() for m in double.maps if m.name in names)
    best = optimum(blocks, square)
    rough_best = optimum(rough, square)
    precisions = [*PRECISIONS, best]
    record = {"precisions": precisions, "square": square.item(), "best_precision": best, "weights": sum(map(len, blocks))}
    record["evidence"], record["covariance"] = [], []
    rounding = {"best_precision": abs(rough_best / best - 1), "evidence": 0.0, "covariance": 0.0}
    for precision in precisions:
        value, near = (evidence(b, square, torch.tensor(precision, dtype=torch.float64)).item() for b in (blocks, rough))
        got, close = (centred(c.covariances(b, names, precision)) for c, b in ((double, blocks), (single, rough)))
        record["evidence"].append(value)
        record["covariance"].append(got.flatten().tolist())
        rounding["evidence"] = max(rounding["evidence"], abs(near / value - 1))
        rounding["covariance"] = max([rounding["covariance"], *map(deviation, close, got)])
    return record, rounding


def approximations(curvature, names, title):
    """How far each form of the curvature is from the Gauss-Newton matrix it stands for, at the precision of the latter's largest evidence: the
    variance of logits as a multiple of the exact one, medians over the training sentences and at the new one."""
    square = sum((m.theta() ** 2).sum() for m in curvature.maps if m.name in names)
    found = {}
    exact = curvature.curvatures("exact", names)
    reference = optimum(exact, square, 0)
    traces = lambda c: c.diagonal(dim1=1, dim2=2).sum(1)
    variance = lambda blocks, precision: centred(curvature.covariances(blocks, names, precision))
    same = variance(exact, reference)
    print(f"{title}: {len(exact[0])} weights, {len(names)} maps, {curvature.train} sentences")
    for kind in ("exact", "blocks", "expand", "tokens", "reduce", "sentences"):
        blocks = exact if kind == "exact" else curvature.curvatures(kind, names)
        best = reference if kind == "exact" else optimum(blocks, square, 0)
        at_same = variance(blocks, reference)
        at_own = at_same if kind == "exact" else variance(blocks, best)
        error = (at_same - same).flatten(1).norm(dim=1) / same.flatten(1).norm(dim=1)
        ratio, own, train = traces(at_same) / traces(same), traces(at_own) / traces(same), curvature.train
        found[kind] = {
            "best_precision": best,
            "evidence": evidence(blocks, square, torch.tensor(best, dtype=torch.float64)).item(),
            "trace": sum(block.diagonal().sum().item() for block in blocks),
            "variance_ratio_of_train": ratio[:train].median().item(),
            "variance_ratio_of_new": ratio[train].item(),
            "covariance_error_of_train": error[:train].median().item(),
            "covariance_error_of_new": error[train].item(),
            "variance_ratio_of_train_at_own_precision": own[:train].median().item(),
            "variance_ratio_of_new_at_own_precision": own[train].item(),
        }
        print(f"  {kind:10}" + "".join(f"  {key} {value:.4g}" for key, value in found[kind].items()))
    return found


def main():
    torch.set_num_threads(1)
    golden, tensors, rounding = [], {}, {"mean": 0.0, "factors": 0.0, "best_precision": 0.0, "evidence": 0.0, "covariance": 0.0}
    for family, case in CASES:
        found = {}
        for dtype in (torch.float32, torch.float64):
            adapted, ids, classes = load(family, case, dtype)
            maps = maps_of(adapted)
            logits_of = lambda tokens: adapted(torch.tensor([tokens])).logits[0]
            # The last sentence is not in the training set.
            found[dtype] = Curvature(logits_of, maps, ids, len(ids) - 1)
        single, double = found[torch.float32], found[torch.float64]
        names = [m.name for m in maps]
        record = {
            "model": family, "adapter": case, "classes": classes, "ids": ids, "train": len(ids) - 1, "maps": names,
            "mean": torch.stack(double.logits).flatten().tolist(),
            "traces": {name: [factor.trace().item() for factor in factors] for name, factors in double.factors.items()},
        }
        deviations = {
            "mean": [deviation(torch.stack(single.logits), torch.stack(double.logits))],
            "factors": [deviation(*pair) for name in names for pair in zip(single.factors[name], double.factors[name])],
        }
        record["reaches"] = {}
        for title, within in {"all": names, "all, frozen head": names[:-1], "head": names[-1:]}.items():
            record["reaches"][title], near = reach(single, double, within)
            for quantity, value in near.items():
                deviations.setdefault(quantity, []).append(value)
        rounding = {quantity: max(rounding[quantity], *deviations[quantity]) for quantity in rounding}
        record["approximations"] = approximations(double, names, f"{family}/{case}")
        golden.append(record)
        for name, factors in double.factors.items():
            # All of the larger adapter would not be a small file; the traces are there of every map.
            if case != "dense" or not name.startswith("bert.encoder"):
                for side, factor in zip(("outputs", "inputs"), factors):
                    tensors[f"{family}/{case}/{name}.{side}"] = factor.float().contiguous()
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "peft": peft.__version__}
    print("rounding", {quantity: f"{value:.1e}" for quantity, value in rounding.items()})
    text = json.dumps({"versions": versions, "rounding": rounding, "cases": golden})
    (HERE / "laplace.json").write_text(text + "\n")
    save_file(tensors, str(HERE / "laplace.safetensors"))


class Toy(torch.nn.Module):
    """A frozen map with a low-rank one beside it, at every token; no biases, which laplace-torch gives blocks of their own."""

    def __init__(self):
        super().__init__()
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.frozen, self.lora_A, self.lora_B, self.classifier = linear(5, 4).requires_grad_(False), linear(5, 2), linear(2, 4), linear(4, 3)

    def forward(self, x):
        h = self.frozen(x) + 2 * self.lora_B(self.lora_A(x))
        return self.classifier(torch.tanh(h).mean(1))


def check_laplace_torch():
    """The functions above against laplace-torch, sentences of one token and of three, Kronecker-factored and full."""
    sys.path.remove(str(HERE))  # This file has the name of theirs.
    from laplace import Laplace
    from laplace.curvature import CurvlinopsGGN

    for tokens in (1, 3):
        torch.manual_seed(tokens)
        toy = Toy().double()
        with torch.no_grad():
            for p in toy.parameters():
                p.normal_(0, 0.7)
        x, y = torch.randn(8, tokens, 5, dtype=torch.float64), torch.arange(8) % 3
        maps = [Map(name, getattr(toy, name)) for name in ("lora_A", "lora_B", "classifier")]
        names = [m.name for m in maps]
        ours = Curvature(lambda row: toy(row[None])[0], maps, list(x), 6)
        square = sum((m.theta() ** 2).sum() for m in maps)
        for structure, kind in (("kron", "expand"), ("full", "exact")):
            theirs = Laplace(toy, "classification", subset_of_weights="all", hessian_structure=structure, backend=CurvlinopsGGN)
            theirs.fit(torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x[:6], y[:6]), batch_size=6))
            blocks = ours.curvatures(kind, names)
            if kind == "expand":
                for (outputs, inputs), name in zip(theirs.H_facs.kfacs, names):
                    print(f"{tokens} tokens, {name}: outputs {deviation(outputs, ours.factors[name][0]):.1e}"
                          f"  inputs {deviation(inputs, ours.factors[name][1]):.1e}")
            log_lik = sum(ours.logits[n].log_softmax(-1)[y[n]] for n in range(6))
            for precision in (0.1, 3.0):
                precision = torch.tensor(precision, dtype=torch.float64)
                theirs.prior_precision = precision
                value = evidence(blocks, square, precision) + log_lik
                mean, covariance = theirs._glm_predictive_distribution(x)
                print(f"{tokens} tokens, {structure}, precision {precision}:"
                      f" evidence {abs(theirs.log_marginal_likelihood().item() / value.item() - 1):.1e}"
                      f"  mean {deviation(mean, torch.stack(ours.logits)):.1e}"
                      f"  covariance {deviation(covariance, ours.covariances(blocks, names, precision)):.1e}")


if __name__ == "__main__":
    check_laplace_torch() if "--laplace-torch" in sys.argv else main()
