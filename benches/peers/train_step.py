"""PyTorch + PEFT doing our training step: tokens per second of forward, backward, clipping and AdamW.

    python train_step.py --model MODEL_DIR --texts FILE [--mode full|prefix] [--threads 2] [--steps 60]

FILE has one `text<TAB>label` per line. `full` runs the whole network at every step, as users do; `prefix` is given our own
trick: activations below the first adapted block are computed once (padded to the longest text of each batch). Padding is not
counted as tokens. Adapters: rank 8, alpha 16, on all six maps of the last two blocks, as in results/movies-minilm.
"""

import argparse
import json
import random
import statistics
import time

import peft
import torch
import transformers
from transformers import AutoTokenizer, BertForSequenceClassification

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--texts", required=True)
parser.add_argument("--mode", choices=["full", "prefix"], default="full")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--steps", type=int, default=60)
parser.add_argument("--dropout", type=float, default=0.0)
arguments = parser.parse_args()

torch.manual_seed(0)
torch.set_num_threads(arguments.threads)
tokenizer = AutoTokenizer.from_pretrained(arguments.model)
base = BertForSequenceClassification.from_pretrained(arguments.model, num_labels=2)
settings = peft.LoraConfig(
    task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=arguments.dropout,
    target_modules=["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
    layers_to_transform=[4, 5],
)
model = peft.get_peft_model(base, settings).eval()
for name, module in model.named_modules():
    if "lora_dropout" in name:
        module.train()
bert, head = model.base_model.model.bert, model.base_model.model.classifier
trainable = [p for p in model.parameters() if p.requires_grad]
optimiser = torch.optim.AdamW(trainable, lr=1e-3, weight_decay=0.0)

rows = [line.rstrip("\n").rsplit("\t", 1) for line in open(arguments.texts, encoding="utf-8")]
random.Random(0).shuffle(rows)
batches = []
for start in range(0, len(rows) - 31, 32):
    texts, labels = zip(*rows[start:start + 32])
    encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
    batches.append((encoded, torch.tensor([int(label) for label in labels])))


def mask_of(encoded):
    return (1.0 - encoded["attention_mask"][:, None, None, :].float()) * torch.finfo(torch.float32).min


def below(encoded):
    x = bert.embeddings(input_ids=encoded["input_ids"], token_type_ids=torch.zeros_like(encoded["input_ids"]))
    for layer in bert.encoder.layer[:4]:
        out = layer(x, attention_mask=mask_of(encoded))
        x = out[0] if isinstance(out, tuple) else out
    return x


def logits(encoded, prefix):
    if prefix is None:
        return model(**encoded).logits
    x = prefix
    for layer in bert.encoder.layer[4:]:
        out = layer(x, attention_mask=mask_of(encoded))
        x = out[0] if isinstance(out, tuple) else out
    return head(bert.pooler(x))


prefixes = [None] * len(batches)
if arguments.mode == "prefix":
    with torch.no_grad():
        prefixes = [below(encoded) for encoded, _ in batches[:arguments.steps]] + prefixes[arguments.steps:]
        # The shortcut computes the same logits.
        gap = (logits(batches[0][0], prefixes[0]) - model(**batches[0][0]).logits).abs().max().item()
        assert gap < 1e-4, gap

seconds, tokens = [], []
for step in range(arguments.steps):
    place = step % len(batches)
    encoded, labels = batches[place]
    started = time.perf_counter()
    loss = torch.nn.functional.cross_entropy(logits(encoded, prefixes[place]), labels)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainable, 1.0)
    optimiser.step()
    seconds.append(time.perf_counter() - started)
    tokens.append(int(encoded["attention_mask"].sum()))
warm = 5
print(json.dumps({
    "mode": arguments.mode, "threads": arguments.threads, "tokens_per_second": sum(tokens[warm:]) / sum(seconds[warm:]),
    "median_step_seconds": statistics.median(seconds[warm:]), "last_loss": loss.item(),
    "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__,
}))
