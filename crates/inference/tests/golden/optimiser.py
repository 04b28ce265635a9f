"""Reference values for tests/optimiser_golden.rs, written to optimiser.json beside this file.

Run with torch and transformers installed:

    python crates/compare/tests/golden/optimiser.py

Two parameters under torch.optim.AdamW with weight decay and one under torch.optim.SGD, all clipped together by
torch.nn.utils.clip_grad_norm_ and scheduled by transformers' get_linear_schedule_with_warmup. The gradients are given numbers
of very different size, so that some steps are clipped and some are not.
"""

import json
import math
import pathlib

import numpy as np
import torch
import transformers

RATE, SGD_RATE, DECAY, CLIP = 0.03, 0.2, 0.1, 1.0
STEPS, WARMUP = 23, 0.1
SHAPES = {"first": [3, 4], "second": [5], "sgd": [2, 3]}


def main():
    rng = np.random.default_rng(20241124)
    draw = lambda shape, scale: torch.tensor(rng.standard_normal(shape) * scale).float().double()
    parameters = {name: torch.nn.Parameter(draw(shape, 1.0)) for name, shape in SHAPES.items()}
    initial = {name: parameter.detach().ravel().tolist() for name, parameter in parameters.items()}
    adamw = torch.optim.AdamW([parameters["first"], parameters["second"]], lr=RATE, weight_decay=DECAY)
    sgd = torch.optim.SGD([parameters["sgd"]], lr=SGD_RATE)
    warmup = math.ceil(WARMUP * STEPS)
    schedules = [transformers.get_linear_schedule_with_warmup(o, warmup, STEPS) for o in (adamw, sgd)]
    steps = []
    for _ in range(STEPS):
        scale = 10.0 ** rng.uniform(-3, 1)
        gradients = {name: draw(shape, scale) for name, shape in SHAPES.items()}
        for name, parameter in parameters.items():
            parameter.grad = gradients[name].clone()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        for optimiser, schedule in zip((adamw, sgd), schedules):
            optimiser.step()
            schedule.step()
        steps.append({
            "gradients": {name: gradient.ravel().tolist() for name, gradient in gradients.items()},
            "norm": norm.item(),
            "parameters": {name: parameter.detach().ravel().tolist() for name, parameter in parameters.items()},
        })
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "rate": RATE, "sgd_rate": SGD_RATE, "decay": DECAY, "clip_norm": CLIP, "warmup": WARMUP,
        "shapes": SHAPES, "initial": initial, "steps": steps,
    }
    pathlib.Path(__file__).with_name("optimiser.json").write_text(json.dumps(golden) + "\n")


main()
