"""The training step: forward with the adapters' dropout on, backward, clipping, AdamW. Batches in the order given."""

import json
import time

import torch

from dropout import train_dropout_only
from predict import load, padded

# Steps before the clock starts: memory is being touched for the first time.
WARM = 2


class Train:
    def __init__(self, job):
        self.job = job
        with open(job["input"], encoding="utf-8") as file:
            data = json.load(file)
        self.tokens, self.labels = data["tokens"], torch.tensor(data["labels"])
        self.model = load(job["model"], job["adapter"], trainable=True)
        train_dropout_only(self.model)
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
            started = time.perf_counter()
            batch = padded(self.tokens[places])
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(self.model(**batch).logits, self.labels[places])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.parameters, self.job["clip"])
            optimiser.step()
            if step >= WARM:
                seconds += time.perf_counter() - started
                tokens += int(batch["attention_mask"].sum())
                padded_tokens += batch["input_ids"].numel()
        return {"seconds": seconds, "tokens": tokens, "padded": padded_tokens}

    def outputs(self):
        """Logits of the first batch at the mean of the posterior, after training."""
        self.model.eval()
        with torch.inference_mode():
            logits = self.model(**padded(self.tokens[:self.job["batch"]])).logits
        train_dropout_only(self.model)
        return logits.numpy()
