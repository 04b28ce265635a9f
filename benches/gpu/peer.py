"""PyTorch + PEFT at the work of `speed.rs`, on a GPU: tokens a second as JSON lines. Random weights of MiniLM's sizes."""

import json
import statistics
import sys
import time

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

SENTENCES, LENGTH, SAMPLES, BATCH = 256, 64, 16, 32


def model(dtype):
    config = BertConfig(vocab_size=100, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
                        max_position_embeddings=128, num_labels=2)
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=16, lora_dropout=0.1, target_modules=["query", "value"],
                      layers_to_transform=[4, 5])
    return get_peft_model(BertForSequenceClassification(config), lora).to("cuda", dtype)


def adapters_only(network):
    network.eval()
    for name, module in network.named_modules():
        if "lora_dropout" in name:
            module.train()


def tell(what, dtype, tokens, run, repetitions):
    run()
    seconds = []
    for _ in range(repetitions):
        torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    name = str(dtype).removeprefix("torch.").replace("bfloat", "bf").replace("float", "f")
    print(json.dumps({"what": what, "device": "cuda, PyTorch + PEFT", "precision": name,
                      "tokens_per_second": tokens / statistics.median(seconds)}))


def main(repetitions):
    torch.manual_seed(0)
    ids = torch.randint(0, 100, (SENTENCES, LENGTH), device="cuda")
    for dtype in [torch.float32, torch.bfloat16]:
        network = model(dtype)

        @torch.inference_mode()
        def passes(samples):
            for _ in range(samples):
                for start in range(0, SENTENCES, 128):
                    network(input_ids=ids[start:start + 128])

        def step():
            network(input_ids=ids[:BATCH]).logits.float().square().sum().backward()
            network.zero_grad()

        network.eval()
        tell("one pass at the mean", dtype, SENTENCES * LENGTH, lambda: passes(1), repetitions)
        adapters_only(network)
        tell("sampling, 16 samples", dtype, SENTENCES * LENGTH * SAMPLES, lambda: passes(SAMPLES), repetitions)
        tell("training step", dtype, BATCH * LENGTH, step, repetitions)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
