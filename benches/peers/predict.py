"""Predictives of an adapted classifier: the deterministic pass, v1's loop and its faster variants.

A variant is a list of words: `sorted` (by length, before batches are formed), `batched` (T copies of a batch in one pass), `cheap`
(dropout.py), `compiled` (torch.compile), `bf16` (autocast), `weights-in-bf16` (the whole model in bf16). With none of them it is v1's loop: T passes for each padded batch,
softmax, mean.
"""

import contextlib
import json

import numpy
import peft
import torch
from transformers import AutoModelForSequenceClassification

from dropout import make_cheap, train_dropout_only


def load(model, adapter, trainable=False):
    base = AutoModelForSequenceClassification.from_pretrained(model, num_labels=2, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(base, adapter, is_trainable=trainable)


def padded(sentences):
    longest = max(map(len, sentences))
    ids = torch.zeros((len(sentences), longest), dtype=torch.long)
    mask = torch.zeros((len(sentences), longest), dtype=torch.long)
    for row, sentence in enumerate(sentences):
        ids[row, :len(sentence)] = torch.tensor(sentence)
        mask[row, :len(sentence)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def moments(logits):
    """Means and variances over samples of probabilities and logits, `[4, texts, classes]`; the variance of one is 0."""
    rows = []
    for values in (logits.double().softmax(-1), logits.double()):
        rows.append(values.mean(0))
        rows.append(values.var(0) if len(values) > 1 else torch.zeros_like(values[0]))
    return torch.stack(rows).to(torch.float32).numpy().astype(numpy.float32)


class Predict:
    def __init__(self, job):
        self.words = job["variant"].split("+")
        unknown = set(self.words) - {"loop", "sorted", "batched", "cheap", "compiled", "bf16", "weights-in-bf16"}
        if unknown:
            raise ValueError(f"unknown variant {unknown}")
        self.samples, self.size = job["samples"], job["batch"]
        self.model = load(job["model"], job["adapter"])
        if "weights-in-bf16" in self.words:
            self.model.to(torch.bfloat16)
        self.model.eval()
        if self.samples > 0:
            train_dropout_only(self.model)
            if "cheap" in self.words:
                make_cheap(self.model, job["seed"])
        self.call = self.model
        if "compiled" in self.words:
            # Lengths differ from batch to batch: one graph for all of them.
            self.call = torch.compile(self.model, dynamic=True)
        with open(job["input"], encoding="utf-8") as file:
            self.tokens = json.load(file)["tokens"]
        self.kept = None

    def warm(self):
        """Every shape once, then all samples of a batch: graphs are compiled, memory is touched."""
        self.predict(min(self.samples, 1), self.tokens)
        self.predict(min(self.samples, 20), self.tokens[:self.size])

    def run(self):
        self.kept = self.predict(self.samples, self.tokens)
        return {"tokens": sum(map(len, self.tokens)), "padded": self.padded}

    def predict(self, samples, tokens):
        """Logits and mean probabilities, in the order of the texts."""
        order = range(len(tokens))
        if "sorted" in self.words:
            order = sorted(order, key=lambda place: len(tokens[place]))
        copies = max(samples, 1)
        logits = torch.empty((copies, len(tokens), 2))
        cast = torch.autocast("cpu", torch.bfloat16) if "bf16" in self.words else contextlib.nullcontext()
        self.padded = 0
        with torch.inference_mode(), cast:
            for start in range(0, len(order), self.size):
                places = list(order[start:start + self.size])
                batch = padded([tokens[place] for place in places])
                self.padded += batch["input_ids"].numel()
                if "batched" in self.words:
                    many = {name: value.repeat(copies, 1) for name, value in batch.items()}
                    logits[:, places] = self.call(**many).logits.float().view(copies, len(places), 2)
                else:
                    for sample in range(copies):
                        logits[sample, places] = self.call(**batch).logits.float()
            return logits, logits.softmax(-1).mean(0)

    def outputs(self):
        return moments(self.kept[0])
