"""What transformers makes of configurations of decoders.

    python generate_decoders.py

Writes, beside this file, decoders/<family>/config.json and config_v4.json (a tiny model as transformers 5 and 4 spell it) and
decoders/cases.json: configurations, most of them with few keys, and the sizes, windows, biases, rotary positions and names of parameters of
the model that transformers builds from each. Nothing is random; decoders/versions.json says with what.
"""

import json
import pathlib
import tempfile

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent / "decoders"
BASE = dict(
    vocab_size=264, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=256, eos_token_id=257, pad_token_id=258,
)
GEMMA = dict(head_dim=24, query_pre_attn_scalar=32, sliding_window=8, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
# Of each: its class' name, its type of numbers, its own keys, and its rotary positions in the older spelling.
FAMILIES = {
    "llama3": ("llama", "float32", dict(head_dim=16, tie_word_embeddings=True), dict(rope_theta=500000.0, rope_scaling=LLAMA3)),
    "llama_plain": ("llama", "float32", dict(head_dim=16, attention_bias=True, mlp_bias=True), dict(rope_theta=10000.0, rope_scaling=None)),
    "mistral": ("mistral", "bfloat16", dict(head_dim=16, sliding_window=8), dict(rope_theta=10000.0)),
    "qwen2": ("qwen2", "bfloat16", dict(tie_word_embeddings=True, sliding_window=None), dict(rope_theta=1000000.0, rope_scaling=None)),
    "qwen3": ("qwen3", "float32", dict(head_dim=24, sliding_window=None), dict(rope_theta=1000000.0, rope_scaling=None)),
    "gemma2": ("gemma2", "float32", dict(GEMMA, attn_logit_softcapping=5.0, final_logit_softcapping=8.0), dict(rope_theta=10000.0)),
    "gemma3": (
        "gemma3_text", "float32", dict(GEMMA, layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
        dict(rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling=dict(rope_type="linear", factor=8.0), sliding_window_pattern=3),
    ),
}
SMALL = dict(vocab_size=9, hidden_size=32, intermediate_size=8, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=64)


def newer(kind, older):
    """Rotary positions in the newer spelling."""
    flat = {"rope_theta": older["rope_theta"], "rope_type": "default", **(older.get("rope_scaling") or {})}
    if kind != "gemma3_text":
        return flat
    return {"full_attention": flat, "sliding_attention": {"rope_theta": older["rope_local_base_freq"], "rope_type": "default"}}


def case(name, keys):
    """The model that transformers builds from a configuration."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(keys))
        config = AutoConfig.from_pretrained(folder)
    text = config.get_text_config()
    config._attn_implementation = text._attn_implementation = "eager"
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    decoder = model.model.language_model if hasattr(model.model, "language_model") else model.model
    attentions = [layer.self_attn for layer in decoder.layers]
    first = attentions[0]
    windows = [getattr(attention, "sliding_window", None) for attention in attentions]
    if text.model_type == "mistral":
        windows = [text.sliding_window] * len(attentions)
    # The positions are computed on the processor.
    rotary = type(decoder.rotary_emb)(text)
    if hasattr(rotary, "inv_freq"):
        ropes = [(rotary.inv_freq, rotary.attention_scaling)]
        used = [0] * len(attentions)
    else:
        kinds = ["full_attention", "sliding_attention"]
        ropes = [(getattr(rotary, f"{kind}_inv_freq"), getattr(rotary, f"{kind}_attention_scaling")) for kind in kinds]
        used = [kinds.index(kind) for kind in text.layer_types]
    norm, eos = decoder.layers[0].input_layernorm, text.eos_token_id
    prefix = "model.language_model." if decoder is not model.model else "model."
    shapes = {
        name.replace(prefix, "model.", 1): list(parameter.shape)
        for name, parameter in model.named_parameters()
        if name.startswith((prefix, "lm_head")) and (".layers." not in name or ".layers.1." in name)
    }
    expected = dict(
        vocab_size=text.vocab_size, hidden_size=text.hidden_size, intermediate_size=text.intermediate_size, heads=text.num_attention_heads,
        kv_heads=text.num_key_value_heads, head_dim=first.head_dim, max_positions=text.max_position_embeddings, windows=windows,
        rope_of_block=used, ropes=[dict(inverse_frequencies=[float(f"{x:.9g}") for x in f.tolist()], attention_factor=float(s)) for f, s in ropes],
        attention_scale=float(first.scaling), attention_softcap=getattr(text, "attn_logit_softcapping", None),
        final_softcap=getattr(text, "final_logit_softcapping", None), epsilon=text.rms_norm_eps, norm_plus_one="Gemma" in type(norm).__name__,
        tied=model.lm_head.weight is decoder.embed_tokens.weight, activation=type(decoder.layers[0].mlp.act_fn).__name__,
        embedding_scale=getattr(decoder.embed_tokens, "scalar_embed_scale", None), pad=text.pad_token_id, bos=text.bos_token_id,
        eos=eos if isinstance(eos, list) else [] if eos is None else [eos], shapes=shapes,
    )
    return dict(name=name, config=keys, expected=expected)


def main():
    HERE.mkdir(exist_ok=True)
    cases = []
    for name, (kind, dtype, own, older) in FAMILIES.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        config = AutoConfig.for_model(kind, **{**BASE, **own, "rope_parameters": newer(kind, older), "dtype": dtype})
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        config.architectures = [type(model).__name__]
        config.save_pretrained(folder)
        saved = json.loads((folder / "config.json").read_text())
        old = {key: value for key, value in saved.items() if key not in ("rope_parameters", "layer_types", "dtype", "transformers_version")}
        old.update(torch_dtype=dtype, **older)
        (folder / "config_v4.json").write_text(json.dumps(old, indent=1) + "\n")
        cases.append(case(name, saved))
        assert case(name, old)["expected"] == cases[-1]["expected"], name
    for kind in ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"]:
        heads = {"llama": {}, "mistral": {"num_attention_heads": 8}}.get(kind, {"num_key_value_heads": 1})
        # Six with a window and one without.
        heads.update({"num_hidden_layers": 7} if kind == "gemma3_text" else {})
        cases.append(case(f"{kind} by its defaults", dict(SMALL, model_type=kind) | heads))
        # Where the class takes a null.
        nulls = {
            "llama": dict(num_key_value_heads=None, head_dim=None), "mistral": dict(num_key_value_heads=1, head_dim=None),
            "qwen2": dict(num_key_value_heads=None),
        }.get(kind, heads | dict(head_dim=8))
        given = SMALL | nulls | dict(model_type=kind, rope_theta=777.0, tie_word_embeddings="gemma" not in kind, attention_bias=True, mlp_bias=True)
        given.update(eos_token_id=[3, 4], pad_token_id=None, bos_token_id=5, hidden_act="silu", rms_norm_eps=1e-3)
        if kind == "gemma2":
            given.update(attn_logit_softcapping=None, final_logit_softcapping=None)
        cases.append(case(f"{kind} with keys", given))
    cases.append(case("mistral without a window", dict(SMALL, model_type="mistral", sliding_window=None, num_key_value_heads=2)))
    window = dict(SMALL, model_type="qwen2", num_key_value_heads=2, use_sliding_window=True, sliding_window=16, max_window_layers=1)
    cases.append(case("qwen2 with windows", window))
    types = ["sliding_attention", "full_attention", "full_attention"]
    cases.append(case("qwen3 with windows by layer_types", dict(window, model_type="qwen3", head_dim=8, layer_types=types)))
    text = dict(model_type="gemma3_text", hidden_size=16, intermediate_size=8, num_hidden_layers=7, sliding_window=32, rope_scaling=dict(rope_type="linear", factor=8.0))
    cases.append(case("gemma3 of text and images", dict(model_type="gemma3", text_config=text, vision_config=dict(model_type="siglip_vision_model", hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=28, patch_size=14), eos_token_id=[1, 106], mm_tokens_per_image=4)))
    yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)
    for name, scaling in {
        "linear": dict(type="linear", factor=2.5),
        "dynamic": dict(type="dynamic", factor=2.0),
        "llama3": dict(LLAMA3, factor=32.0, original_max_position_embeddings=None) | dict(rope_theta=500000.0),
        "llama3 of its own length": dict(LLAMA3, original_max_position_embeddings=8192) | dict(rope_theta=500000.0),
        "llama3 of a length beside it": dict(LLAMA3, rope_theta=500000.0),
        "yarn": yarn,
        "yarn as in older files": dict(type="yarn", factor=4.0, original_max_position_embeddings=32768),
        "yarn with bounds": dict(yarn, beta_fast=8, beta_slow=0.5, truncate=False),
        "yarn with a factor": dict(yarn, attention_factor=0.75),
        "yarn with scales": dict(yarn, mscale=0.707, mscale_all_dim=0.5),
    }.items():
        scaling = {key: value for key, value in scaling.items() if value is not None}
        for spelling in ["rope_scaling", "rope_parameters"]:
            theta = scaling.get("rope_theta", 10000.0)
            beside = {key: value for key, value in scaling.items() if key != "rope_theta"}
            keys = {"rope_scaling": beside, "rope_theta": theta} if spelling == "rope_scaling" else {"rope_parameters": dict(beside, rope_theta=theta)}
            if name == "llama3 of a length beside it":
                keys["original_max_position_embeddings"] = 16
            # Wide heads, so that slow and fast pairs are among them.
            made = case(f"{name}, {spelling}", dict(SMALL, model_type="llama", head_dim=64, **keys))
            del made["expected"]["shapes"]
            cases.append(made)
    (HERE / "cases.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
    versions = dict(torch=torch.__version__.split("+")[0], transformers=transformers.__version__)
    (HERE / "versions.json").write_text(json.dumps(versions) + "\n")


if __name__ == "__main__":
    main()
