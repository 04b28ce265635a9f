"""The training step: forward with the adapters' dropout on, backward, clipping, AdamW. Batches in the order given.

A variant is a list of words: `peft`, with `bf16` (autocast) or `cached` (a decoder's blocks below the first adapter computed once, before
the clock).
"""

import contextlib
import json
import time

import torch

from dropout import adapters, train_dropout_only
from predict import load, padded

# Steps before the clock starts: memory is being touched for the first time.
WARM = 2


def cut_prefix(model):
    """Takes the blocks below the first adapter out of a decoder; a function that computes them."""
    decoder = model.get_base_model().model
    first = min(int(name.split(".layers.")[1].split(".")[0]) for name, _ in adapters(model))
    below, above = decoder.layers[:first], decoder.layers[first:]
    norm, identity, count = decoder.norm, torch.nn.Identity(), decoder.config.num_hidden_layers

    def prefix(**batch):
        decoder.layers, decoder.norm, decoder.config.num_hidden_layers = below, identity, first
        try:
            return decoder(**batch, use_cache=False).last_hidden_state
        finally:
            decoder.layers, decoder.norm, decoder.config.num_hidden_layers = above, norm, count - first

    decoder.layers, decoder.config.num_hidden_layers = above, count - first
    return prefix


class Train:
    def __init__(self, job):
        self.job = job
        with open(job["input"], encoding="utf-8") as file:
            data = json.load(file)
        self.tokens, self.labels = data["tokens"], torch.tensor(data["labels"])
        self.model = load(job["model"], job["adapter"], trainable=True)
        train_dropout_only(self.model)
        self.words = job["variant"].split("+")
        self.prefix = cut_prefix(self.model) if "cached" in self.words else None
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.initial = [p.detach().clone() for p in self.parameters]

    def warm(self):
        self.steps(WARM)

    def run(self):
        return self.steps(len(self.job["factors"]))

    def steps(self, count):
        rate = self.job["rate"]
        with torch.no_grad():
            for parameter, initial in zip(self.parameters, self.initial):
                parameter.copy_(initial)
        optimiser = torch.optim.AdamW(self.parameters, lr=rate, weight_decay=0.0)
        seconds, tokens, padded_tokens = 0.0, 0, 0
        for step, factor in enumerate(self.job["factors"][:count]):
            places = slice(step * self.job["batch"], (step + 1) * self.job["batch"])
            batch = self.batch(places)
            started = time.perf_counter()
            if self.prefix is None:
                batch = padded(self.tokens[places])
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.zero_grad()
            with torch.autocast("cpu", torch.bfloat16) if "bf16" in self.words else contextlib.nullcontext():
                logits = self.logits(batch)
            torch.nn.functional.cross_entropy(logits.float(), self.labels[places]).backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, self.job["clip"])
            optimiser.step()
            if step >= WARM:
                seconds += time.perf_counter() - started
                tokens += int(batch["attention_mask"].sum())
                padded_tokens += batch["attention_mask"].numel()
        return {"seconds": seconds, "tokens": tokens, "padded": padded_tokens}

    def batch(self, places):
        """Padded tokens, or activations above the prefix."""
        batch = padded(self.tokens[places])
        if self.prefix is None:
            return batch
        with torch.no_grad():
            hidden = self.prefix(**batch)
        return {"inputs_embeds": hidden, "attention_mask": batch["attention_mask"]}

    def logits(self, batch):
        if self.prefix is None:
            return self.model(**batch).logits
        # Without token numbers the model cannot see which token is the last of a text.
        causal = self.model.get_base_model()
        hidden = causal.model(**batch, use_cache=False).last_hidden_state
        last = batch["attention_mask"].sum(1) - 1
        return causal.score(hidden[torch.arange(len(last)), last])

    def outputs(self):
        """Logits of the first batch at the mean of the posterior, after training."""
        self.model.eval()
        with torch.inference_mode():
            logits = self.logits(self.batch(slice(0, self.job["batch"])))
        train_dropout_only(self.model)
        return logits.numpy()
