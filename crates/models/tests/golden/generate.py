"""Golden values of the models crate, from transformers and PEFT.

    python generate.py MODEL_DIR     (all-MiniLM-L6-v2: config.json, model.safetensors, tokenizer.json)

Writes, beside this file: tiny/ (a random three-block encoder with its tokenizer, its hidden states and PEFT adapters with their
logits and gradients) and minilm/ (pooled representations and logits of the real model). Seeded; versions.json says with what.
"""

import json
import pathlib
import shutil
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel

HERE = pathlib.Path(__file__).parent
SEED = 20260622
TEXTS = [
    "a gorgeous, witty, seductive movie.",
    "Effective but too tepid biopic",
    "NO movement, no yuks, not much of anything.",
    "café naïve Zürich?",
    "an unwatchable mess -- and a long one: two hours of shouting, running and falling down stairs without a single idea.",
    "ok",
    "",
    "it's a charming and often affecting journey !",
]

# Cases with gradients; between them they adapt every map.
GRADIENTS = ["dense", "one-block", "query-value"]


def tiny(folder):
    """A random encoder whose weights are large enough for the nonlinearities to matter."""
    folder.mkdir(parents=True)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["a", "movie", "but", "too", "no", "not", "much", "of", "it", "and", "journey", "charming", "idea", "without"]
    vocabulary = list(dict.fromkeys(pieces + words + letters + ["##" + c for c in letters] + list(".,!?'-:")))
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=160, layer_norm_eps=1e-12,
    )
    model = BertModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.add_(1.0)
    keys = ["model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
            "max_position_embeddings", "layer_norm_eps", "hidden_act"]
    (folder / "config.json").write_text(json.dumps({k: getattr(config, k) for k in keys}, indent=2) + "\n")
    state = {k: v.contiguous() for k, v in model.state_dict().items() if "position_ids" not in k}
    save_file(state, str(folder / "model.safetensors"))
    return config


def encoder(source, config):
    model = BertModel(config).eval()
    state = load_file(str(source / "model.safetensors"))
    missing = model.load_state_dict({k: v for k, v in state.items() if "position_ids" not in k}, strict=False)
    assert all("position_ids" in k for k in missing.missing_keys), missing
    return model


def encode(source, longest):
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    return [tokenizer.encode(text).ids for text in TEXTS]


def digits(tensor):
    """The numbers with six significant digits: tests ask for five."""
    return [float(f"{value:.5e}") for value in tensor.flatten().tolist()]


def expected(source, config, longest, layers):
    model = encoder(source, config)
    records = []
    for ids in encode(source, longest):
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        record = {"ids": ids, "pooled": digits(out.pooler_output[0])}
        if layers:
            record["hidden"] = [digits(h[0]) for h in out.hidden_states]
        records.append(record)
    return records


def adapter(source, config, longest, folder, classes, head_beside=False, gradients=False, **settings):
    """An adapter as PEFT saves it, with B and the classifier random, and the logits and gradients PyTorch gives with it."""
    torch.manual_seed(SEED)
    base = BertForSequenceClassification(BertConfig(**{**config.to_dict(), "num_labels": classes})).eval()
    state = load_file(str(source / "model.safetensors"))
    base.bert.load_state_dict({k: v for k, v in state.items() if "position_ids" not in k}, strict=False)
    model = peft.get_peft_model(base, peft.LoraConfig(**settings)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "lora_A" in name or "classifier" in name:
                parameter.normal_(0, 0.3)
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    record = json.loads(path.read_text())
    record["base_model_name_or_path"] = source.name
    # PEFT writes a set in any order.
    if isinstance(record["target_modules"], list):
        record["target_modules"].sort()
    path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    if head_beside:
        head = base.classifier
        save_file({"classifier.weight": head.weight.data.clone(), "classifier.bias": head.bias.data.clone()},
                  str(folder / "head.safetensors"))
    with torch.no_grad():
        logits = [model(torch.tensor([ids])).logits[0].tolist() for ids in encode(source, longest)]
    (folder / "expected.json").write_text(json.dumps(logits) + "\n")
    if gradients:
        # Mean cross-entropy of all texts, the label of text i being i modulo the number of classes.
        losses = [model(torch.tensor([ids]), labels=torch.tensor([i % classes])).loss for i, ids in enumerate(encode(source, longest))]
        torch.stack(losses).mean().backward()
        prefix, found = "base_model.model.", {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                name = name.removeprefix(prefix).replace(".default", "").replace(".modules_to_save", "")
                found[name] = parameter.grad.contiguous()
        save_file(found, str(folder / "gradients.safetensors"))


def main():
    torch.manual_seed(SEED)
    for name in ["tiny", "minilm"]:
        shutil.rmtree(HERE / name, ignore_errors=True)
    source = HERE / "tiny"
    config = tiny(source)
    (source / "expected.json").write_text(json.dumps({"texts": TEXTS, "sentences": expected(source, config, 160, True)}) + "\n")
    common = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1}
    classify = {**common, "task_type": "SEQ_CLS"}
    cases = {
        "query-value": (2, {**classify, "target_modules": ["query", "value"]}, False),
        "dense": (3, {**classify, "target_modules": ["query", "dense"]}, False),
        "one-block": (2, {**classify, "target_modules": ["query", "key", "intermediate.dense"], "layers_to_transform": [2]}, False),
        "rslora": (2, {**classify, "target_modules": ["value"], "use_rslora": True}, False),
        "patterns": (2, {**classify, "target_modules": ["query", "key"], "rank_pattern": {"query": 2},
                         "alpha_pattern": {"layer.1.attention.self.key": 3}}, False),
        "head-beside": (2, {**common, "target_modules": ["query", "value"]}, True),
        "dora": (2, {**classify, "target_modules": ["query"], "use_dora": True}, False),
        "bias": (2, {**classify, "target_modules": ["query"], "bias": "lora_only"}, False),
    }
    for name, (classes, settings, beside) in cases.items():
        adapter(source, config, 160, source / name, classes, beside, name in GRADIENTS, **settings)
    real = pathlib.Path(sys.argv[1])
    config = BertConfig(**json.loads((real / "config.json").read_text()))
    folder = HERE / "minilm"
    folder.mkdir()
    (folder / "expected.json").write_text(json.dumps({"texts": TEXTS, "sentences": expected(real, config, 128, False)}) + "\n")
    settings = {**classify, "target_modules": ["query", "value"], "layers_to_transform": [4, 5]}
    adapter(real, config, 128, folder / "query-value", 2, **settings)
    versions = {"seed": SEED, "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (HERE / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


main()
