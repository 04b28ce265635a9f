"""Questions of a language model: each option's text is scored by its mean log-likelihood per token after the prompt.

A variant is a list of words, as in predict.py: `sorted`, `cheap`, `bf16`, `weights-in-bf16`; `read` applies the language head at the tokens
that are read only. With none of them it is the usual loop: T passes for each padded batch, logits at every token. Options of one token
each share one text; of longer options each is a text with the prompt before it.
"""

import contextlib
import json

import peft
import torch
from transformers import AutoModelForCausalLM

from dropout import make_cheap, train_dropout_only
from predict import moments, padded


class Ask:
    def __init__(self, job):
        self.words = job["variant"].split("+")
        unknown = set(self.words) - {"loop", "sorted", "cheap", "read", "bf16", "weights-in-bf16"}
        if unknown:
            raise ValueError(f"unknown variant {unknown}")
        self.samples, self.size = job["samples"], job["batch"]
        base = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
        self.model = peft.PeftModel.from_pretrained(base, job["adapter"])
        if "weights-in-bf16" in self.words:
            self.model.to(torch.bfloat16)
        self.model.eval()
        if self.samples > 0:
            train_dropout_only(self.model)
            if "cheap" in self.words:
                make_cheap(self.model, job["seed"])
        with open(job["input"], encoding="utf-8") as file:
            self.questions = json.load(file)
        self.kept = None

    def warm(self):
        """Every shape once, then all samples of a batch: memory is touched."""
        self.predict(min(self.samples, 1), self.questions)
        self.predict(min(self.samples, 20), self.questions[:self.size])

    def run(self):
        self.kept = self.predict(self.samples, self.questions)
        return {"tokens": self.tokens, "padded": self.padded}

    @staticmethod
    def texts(questions):
        """What is read: tokens, where the answers begin, and (question, option, answer) of each."""
        texts = []
        for number, question in enumerate(questions):
            prompt, answers = question["prompt"], question["answers"]
            if all(len(answer) == 1 for answer in answers):
                texts.append((prompt, [(number, option, answer) for option, answer in enumerate(answers)]))
            else:
                texts += [(prompt + answer[:-1], [(number, option, answer)]) for option, answer in enumerate(answers)]
        return texts

    def logits(self, batch, rows, places):
        """Of the read tokens, `[read, vocabulary]`."""
        if "read" in self.words:
            language = self.model.base_model.model
            hidden = language.model(**batch).last_hidden_state[rows, places]
            return language.lm_head(hidden).float()
        return self.model(**batch).logits[rows, places].float()

    def predict(self, samples, questions):
        """Mean log-likelihoods, `[samples, questions, options]`."""
        texts = self.texts(questions)
        order = list(range(len(texts)))
        if "sorted" in self.words:
            order.sort(key=lambda place: len(texts[place][0]))
        copies = max(samples, 1)
        scores = torch.empty((copies, len(questions), len(questions[0]["answers"])))
        cast = torch.autocast("cpu", torch.bfloat16) if "bf16" in self.words else contextlib.nullcontext()
        self.tokens, self.padded = sum(len(ids) for ids, _ in texts), 0
        with torch.inference_mode(), cast:
            for start in range(0, len(order), self.size):
                own = [texts[place] for place in order[start:start + self.size]]
                batch = padded([ids for ids, _ in own])
                self.padded += batch["input_ids"].numel()
                read = [(row, len(ids) - len(answer) + token, answer[token], asked)
                        for row, (ids, all_asked) in enumerate(own)
                        for asked in all_asked for answer in [asked[2]] for token in range(len(answer))]
                rows, places, tokens = (torch.tensor([one[part] for one in read]) for part in range(3))
                for sample in range(copies):
                    chosen = self.logits(batch, rows, places).log_softmax(-1).gather(1, tokens[:, None])[:, 0]
                    sums = torch.zeros_like(scores[sample])
                    for value, (_, _, _, (question, option, answer)) in zip(chosen.tolist(), read):
                        sums[question, option] += value / len(answer)
                    for _, all_asked in own:
                        for question, option, _ in all_asked:
                            scores[sample, question, option] = sums[question, option]
        return scores

    def outputs(self):
        """Means and variances over samples of probabilities and logits, `[4, questions, options]`."""
        return moments(self.kept)
