"""T samples of one adapted map: PEFT's own layer in a loop, and loops that compute the frozen product once."""

import time

import peft
import torch
from safetensors.torch import load_file

from dropout import make_cheap, train_dropout_only


# As in worker/layer.rs.
CALLS = 5


class One(torch.nn.Module):
    """A model with a single map."""

    def __init__(self, weight, bias):
        super().__init__()
        self.map = torch.nn.Linear(weight.shape[1], weight.shape[0])
        self.map.weight.data, self.map.bias.data = weight, bias


class Layer:
    def __init__(self, job):
        self.variant, self.samples = job["variant"], job["samples"]
        if self.variant not in ("loop", "hoisted", "hoisted+cheap"):
            raise ValueError(f"unknown variant {self.variant}")
        tensors = load_file(job["input"])
        self.x = tensors["x"]
        settings = peft.LoraConfig(
            r=tensors["a"].shape[0], lora_alpha=job["scale"] * tensors["a"].shape[0], lora_dropout=job["dropout"],
            target_modules=["map"],
        )
        model = peft.get_peft_model(One(tensors["w"], tensors["bias"]), settings)
        self.layer = model.base_model.model.map
        self.layer.lora_A["default"].weight.data = tensors["a"]
        self.layer.lora_B["default"].weight.data = tensors["b"]
        train_dropout_only(model)
        if "cheap" in self.variant:
            make_cheap(model, job["seed"])
        self.kept = None

    def warm(self):
        self.sample()

    def run(self):
        started = time.perf_counter()
        for _ in range(CALLS):
            self.sample()
        return {"seconds": (time.perf_counter() - started) / CALLS}

    def sample(self):
        layer, x = self.layer, self.x
        self.kept = None
        with torch.inference_mode():
            if self.variant == "loop":
                self.kept = [layer(x) for _ in range(self.samples)]
                return
            a, b = layer.lora_A["default"], layer.lora_B["default"].weight.t()
            drop, scale, frozen = layer.lora_dropout["default"], layer.scaling["default"], layer.base_layer(x)
            self.kept = [torch.addmm(frozen, a(drop(x)), b, alpha=scale) for _ in range(self.samples)]

    def outputs(self):
        """Mean and variance over samples, `[2, rows, d_out]`."""
        kept = torch.stack(self.kept).double()
        return torch.stack([kept.mean(0), kept.var(0)]).float().numpy()
