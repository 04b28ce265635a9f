"""Golden values of RoBERTa, XLM-RoBERTa, pairs of texts and activations, from transformers and PEFT.

    python generate_roberta.py     (after generate.py, whose tiny encoder and adapter it takes)

Writes, beside this file: roberta/ and xlm-roberta/ (random two-block models for classification as save_pretrained leaves them, with hidden states, and
adapters with logits and gradients), pairs/ (the tiny BERT on pairs of texts) and activations.json (the tiny BERT with every activation that is
read). `more.json` holds what a tokenizer can get wrong: pairs, padding tokens written in a text, and a text that is longer than the positions.
Seeded; versions.json says with what.
"""

import json
import pathlib
import shutil

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors
from transformers import (
    AutoTokenizer, BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification, RobertaTokenizer,
    XLMRobertaConfig, XLMRobertaForSequenceClassification, XLMRobertaTokenizer,
)

HERE = pathlib.Path(__file__).parent
SEED = 20260705
CLASSES = 3
POSITIONS = 26
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
LETTERS = [chr(c) for c in range(ord("a"), ord("z") + 1)]
TEXTS = ["a movie, not much.", "ok", "", "it is a Journey!", "caf\u00e9"]
MORE = [
    ("a movie", "not much of it!"),
    ("ok", ""),
    ("a <pad> movie <pad><pad> ok", None),
    ("<pad>", "a <pad> b"),
    ("no movement, no yuks, not much of anything and not even a movie", None),
    ("no movement, no yuks, not much of anything", "it is a long second text"),
]
ACTIVATIONS = ["gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate", "quick_gelu", "silu",
               "swish", "relu", "tanh"]


def roberta_tokenizer(folder):
    """Byte-level BPE; a byte outside of its alphabet is dropped."""
    merges = [("m", "o"), ("mo", "v"), ("n", "o"), ("no", "t"), ("\u0120", "a"), ("\u0120", "m"), ("o", "k"), ("i", "t"), ("\u0120", "no"), ("\u0120no", "t")]
    alphabet = LETTERS + ["J", "\u0120", "\u00c3", "\u00a9"] + list(".,!<>")
    pieces = SPECIAL + alphabet + ["".join(pair) for pair in merges] + ["<mask>"]
    RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=merges, model_max_length=512).save_pretrained(str(folder))


def xlm_tokenizer(folder):
    """Unigram; what has no piece is <unk>."""
    words = ["\u2581a", "\u2581movie", "\u2581not", "\u2581no", "\u2581it", "ok", "\u2581", "much"]
    pieces = [(piece, 0.0) for piece in SPECIAL] + [(word, -2.0 - 0.1 * i) for i, word in enumerate(words)]
    pieces += [(letter, -6.0 - 0.01 * i) for i, letter in enumerate(LETTERS + list(".,!"))] + [("<mask>", 0.0)]
    XLMRobertaTokenizer(vocab=pieces, model_max_length=512).save_pretrained(str(folder))


def model(config, kind):
    """Always the same one, of weights large enough for the nonlinearities to matter."""
    torch.manual_seed(SEED)
    made = kind(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.3)
        for module in made.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.add_(1.0)
    return made


def adapter(folder, base, name, sentences, **settings):
    adapted = peft.get_peft_model(base, peft.LoraConfig(r=3, lora_alpha=6, lora_dropout=0.1, **settings)).eval()
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    adapted.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    record = json.loads(path.read_text())
    record["base_model_name_or_path"] = name
    if isinstance(record["target_modules"], list):
        record["target_modules"].sort()
    path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    # Mean cross-entropy of all texts, the label of text i being i modulo the number of classes.
    logits = torch.cat([adapted(torch.tensor([ids])).logits for ids in sentences])
    torch.nn.functional.cross_entropy(logits, torch.arange(len(sentences)) % CLASSES).backward()
    (folder / "expected.json").write_text(json.dumps(logits.tolist()) + "\n")
    return adapted


def gradients(folder, adapted):
    found = {}
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            name = name.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")
            found[name] = parameter.grad.contiguous()
    save_file(found, str(folder / "gradients.safetensors"))


def more(path, tokenizer, adapted, longest, texts=MORE):
    """Tokens and logits as the usual loop makes them: all that the tokenizer returns goes into the model."""
    items = []
    for text, second in texts:
        # As batches of one: alone, an empty second text would count as none.
        given = ([text],) if second is None else ([text], [second])
        whole = tokenizer(*given, return_tensors="pt")
        cut = tokenizer(*given, return_tensors="pt", truncation=True, max_length=longest)
        with torch.no_grad():
            logits = adapted(**cut).logits[0].tolist()
        items.append({"text": text, "second": second, "ids": cut["input_ids"][0].tolist(),
                      "truncated": whole["input_ids"].shape[1] > longest, "logits": logits})
    path.write_text(json.dumps(items, indent=1) + "\n")


def family(name, config_kind, model_kind, make_tokenizer, adapters):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    config = config_kind(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
                         max_position_embeddings=POSITIONS, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=CLASSES)
    make = lambda: model(config, model_kind)
    base = make()
    base.save_pretrained(str(folder))
    records, sentences = [], []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        with torch.no_grad():
            out = base(torch.tensor([ids]), output_hidden_states=True)
        hidden = [[round(v, 7) for v in h[0].flatten().tolist()] for h in out.hidden_states]
        # There is no pooler: what the head reads is the last hidden state of the first token.
        records.append({"ids": ids, "pooled": hidden[-1][:32], "hidden": hidden})
        sentences.append(ids)
    (folder / "expected.json").write_text(json.dumps({"texts": TEXTS, "sentences": records}) + "\n")
    for case, settings in adapters.items():
        adapted = adapter(folder / case, make(), name, sentences, **settings)
        if case in ("all-maps", "query-value"):
            gradients(folder / case, adapted)
        if case == "query-value":
            more(folder / "more.json", tokenizer, adapted, POSITIONS - 2)


def tiny(activation):
    config = BertConfig(**json.loads((HERE / "tiny/config.json").read_text()) | {"hidden_act": activation, "num_labels": 2})
    base = BertForSequenceClassification(config).eval()
    missing, unexpected = base.bert.load_state_dict(load_file(HERE / "tiny/model.safetensors"), strict=False)
    assert not missing and not unexpected, (missing, unexpected)
    return peft.PeftModel.from_pretrained(base, str(HERE / "tiny/query-value"), is_trainable=True).eval()


def pairs():
    folder = HERE / "pairs"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tokenizer = Tokenizer.from_file(str(HERE / "tiny/tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]",
                                                   model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    assert 1 in wrapped("a", "b")["token_type_ids"]
    texts = [pair for pair in MORE if pair[1] is not None] + [("a gorgeous, witty movie.", "not much of an idea")]
    more(folder / "more.json", wrapped, tiny("gelu"), 24, texts)


def activations():
    sentences = [s["ids"] for s in json.loads((HERE / "tiny/expected.json").read_text())["sentences"]][:4]
    found = {}
    for name in ACTIVATIONS:
        adapted = tiny(name)
        logits = torch.cat([adapted(torch.tensor([ids])).logits for ids in sentences])
        torch.nn.functional.cross_entropy(logits, torch.arange(len(sentences)) % 2).backward()
        module = adapted.base_model.model.bert.encoder.layer[0].attention.self.query.lora_B["default"]
        found[name] = {"logits": logits.tolist(), "gradient": [float(f"{v:.7g}") for v in module.weight.grad.flatten().tolist()]}
    (HERE / "activations.json").write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n")


def main():
    query_value = {"target_modules": ["query", "value"], "task_type": "SEQ_CLS"}
    maps = r".*encoder.*\.(query|key|value|dense)"
    family("roberta", RobertaConfig, RobertaForSequenceClassification, roberta_tokenizer, {
        "query-value": query_value,
        "all-maps": {"target_modules": maps, "task_type": "SEQ_CLS"},
        "head-in-checkpoint": {"target_modules": ["query", "value"]},
        "bias-all": query_value | {"bias": "all"},
    })
    family("xlm-roberta", XLMRobertaConfig, XLMRobertaForSequenceClassification, xlm_tokenizer, {"query-value": query_value})
    pairs()
    activations()
    versions = {"seed": SEED, "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (HERE / "roberta/versions.json").write_text(json.dumps(versions, indent=2) + "\n")


main()
