"""Golden values of decoders, from transformers and PEFT.

    python decoders.py     (torch 2.15.0, transformers 5.24.0, peft 0.21.2, on the processor)

Writes, beside this file, decoders/tiny/<family>/: a random model of two or three blocks as save_pretrained leaves it (config.json, weights of
bfloat16), a LoRA adapter on all seven maps (adapter/), one on q and v with a class head (adapter_seqcls/), and golden.json: ids, logits, and
how far these move when a detail is left out (`sensitivity`). Also decoders/tokenizer.json and tokenizer_bos.json, byte-level, of 48 tokens,
and decoders/texts.json, with the ids of texts. Seeded. A second process then loads all from disk and compares.

Logits are those of float32 with eager attention, of one sequence at a time; each weight is a bfloat16 exactly.
"""

import contextlib
import importlib
import itertools
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

HERE = pathlib.Path(__file__).parent / "decoders"
TINY = HERE / "tiny"
SEED = 20260815
CLASSES = 3
FINAL_CAP = 4.0
VOCABULARY = 48
RANK, ALPHA = 2, 4
MAPS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BASE = dict(
    vocab_size=VOCABULARY, hidden_size=16, intermediate_size=18, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=64, rms_norm_eps=1e-5, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
# The square root of 12 is no bfloat16: a scale of embeddings that was rounded is seen.
WIDE_HEADS = dict(hidden_size=12, head_dim=8, intermediate_size=16)
GEMMA = dict(
    WIDE_HEADS, num_hidden_layers=3, query_pre_attn_scalar=3, sliding_window=4, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6,
)


def rope(theta, **more):
    return {"rope_theta": theta, "rope_type": "default", **more}


def ropes(full, sliding):
    return {"full_attention": full, "sliding_attention": sliding}


LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
LOCAL, GLOBAL = rope(100.0), rope(1000.0, rope_type="linear", factor=4.0)
PATTERNS = dict(rank_pattern={"layers.1.mlp.down_proj": 1, "q_proj": 3}, alpha_pattern={"layers.1.self_attn.v_proj": 2, "v_proj": 9})
# Of each: its class' name, its own keys, and its adapter's. With theta 100 and eight numbers a head, llama3 has pairs that stay, one between,
# and slower ones.
FAMILIES = {
    "llama3": ("llama", dict(WIDE_HEADS, tie_word_embeddings=True, rope_parameters=rope(100.0, **LLAMA3)), PATTERNS),
    "llama_plain": ("llama", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=False, rope_parameters=rope(300.0)), {}),
    "qwen2": ("qwen2", dict(tie_word_embeddings=True, sliding_window=None, rope_parameters=rope(1000.0)), dict(use_rslora=True)),
    "qwen3": ("qwen3", dict(WIDE_HEADS, tie_word_embeddings=False, sliding_window=None, rope_parameters=rope(1000.0)), PATTERNS),
    "mistral": ("mistral", dict(tie_word_embeddings=False, sliding_window=4, rope_parameters=rope(100.0)), {}),
    "gemma2": (
        "gemma2", dict(GEMMA, attn_logit_softcapping=2.0, final_logit_softcapping=FINAL_CAP, rope_parameters=rope(100.0)),
        dict(use_rslora=True, layers_to_transform=[0, 2]),
    ),
    "gemma3": (
        "gemma3_text", dict(GEMMA, layer_types=["sliding_attention"] * 2 + ["full_attention"], rope_parameters=ropes(GLOBAL, LOCAL)),
        dict(layers_to_transform=[1, 2]),
    ),
}
# These are stored in two files and an index.
SHARDED = ["qwen2", "mistral"]
LENGTHS = [1, 5, 9, 14]
# Of this input, the logits of all positions are kept without an adapter; else those of the last one.
WHOLE = 1
TEXTS = ["the cat sat on it.", "is 2 an even number\na. no\nb. yes\nanswer:", "ok", "no that is the other one"]


def inputs():
    """Ids of each length; every second input begins with the token that begins a text."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in LENGTHS]
    return [ids if i % 2 == 0 else [BASE["bos_token_id"]] + ids[1:] for i, ids in enumerate(drawn)]


def randomise(model, seed):
    """Weights large enough for each detail to matter; all are bfloat16 exactly."""
    generator = torch.Generator().manual_seed(seed)
    one = float("gemma" not in model.config.model_type)
    for name, parameter in model.named_parameters():
        value = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            value = one + 0.4 * value
        elif name.endswith("bias") or "embed" in name:
            value = 0.6 * value
        else:
            value = 1.4 * value / math.sqrt(parameter.shape[-1])
        parameter.data.copy_(value.bfloat16())


def dump(path, value):
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n")


def save_model(name, number):
    kind, own, _ = FAMILIES[name]
    config = AutoConfig.for_model(kind, **{**BASE, **own})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model, SEED + number)
    model = model.to(torch.bfloat16)
    folder, most = TINY / name, sum(p.numel() for p in model.parameters()) * 5 // 4
    model.save_pretrained(folder, max_shard_size=most if name in SHARDED else "1GB")
    assert len(list(folder.glob("*.safetensors"))) == (2 if name in SHARDED else 1), name
    (folder / "generation_config.json").unlink(missing_ok=True)
    dump(folder / "config.json", json.loads((folder / "config.json").read_text()))


def load(name, head=AutoModelForCausalLM, **keys):
    config = AutoConfig.from_pretrained(TINY / name)
    for key, value in keys.items():
        setattr(config, key, value)
    return head.from_pretrained(TINY / name, config=config, dtype=torch.float32, attn_implementation="eager").eval()


def save_adapter(name, model, folder, seed, **settings):
    """As PEFT saves it; A, B and the class head are random."""
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, **settings)).eval()
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in sorted(adapted.named_parameters()):
        if parameter.requires_grad:
            parameter.data.copy_(0.35 * torch.randn(parameter.shape, generator=generator))
    adapted.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    record = json.loads((folder / "adapter_config.json").read_text())
    record["base_model_name_or_path"] = name
    # PEFT writes a set in any order.
    record["target_modules"].sort()
    dump(folder / "adapter_config.json", record)


def adapt(name, **changes):
    """The model with its adapter, loaded from disk; `changes` are to keys of its configuration."""
    with tempfile.TemporaryDirectory() as place:
        folder = shutil.copytree(TINY / name / "adapter", pathlib.Path(place) / "adapter")
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return peft.PeftModel.from_pretrained(load(name), str(folder)).eval()


def classify(name, adapted=True):
    model = load(name, AutoModelForSequenceClassification, num_labels=CLASSES)
    return peft.PeftModel.from_pretrained(model, str(TINY / name / "adapter_seqcls")).eval() if adapted else model


def logits(model, sentences):
    """Of each input, a row for each position that is kept: all of them, or the last one."""
    found = []
    for i, ids in enumerate(sentences):
        rows = model(torch.tensor([ids])).logits[0].detach()
        found.append(rows if i == WHOLE and not isinstance(model, peft.PeftModel) else rows[-1:])
    return found


def class_logits(model, sentences):
    return [model(torch.tensor([ids])).logits.detach() for ids in sentences]


def moved(found, expected):
    """The largest change of a logit that is kept."""
    return max(float(torch.stack([a[-len(b) :], b]).diff(dim=0).abs().max()) for a, b in zip(found, expected, strict=True))


def fill(model, part, value):
    """Weights whose name has `part`, at a constant."""
    found = [parameter for name, parameter in model.named_parameters() if part in name]
    assert found, part
    for parameter in found:
        parameter.data.fill_(value)
    return model


def without_one(model):
    """Norms that multiply by w where they are to multiply by 1 + w."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.sub_(1.0)
    return model


def with_embeddings(model, scale=None):
    """Embeddings times another number, or as the head too."""
    if scale is None:
        model.lm_head.weight = model.model.embed_tokens.weight
    else:
        model.model.embed_tokens.embed_scale.fill_(scale)
    return model


def scaled_by_common_rank(model):
    """alpha / r with the r of the whole adapter, for maps that have a rank of their own."""
    for module in model.modules():
        if hasattr(module, "lora_B"):
            module.scaling["default"] *= module.r["default"] / RANK
    return model


def neighbours(x):
    """The other pairing of rotary positions, in which numbers 2i and 2i + 1 turn together."""
    return torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)


def turned_as_neighbours(q, k, cos, sin, unsqueeze_dim=1):
    cos, sin = [t[..., : t.shape[-1] // 2].repeat_interleave(2, -1).unsqueeze(unsqueeze_dim) for t in (cos, sin)]
    return q * cos + neighbours(q) * sin, k * cos + neighbours(k) * sin


def norms_after_turning(model, turn):
    """The function that turns queries and keys and then applies their norms, which the model no longer does before it."""
    norms = [(block.self_attn.q_norm, block.self_attn.k_norm) for block in model.model.layers]
    for block in model.model.layers:
        block.self_attn.q_norm = block.self_attn.k_norm = torch.nn.Identity()
    calls = itertools.count()

    def turned(q, k, cos, sin):
        of_q, of_k = norms[next(calls) % len(norms)]
        q, k = turn(q, k, cos, sin)
        return of_q(q), of_k(k)

    return turned


def omissions(name):
    """Of each detail, its name and what opens the model without it, to be asked for logits while it is open."""
    kind, own, _ = FAMILIES[name]
    kind = kind.removesuffix("_text")
    module = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    gemma = kind.startswith("gemma")

    @contextlib.contextmanager
    def patched(model, function, other):
        with mock.patch.object(module, function, other):
            yield model

    plain = contextlib.nullcontext
    changed = lambda **keys: lambda: plain(load(name, **keys))
    filled = lambda part, value: lambda: plain(fill(load(name), part, value))
    yield "pairs_of_neighbours_turn", lambda: patched(load(name), "apply_rotary_pos_emb", turned_as_neighbours)
    yield "no_positions", lambda: patched(load(name), "apply_rotary_pos_emb", lambda q, k, *_: (q, k))
    yield "key_heads_tiled", lambda: patched(load(name), "repeat_kv", lambda x, n: x.repeat(1, n, 1, 1))
    yield "norm_weights_ignored", filled("norm", float(not gemma))
    if name != "gemma3":
        yield "theta_10000", changed(rope_parameters={**own["rope_parameters"], "rope_theta": 10000.0})
    if name == "llama3":
        yield "no_rope_scaling", changed(rope_parameters=rope(100.0))
        yield "linear_scaling", changed(rope_parameters=rope(100.0, rope_type="linear", factor=8.0))
    if name in ["llama_plain", "qwen2"]:
        for part in ["q_proj", "k_proj", "v_proj"] if name == "qwen2" else MAPS:
            yield f"no_{part}_bias", filled(f"{part}.bias", 0.0)
    if not own.get("tie_word_embeddings", gemma):
        yield "tied_head", lambda: plain(with_embeddings(load(name)))
    if name in ["qwen3", "gemma3"]:
        yield "qk_norm_weights_ignored", lambda: plain(fill(fill(load(name), "q_norm", float(not gemma)), "k_norm", float(not gemma)))
        model = load(name)
        turned = norms_after_turning(model, module.apply_rotary_pos_emb)
        yield "qk_norm_after_positions", lambda: patched(model, "apply_rotary_pos_emb", turned)
    if own.get("sliding_window"):
        yield "no_sliding_window", changed(sliding_window=64)
        yield "window_one_wider", changed(sliding_window=5)
        yield "window_one_narrower", changed(sliding_window=3)
    if gemma:
        swap = {"sliding_attention": "full_attention", "full_attention": "sliding_attention"}
        # The rotary positions of Gemma 3 go with the kind of block, and are swapped with it.
        yield "windows_swapped", changed(layer_types=[swap[kind] for kind in load(name).config.layer_types])
        yield "windows_in_all_blocks", changed(layer_types=["sliding_attention"] * 3)
        yield "scale_by_head_dim", changed(query_pre_attn_scalar=8)
        yield "norms_without_one", lambda: plain(without_one(load(name)))
        yield "no_embedding_scale", lambda: plain(with_embeddings(load(name), 1.0))
        yield "embedding_scale_in_bf16", lambda: plain(with_embeddings(load(name), 3.46875))
        yield "gelu_without_tanh", changed(hidden_activation="gelu")
        yield "silu", changed(hidden_activation="silu")
    if name == "gemma2":
        yield "no_attention_cap", changed(attn_logit_softcapping=None)
        yield "no_final_cap", changed(final_logit_softcapping=None)
    if name == "gemma3":
        yield "no_local_positions", changed(rope_parameters=ropes(GLOBAL, GLOBAL))
        yield "no_global_positions", changed(rope_parameters=ropes(LOCAL, LOCAL))
        yield "no_linear_scaling", changed(rope_parameters=ropes(rope(1000.0), LOCAL))


def adapter_omissions(name):
    settings = FAMILIES[name][2]
    yield "adapter", lambda: load(name)
    for part in MAPS:
        yield f"adapter_on_{part}", lambda: fill(adapt(name), f"{part}.lora_B", 0.0)
    if "rank_pattern" in settings:
        yield "adapter_alpha_pattern", lambda: adapt(name, alpha_pattern={})
        yield "adapter_alpha_of_last_match", lambda: adapt(name, alpha_pattern={"v_proj": 9})
        yield "adapter_rank_pattern_in_scale", lambda: scaled_by_common_rank(adapt(name))
    if "use_rslora" in settings:
        yield "adapter_rslora", lambda: adapt(name, use_rslora=False)


def sensitivity(name, sentences, base, adapted, classes):
    found = {}
    for omission, opened in omissions(name):
        with opened() as model:
            found[omission] = moved(logits(model, sentences), base)
    for omission, opened in adapter_omissions(name):
        found[omission] = moved(logits(opened(), sentences), adapted)
    found["class_adapter"] = moved(class_logits(fill(classify(name), "lora_B", 0.0), sentences), classes)
    if name == "gemma2":
        # The cap belongs to the head of language alone.
        found["class_logits_capped"] = moved([FINAL_CAP * torch.tanh(row / FINAL_CAP) for row in classes], classes)
    return {key: float(f"{value:.3g}") for key, value in found.items()}


def rounded(tensors):
    return [[[float(f"{x:.7g}") for x in row] for row in tensor.tolist()] for tensor in tensors]


def compute(name, sentences):
    return logits(load(name), sentences), logits(adapt(name), sentences), class_logits(classify(name), sentences)


def family(name, number, sentences):
    save_model(name, number)
    language = dict(task_type="CAUSAL_LM", target_modules=MAPS, **FAMILIES[name][2])
    save_adapter(name, load(name), TINY / name / "adapter", SEED + 100 + number, **language)
    classifier = dict(task_type="SEQ_CLS", target_modules=["q_proj", "v_proj"], layers_to_transform=[0, 2] if "gemma" in name else None)
    save_adapter(name, classify(name, False), TINY / name / "adapter_seqcls", SEED + 200 + number, **classifier)
    base, adapted, classes = compute(name, sentences)
    record = dict(
        inputs=sentences, base=rounded(base), adapter=rounded(adapted), classes=[rows[0] for rows in rounded(classes)],
        sensitivity=sensitivity(name, sentences, base, adapted, classes),
    )
    dump(TINY / name / "golden.json", record)
    print(name, "smallest effects", sorted((effect, what) for what, effect in record["sensitivity"].items())[:3])


def tokenizers():
    special = ["<pad>", "<s>", "</s>"]
    # A space and the end of a line are letters of their own.
    alphabet = list("abcdefghijklmnopqrstuvwxyz0123456789.:\u0120\u010a")
    merges = ["h e", "e r", "\u0120 a", "\u0120 t", "\u0120t he"]
    vocabulary = special + alphabet + ["".join(merge.split()) for merge in merges]
    assert len(vocabulary) == len(set(vocabulary)) == VOCABULARY, len(vocabulary)
    made = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocabulary)}, [tuple(merge.split()) for merge in merges]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(piece, special=True) for piece in special])
    plain = [made.encode(text).ids for text in TEXTS]
    assert [made.decode(ids) for ids in plain] == TEXTS
    dump(HERE / "tokenizer.json", json.loads(made.to_str()))
    made.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    dump(HERE / "tokenizer_bos.json", json.loads(made.to_str()))
    dump(HERE / "texts.json", {"texts": TEXTS, "ids": plain, "ids_bos": [made.encode(text).ids for text in TEXTS]})


def check():
    """What lies on disk against the values beside it."""
    for name in FAMILIES:
        record = json.loads((TINY / name / "golden.json").read_text())
        for key, found in zip(["base", "adapter", "classes"], compute(name, record["inputs"])):
            expected = [torch.tensor(rows) for rows in record[key]]
            assert moved([rows[0] for rows in found] if key == "classes" else found, expected) < 5e-5, (name, key)
    texts = json.loads((HERE / "texts.json").read_text())
    for file, key in [("tokenizer.json", "ids"), ("tokenizer_bos.json", "ids_bos")]:
        assert [Tokenizer.from_file(str(HERE / file)).encode(text).ids for text in texts["texts"]] == texts[key], file
    files = [path for path in [*TINY.rglob("*"), *HERE.glob("t*.json")] if path.is_file()]
    print("a second process agrees;", len(files), "files,", sum(path.stat().st_size for path in files), "bytes")


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    if sys.argv[1:] == ["check"]:
        return check()
    shutil.rmtree(TINY, ignore_errors=True)
    sentences = inputs()
    for number, name in enumerate(FAMILIES):
        family(name, number, sentences)
    dump(TINY / "versions.json", dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__, peft=peft.__version__))
    tokenizers()
    subprocess.run([sys.executable, __file__, "check"], check=True)


main()
