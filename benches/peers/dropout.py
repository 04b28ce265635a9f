"""The cheapest correct dropout found in PyTorch on a CPU.

torch draws its Bernoulli numbers one after another (8 ns an entry with the product, torch 2.15 on the machine of the
records); numpy's SFC64 fills 64 bits in 1.3 ns, and 16 of them make one mask entry. 16 bits put the keep probability on a grid of
1/65536; the multiplier is the reciprocal of the probability on that grid, so masks are unbiased.
"""

import numpy
import torch


# One generator per adapter, by number: an operator's arguments are tensors and numbers.
STREAMS = []


@torch.library.custom_op("peers::drop", mutates_args=())
def drop(x: torch.Tensor, level: int, stream: int) -> torch.Tensor:
    """Zeroes each entry with probability (level + 32768) / 65536. An operator, so that torch.compile can go through it."""
    words = STREAMS[stream].integers(-2**63, 2**63 - 1, size=(x.numel() + 3) // 4, dtype=numpy.int64, endpoint=True)
    bits = torch.from_numpy(words.view(numpy.int16)[:x.numel()]).view(x.shape)
    return x.masked_fill(bits < level, 0.0)


@drop.register_fake
def _(x, level, stream):
    return torch.empty_like(x)


class CheapDropout(torch.nn.Module):
    """`torch.nn.Dropout` in training mode, without the factor: `keep` is folded into the adapter's scale."""

    def __init__(self, p, seed):
        super().__init__()
        self.stream = len(STREAMS)
        STREAMS.append(numpy.random.Generator(numpy.random.SFC64(seed)))
        self.level = round(p * 65536) - 32768
        self.keep = 1.0 - round(p * 65536) / 65536

    def forward(self, x):
        return torch.ops.peers.drop(x, self.level, self.stream)


def adapters(model):
    """The adapted maps of a PEFT model, by name."""
    return [(name, module) for name, module in model.named_modules() if getattr(module, "lora_A", None)]


def train_dropout_only(model):
    """BayesLoRA v1's prediction: the whole model in eval mode, the adapters' dropout alone in train mode."""
    model.eval()
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.train()


def make_cheap(model, seed):
    """Puts `CheapDropout` in the place of every adapter's dropout."""
    for number, (_, module) in enumerate(adapters(model)):
        for key, old in module.lora_dropout.items():
            cheap = CheapDropout(old.p, seed + number)
            module.lora_dropout[key] = cheap
            module.scaling[key] /= cheap.keep
