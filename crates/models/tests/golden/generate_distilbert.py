"""Golden values of DistilBERT, from transformers and PEFT.

    python generate_distilbert.py     (after generate.py, whose tokenizer and texts it takes)

Writes distilbert/ beside this file: a random two-block model for classification with its hidden states and logits, an adapter on all
six maps with its logits and gradients (`all-maps`), and one saved without a head (`head-in-checkpoint`). Seeded; versions.json
says with what.
"""

import json
import pathlib
import shutil

import peft
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import DistilBertConfig, DistilBertForSequenceClassification

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "distilbert"
SEED = 20260623
CLASSES = 3
MAPS = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]


def model():
    """Always the same one, of weights large enough for the nonlinearities to matter."""
    torch.manual_seed(SEED)
    vocabulary = Tokenizer.from_file(str(HERE / "tiny/tokenizer.json")).get_vocab_size()
    config = DistilBertConfig(vocab_size=vocabulary, dim=16, n_layers=2, n_heads=2, hidden_dim=24,
                              max_position_embeddings=64, num_labels=CLASSES)
    made = DistilBertForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.3)
        for module in made.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.weight.add_(1.0)
    return made


def adapter(folder, sentences, **settings):
    adapted = peft.get_peft_model(model(), peft.LoraConfig(r=3, lora_alpha=6, lora_dropout=0.1, **settings)).eval()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                parameter.normal_(0, 0.3)
    adapted.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    record = json.loads(path.read_text())
    record["base_model_name_or_path"] = "distilbert"
    record["target_modules"].sort()
    path.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    # Mean cross-entropy of all texts, the label of text i being i modulo the number of classes.
    logits = torch.cat([adapted(torch.tensor([ids])).logits for ids in sentences])
    torch.nn.functional.cross_entropy(logits, torch.arange(len(sentences)) % CLASSES).backward()
    (folder / "expected.json").write_text(json.dumps(logits.tolist()) + "\n")
    gradients = {}
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            name = name.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")
            gradients[name] = parameter.grad.contiguous()
    save_file(gradients, str(folder / "gradients.safetensors"))


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    shutil.copy(HERE / "tiny/tokenizer.json", FOLDER)
    base = model()
    keys = ["model_type", "vocab_size", "dim", "n_layers", "n_heads", "hidden_dim", "max_position_embeddings",
            "activation", "sinusoidal_pos_embds"]
    (FOLDER / "config.json").write_text(json.dumps({k: getattr(base.config, k) for k in keys}, indent=2) + "\n")
    save_file({k: v.contiguous() for k, v in base.state_dict().items()}, str(FOLDER / "model.safetensors"))

    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    texts = ["NO movement, no yuks, not much of anything.", "café naïve Zürich?", "ok", "", "it's a charming journey !"]
    sentences = [tokenizer.encode(text).ids for text in texts]
    records = []
    for ids in sentences:
        with torch.no_grad():
            out = base(torch.tensor([ids]), output_hidden_states=True)
        hidden = [[round(v, 7) for v in h[0].flatten().tolist()] for h in out.hidden_states]
        # DistilBERT has no pooler: what its head reads is the last hidden state of [CLS].
        records.append({"ids": ids, "pooled": hidden[-1][:16], "hidden": hidden})
    (FOLDER / "expected.json").write_text(json.dumps({"texts": texts, "sentences": records}) + "\n")
    adapter(FOLDER / "all-maps", sentences, target_modules=MAPS, task_type="SEQ_CLS")
    adapter(FOLDER / "head-in-checkpoint", sentences, target_modules=["q_lin", "v_lin"])
    versions = {"seed": SEED, "torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    (FOLDER / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


main()
