"""Reference values for tests/golden.rs, written to posteriors.json beside this file.

Run with numpy and torch installed:

    python crates/adapters/tests/golden/generate.py

Every posterior is written from its definition (theory.md, section 1; methods.md, section 6) in f64: masks multiply what they
multiply, C-LoRA draws its whole r x r matrix, gradients are torch.autograd's. The noise is Philox4x32-10 written again in
numpy, addressed as noise.rs documents it, so the values test the generator too.
"""

import json
import pathlib

import numpy as np
import torch

SEED = 0x0123456789ABCDEF
SLOT = (3, 2)  # block 3, value
EXAMPLES, LENGTHS = [4, 9], [3, 2]
FIRST_SAMPLE, SAMPLES = 5, 2
STREAM_TRAINING = 2
SHARED, ANY = 2**32 - 1, 2**16 - 1
D_IN, D_OUT, RANK, HIDDEN = 6, 5, 3, 4
SCALE, BETA = 1.5, 0.2


def philox(counter, key):
    counter, key = [int(word) for word in counter], [int(word) for word in key]
    for _ in range(10):
        product0, product1 = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (product1 >> 32) ^ counter[1] ^ key[0],
            product1 & 0xFFFFFFFF,
            (product0 >> 32) ^ counter[3] ^ key[1],
            product0 & 0xFFFFFFFF,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def words(sample, example, position, count):
    out = []
    for block in range(-(-count // 4)):
        counter = [block, position << 16 | SLOT[0] << 8 | SLOT[1], example, sample | STREAM_TRAINING << 24]
        out += philox(counter, [SEED & 0xFFFFFFFF, SEED >> 32])
    return np.array(out[:count], np.float64)


def noise(scope, width, fill):
    """`fill` of the words of every row of every sample, [samples, rows, width]."""
    rows = [(example, position) for example, length in zip(EXAMPLES, LENGTHS) for position in range(length)]
    table = np.zeros((SAMPLES, len(rows), width))
    for s in range(SAMPLES):
        for row, (example, position) in enumerate(rows):
            example = SHARED if scope == "sample" else example
            position = position if scope == "token" else ANY
            table[s, row] = fill(FIRST_SAMPLE + s, example, position, width)
    return torch.tensor(table)


def multipliers(scope, width, keep):
    return noise(scope, width, lambda *at: (words(*at) < round(keep * 2**32)) / keep)


def normals(scope, width):
    def fill(sample, example, position, count):
        uniform = (words(sample, example, position, count + count % 2) + 0.5) / 2**32
        radius, angle = np.sqrt(-2 * np.log(uniform[0::2])), 2 * np.pi * uniform[1::2]
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()[:count]

    return noise(scope, width, fill)


def dropout(site, scope, p):
    keep = 1 - p

    def increment(tensors, x):
        a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
        x = x.expand(SAMPLES, -1, -1)
        if site == "input":
            core = (x * multipliers(scope, D_IN, keep)) @ a.T
        elif site == "rank":
            core = (x @ a.T) * multipliers(scope, RANK, keep)
        else:
            masks = multipliers(scope, RANK * D_IN, keep).reshape(SAMPLES, -1, RANK, D_IN)
            core = ((masks * a) @ x.unsqueeze(-1)).squeeze(-1)
        return SCALE * core @ b.T, None

    return increment


ACTIVATIONS = {
    "sigmoid-squared": lambda g: torch.sigmoid(g) ** 2,
    "tanh-squared": lambda g: torch.tanh(g) ** 2,
    "softplus": torch.nn.functional.softplus,
}


def divergence_from_prior(mean, sigma):
    """KL of the entries of the core from N(0, beta^2), with the reference code's guard inside the logarithm."""
    entries = np.log(BETA) - torch.log(sigma + 1e-6) + (sigma**2 + mean**2) / (2 * BETA**2) - 0.5
    prior = torch.distributions.Normal(0.0, torch.tensor(BETA, dtype=torch.float64))
    exact = torch.distributions.kl_divergence(torch.distributions.Normal(mean, sigma), prior)
    wide = sigma > 1e-2
    assert torch.allclose(entries[wide], exact[wide], rtol=0, atol=1e-4)
    return entries.sum()


def contextual(activation, scope):
    def increment(tensors, x):
        a, b = tensors["lora_A.weight"], tensors["lora_B.weight"]
        u = x @ a.T
        hidden = torch.relu(u @ tensors["contextual.0.weight"].T + tensors["contextual.0.bias"])
        out = hidden @ tensors["contextual.2.weight"].T + tensors["contextual.2.bias"]
        mean, raw = (part.reshape(*part.shape[:-1], RANK, RANK) for part in out.split(RANK * RANK, -1))
        sigma = ACTIVATIONS[activation](raw)
        center = (mean @ u.unsqueeze(-1)).squeeze(-1)
        if scope == "token":
            # r normals per row have the law of the r x r of the definition; the wider scopes below draw them all.
            deviation = ((sigma * u.unsqueeze(-2)) ** 2).sum(-1).sqrt() * normals(scope, RANK)
        else:
            matrix = sigma * normals(scope, RANK * RANK).reshape(SAMPLES, -1, RANK, RANK)
            deviation = (matrix @ u.unsqueeze(-1)).squeeze(-1)
        return SCALE * (center + deviation) @ b.T, divergence_from_prior(mean, sigma)

    return increment


def values(*shape, rng):
    return torch.tensor(rng.standard_normal(shape).astype(np.float32).astype(np.float64), requires_grad=True)


def case(name, posterior, increment, rng, shared):
    tensors = {"lora_A.weight": values(RANK, D_IN, rng=rng), "lora_B.weight": values(D_OUT, RANK, rng=rng)}
    if posterior["kind"] == "contextual":
        tensors["contextual.0.weight"] = values(HIDDEN, RANK, rng=rng)
        tensors["contextual.0.bias"] = values(HIDDEN, rng=rng)
        tensors["contextual.2.weight"] = values(2 * RANK * RANK, HIDDEN, rng=rng)
        tensors["contextual.2.bias"] = values(2 * RANK * RANK, rng=rng)
    x = values(1 if shared else SAMPLES, sum(LENGTHS), D_IN, rng=rng)
    weights = values(SAMPLES, sum(LENGTHS), D_OUT, rng=rng).detach()
    output, divergence = increment(tensors, x)
    loss = (output * weights).sum() + (0 if divergence is None else divergence)
    loss.backward()

    def plain(tensor):
        # Seven digits, of which tests ask five.
        return {"shape": list(tensor.shape), "values": [float(f"{v:.7g}") for v in tensor.detach().ravel().tolist()]}

    return {
        "name": f"{name}, {'shared' if shared else 'separate'} activations",
        "posterior": posterior,
        "tensors": {name: plain(tensor) for name, tensor in tensors.items()},
        "x": plain(x),
        "weights": plain(weights),
        "increment": plain(output),
        "divergence": None if divergence is None else divergence.item(),
        "gradients": {name: plain(tensor.grad) for name, tensor in tensors.items()} | {"x": plain(x.grad)},
    }


def main():
    rng = np.random.default_rng(20241124)
    cases = []
    for shared in (True, False):
        for scope in ("token", "sequence", "sample"):
            for site in ("input", "rank", "weight"):
                posterior = {"kind": "dropout", "site": site, "scope": scope, "dropout": 0.3}
                cases.append(case(f"{site}, {scope}", posterior, dropout(site, scope, 0.3), rng, shared))
            for activation in ACTIVATIONS:
                posterior = {"kind": "contextual", "hidden": HIDDEN, "activation": activation, "prior-sd": BETA, "scope": scope}
                cases.append(case(f"{activation}, {scope}", posterior, contextual(activation, scope), rng, shared))
    golden = {
        "versions": {"numpy": np.__version__, "torch": torch.__version__},
        "seed": SEED,
        "slot": {"block": SLOT[0], "map": "value"},
        "examples": EXAMPLES,
        "lengths": LENGTHS,
        "samples": [FIRST_SAMPLE, FIRST_SAMPLE + SAMPLES],
        "scale": SCALE,
        "cases": cases,
    }
    path = pathlib.Path(__file__).with_name("posteriors.json")
    path.write_text(json.dumps(golden) + "\n")


main()
