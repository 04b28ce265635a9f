"""Tensors of every type that GGUF files have, and byte-level vocabularies by a reading of their definition.

    python generate_gguf.py     (needs numpy, gguf, safetensors and regex)

Writes, beside this file: decoders/types.gguf (one small tensor of each type: random blocks with scales of ordinary size),
decoders/types.safetensors (their values by the gguf package) and decoders/words.json: a vocabulary, and the tokens of texts for each kind of
words, by the plain reading below. Seeded.
"""

import json
import pathlib

import numpy
import regex
from gguf import GGUFWriter, GGMLQuantizationType as Type, quants
from gguf.constants import GGML_QUANT_SIZES
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent / "decoders"
SHAPE = (2, 256)
# Where a block of each type has its scales, in halves of 16 bits from its beginning; the others are dense or have none.
SCALES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 1], Type.Q5_0: [0], Type.Q5_1: [0, 1], Type.Q8_0: [0], Type.Q2_K: [40, 41], Type.Q3_K: [54],
    Type.Q4_K: [0, 1], Type.Q5_K: [0, 1], Type.Q6_K: [104],
}
DENSE = [Type.F32, Type.F16, Type.BF16]


def types():
    random = numpy.random.default_rng(20260801)
    writer = GGUFWriter(HERE / "types.gguf", "llama")
    values = {}
    for number, kind in enumerate(DENSE + list(SCALES)):
        name = f"model.layers.{number}.mlp.up_proj.weight"
        if kind in DENSE:
            wide = random.standard_normal(SHAPE).astype(numpy.float32)
            data = wide if kind == Type.F32 else quants.quantize(wide, kind)
        else:
            block, size = GGML_QUANT_SIZES[kind]
            data = random.integers(0, 256, (SHAPE[0], SHAPE[1] // block * size), dtype=numpy.uint8)
            halves = data.reshape(-1, size).view(numpy.uint16)
            for place in SCALES[kind]:
                halves[:, place] = random.uniform(-0.5, 0.5, len(halves)).astype(numpy.float16).view(numpy.uint16)
        values[f"{kind.name} {name}"] = quants.dequantize(data, kind).astype(numpy.float32).reshape(SHAPE)
        writer.add_tensor(f"blk.{number}.ffn_up.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(values, str(HERE / "types.safetensors"))


TRAINING = """The student asked which gas plants take in from the air. In 1984 there were 2,000 of them: they're all gone now, aren't they?
Question: 2+2?  A. 3  B. 4  Answer: the naïve café's co-operation, 12 345 times; I'll say what we've done, and he'd say it's what I'm at.
the the the and and of of in in to to a a is is it it that that for for was was on on as as with with at at by by from from
19 19 84 84 20 20 00 00 HelloWorld HelloWorld café café"""
TEXTS = [
    "In 1984 they're 12345 of 2,000.", "  two  spaces\n\n  and\tlines \r\n end  ", "HELLO'S HelloWorld camelCase", "café naïve cafe\u0301", "I'll 'LL they'RE x'tend",
    "½ ２０ १२३ x²", "<|im_start|>user\nHi<|im_end|>", "a<tool>b <tool> c", "日本語 текст 🙂🙂", "", "the", " the", "...!?\n\n\nA. 4", "unused0 [PAD9]",
]
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Of each: the patterns that cut, one after the other; whether characters are composed; whether whole words are looked up; whether BOS stands before.
KINDS = {
    "gpt-2": ([GPT2], False, False, False),
    "smollm": ([r"\p{N}", GPT2], False, False, False),
    "llama-bpe": ([LETTERS + r"|\p{N}{1,3}" + TAIL], False, True, True),
    "smaug-bpe": ([LETTERS + r"|\p{N}{1,3}" + TAIL], False, False, False),
    "qwen2": ([LETTERS + r"|\p{N}" + TAIL], True, False, False),
    "tekken": ([TEKKEN], False, True, True),
}


def alphabet():
    """The character of each byte: itself where it can be seen."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return {**{byte: chr(byte) for byte in seen}, **{byte: chr(256 + i) for i, byte in enumerate(hidden)}}


SPELLING = alphabet()


def spell(text):
    return "".join(SPELLING[byte] for byte in text.encode())


def cut(text, patterns):
    """The text between and within matches, pattern by pattern."""
    words = [text]
    for pattern in patterns:
        found = []
        for word in words:
            last = 0
            for match in regex.finditer(pattern, word):
                found += [word[last : match.start()], match.group()]
                last = match.end()
            found.append(word[last:])
        words = [word for word in found if word]
    return words


def train(merges):
    """The merges that join the most frequent pair of neighbours, time and again."""
    words = [list(spell(word)) for word in cut(TRAINING, [GPT2])]
    made = []
    while len(made) < merges:
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda pair: (counts[pair], pair))
        made.append(best)
        words = [merged(word, best) for word in words]
    return made


def merged(word, pair):
    out, at = [], 0
    while at < len(word):
        if tuple(word[at : at + 2]) == pair:
            out.append(word[at] + word[at + 1])
            at += 2
        else:
            out.append(word[at])
            at += 1
    return out


def encode(text, kind, numbers, merges, marks, bos):
    patterns, composed, whole, adds = KINDS[kind]
    ids = [bos] if adds else []
    pattern = "|".join(sorted(map(regex.escape, marks), key=len, reverse=True))
    for part in regex.split(f"({pattern})", text):
        if part in marks:
            ids.append(numbers[part])
            continue
        if composed:
            import unicodedata

            part = unicodedata.normalize("NFC", part)
        for word in cut(part, patterns):
            spelt = spell(word)
            if whole and spelt in numbers:
                ids.append(numbers[spelt])
                continue
            pieces = list(spelt)
            while True:
                ranks = [merges.index(pair) for pair in zip(pieces, pieces[1:]) if pair in merges]
                if not ranks:
                    break
                pieces = merged(pieces, merges[min(ranks)])
            ids += [numbers[piece] for piece in pieces]
    return ids


def words():
    merges = train(90)
    tokens = ["<|begin|>", "<|im_start|>", "<|im_end|>"] + [SPELLING[byte] for byte in range(256)]
    tokens += list(dict.fromkeys("".join(pair) for pair in merges))
    kinds = [3, 3, 3] + [1] * (len(tokens) - 3)
    # A word that no merges make, a text that is never cut, and numbers without a token.
    tokens += ["Ġtwo", "<tool>", "[PAD9]"]
    kinds += [1, 4, 5]
    numbers = {token: number for number, (token, kind) in enumerate(zip(tokens, kinds)) if kind != 5}
    marks = [token for token, kind in zip(tokens, kinds) if kind in (3, 4)]
    cases = [dict(pre=kind, text=text, ids=encode(text, kind, numbers, merges, marks, 0)) for kind in KINDS for text in TEXTS]
    made = dict(tokens=tokens, kinds=kinds, merges=[" ".join(pair) for pair in merges], cases=cases)
    (HERE / "words.json").write_text(json.dumps(made, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    types()
    words()
