"""Log-likelihoods of answers and scored completions, from transformers and PEFT.

    python generate_answers.py     (torch 2.15.0, transformers 5.24.0, peft 0.21.2, on the processor)

Writes decoders/answers.json beside this file: for tiny decoders of decoders/tiny with their adapters, questions as tokens, and for every
answer the log-likelihood of each of its tokens after the prompt, their sum, mean, and sum over the answer's characters, and entropies of
the next-token distributions in nats. Each answer is scored in a sequence of its own, in float32 with eager attention. Nothing is random.
"""

import json
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers

HERE = pathlib.Path(__file__).parent / "decoders"
# Gemma 2 has a cap of its logits. A prompt longer than the windows of both Gemmas, answers of one token and of several.
FAMILIES = ["llama3", "gemma2", "gemma3"]
QUESTIONS = [
    ([1, 22, 43, 41, 5, 3, 22, 41], [[21, 3, 22], [17], [16, 41, 11, 22, 39]]),
    ([1, 11, 21], [[41, 31], [45]]),
    ([1, 17, 13, 41, 7, 24, 7, 16, 41, 16, 23, 15, 4], [[44, 42, 3, 39], [41, 16], [4, 39, 41], [27, 7]]),
]
# Texts with their answers, as they are typed.
TEXTS = [("is 2 an even number\na. no\nb. yes\nanswer:", [" no", " yes it is", " other."]), ("the cat", [" sat on it.", " is the other one"])]


def characters(answer):
    """As many as its text might have: not its tokens."""
    return 2 * len(answer) + answer[0] % 3


def scored(model, prompt, answer):
    """Log-likelihood of each token of an answer, and the entropy of the distribution it was drawn from."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0]
    logs = torch.log_softmax(logits[len(prompt) - 1 : -1].double(), -1)
    picked = logs[torch.arange(len(answer)), torch.tensor(answer)]
    return picked.tolist(), (-(logs.exp() * logs).sum(-1)).tolist()


def main():
    found = {"questions": [], "families": {}}
    for prompt, answers in QUESTIONS:
        found["questions"].append({"prompt": prompt, "answers": answers, "characters": [characters(answer) for answer in answers]})
    for family in FAMILIES:
        folder = HERE / "tiny" / family
        load = lambda: transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        adapted = peft.PeftModel.from_pretrained(load(), folder / "adapter").eval()
        found["families"][family] = {}
        for name, model in [("base", load()), ("adapter", adapted)]:
            pairs = [[scored(model, prompt, answer) for answer in answers] for prompt, answers in QUESTIONS]
            round9 = lambda values: [float(f"{value:.9g}") for value in values]
            sums = [[sum(logs) for logs, _ in question] for question in pairs]
            over = lambda count: [round9([t / count(a) for t, a in zip(own, answers)]) for own, (_, answers) in zip(sums, QUESTIONS)]
            found["families"][family][name] = {
                "sum": over(lambda answer: 1),
                "mean": over(len),
                "characters": over(characters),
                "log_likelihoods": [[round9(logs) for logs, _ in question] for question in pairs],
                "entropies": [[round9(entropies) for _, entropies in question] for question in pairs],
            }
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(HERE / "tokenizer_bos.json"))
    model = peft.PeftModel.from_pretrained(load(), folder / "adapter").eval()
    found["texts"] = []
    for text, answers in TEXTS:
        prompt = tokenizer(text).input_ids
        whole = [tokenizer(text + answer).input_ids for answer in answers]
        assert all(ids[: len(prompt)] == prompt for ids in whole)
        pairs = [scored(model, prompt, ids[len(prompt) :]) for ids in whole]
        found["texts"].append({
            "family": family, "text": text, "choices": answers, "tokens": [ids[len(prompt) :] for ids in whole],
            "log_likelihoods": [round9(logs) for logs, _ in pairs], "entropies": [round9(entropies) for _, entropies in pairs],
        })
    found["versions"] = dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__, peft=peft.__version__)
    (HERE / "answers.json").write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
