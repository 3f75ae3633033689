#!/usr/bin/env python3
"""Golden token ids: what transformers' CLIPTokenizer makes of difficult prompts.

usage: make_tokenizer.py STARTER_TOKENIZER_DIR OUT.json

The output holds, for each of four tokenizers, its files and for each prompt the ids without truncation, and for
some of them the ids with truncation and padding to two lengths. The tokenizers are the starter's (its files are not repeated) and three small ones
that are saved in the forms found in the wild: vocab.json and merges.txt with special tokens as objects that are
normalised, tokenizer.json with a padding token that is also a word, and added_tokens_decoder.
Needs: transformers.
"""
import json
import os
import sys
import tempfile

import transformers
from transformers import CLIPTokenizer

PROMPTS = [
    "", " ", "a red apple", "A RED Apple", "  a   red\tapple \n on\r\na table  ", "a,b;c.d!e?f", "!", "!!!", "wow! great!",
    "it's we're I'll you've he'd I'm don't", "IT'S", "it’s", "3d render, 8k, 1024x768, 3.14", "½ ² Ⅷ ٣",
    "naïve café", "cafe\u0301 nai\u0308ve", "İstanbul ISTANBUL ı", "ΟΔΥΣΣΕΥΣ Σ", "ß ẞ ﬁ ﬂ", "日本の桜、富士山", "中文提示词,高质量",
    "한국어 테스트", "привет, мир", "سلام دنیا", "नमस्ते", "😀 🍎👩‍👩‍👧‍👦 🏳️‍🌈", "a\u200bb\ufeffc", "a\u00a0b\u3000c\u2028d\u0085e",
    "a\x00b \x00", "\x01\x7f\x1b[0m", "(masterpiece:1.2), [bad|good], {x}", "<|endoftext|>", "<|startoftext|>a cat<|endoftext|> a dog",
    "a<|endoftext|>b", "<|ENDOFTEXT|> x", "< |endoftext| >", "<|endoftext", "https://example.org/a?b=c&d=%20", "snake_case CamelCase kebab-case",
    "--- ... ___ ***", "''' 's 't", "'S 'T", "\\n \\t \"quoted\" `code`", "x" * 300, "ab " * 120, "a photograph of an astronaut riding a horse " * 12,
    "\u1e9b\u0323", "\u212b \u2126", "e\u0301" * 40, "🍎" * 60, "。" * 100, "a" + "\u0300" * 50, "0123456789" * 12,
    "\u00ad soft\u00adhyphen", "tab\tsep", "ｆｕｌｌｗｉｄｔｈ １２３", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛", "\ud7ff\ue000\U0010ffff",
]
TEXTS = ["a photograph of an astronaut riding a horse", "a red apple on a wooden table", "an oil painting of a castle at dawn"]
LENGTHS = [77, 8]


def byte_letters():
    """The letters by which CLIP writes bytes: those that can be seen stand for themselves."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return [chr(byte) for byte in seen] + [chr(256 + number) for number in range(len(hidden))]


def small_vocabulary():
    """All letters, and the merges that build the words of TEXTS from the left."""
    tokens = byte_letters()
    tokens += [letter + "</w>" for letter in tokens]
    merges = []
    for word in sorted({word for text in TEXTS for word in text.split()}):
        letters = [*word[:-1], word[-1] + "</w>"]
        left = letters[0]
        for right in letters[1:]:
            if (left, right) not in merges:
                merges.append((left, right))
            left += right
            if left not in tokens:
                tokens.append(left)
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, merges


def legacy_files(vocab, merges):
    """As SD 1.5 has them: the special tokens are objects, and normalised."""
    token = lambda text: {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    return {
        "vocab.json": json.dumps(vocab, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n",
        "special_tokens_map.json": json.dumps({"bos_token": token("<|startoftext|>"), "eos_token": token("<|endoftext|>"),
                                               "unk_token": token("<|endoftext|>"), "pad_token": "<|endoftext|>"}),
        "tokenizer_config.json": json.dumps({"bos_token": {"__type": "AddedToken"} | token("<|startoftext|>"),
                                             "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}),
    }


def sd2_files(vocab, merges):
    """As SD 2 and the second tokenizer of SDXL have them: "!" is the padding, and so a special token."""
    return legacy_files(vocab, merges) | {
        "special_tokens_map.json": json.dumps({"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
                                               "unk_token": "<|endoftext|>", "pad_token": "!"}),
        "tokenizer_config.json": json.dumps({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", "pad_token": "<|endoftext|>"}),
    }


def modern_files(vocab, merges):
    """As today's transformers saves them."""
    with tempfile.TemporaryDirectory() as directory:
        CLIPTokenizer(vocab=vocab, merges=merges, pad_token="!", model_max_length=77).save_pretrained(directory)
        return {name: open(f"{directory}/{name}", encoding="utf-8").read() for name in ("tokenizer.json", "tokenizer_config.json")}


def decoder_files(vocab, merges):
    """As transformers 4 saved them: special tokens by number in the configuration, and one that stands alone."""
    token = lambda text, **more: dict(content=text, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True) | more
    files = modern_files(vocab, merges)
    config = {"added_tokens_decoder": {str(vocab["<|startoftext|>"]): token("<|startoftext|>", normalized=True),
                                       str(vocab["<|endoftext|>"]): token("<|endoftext|>"), "0": token("!", rstrip=True)},
              "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "!",
              "model_max_length": 1000000000000000019884624838656, "tokenizer_class": "CLIPTokenizer"}
    return files | {"tokenizer_config.json": json.dumps(config)}


def encode(directory):
    tokenizer = CLIPTokenizer.from_pretrained(directory)
    rows = []
    for number, prompt in enumerate(PROMPTS):
        row = {"prompt": prompt, "ids": tokenizer(prompt).input_ids}
        if number % 4 == 0:
            row["padded"] = [tokenizer(prompt, padding="max_length", max_length=length, truncation=True).input_ids for length in LENGTHS]
        rows.append(row)
    return rows


def main():
    starter, out = sys.argv[1:]
    vocab, merges = small_vocabulary()
    cases = {"starter": {"files": {}, "rows": encode(starter)}}
    for name, make in {"legacy": legacy_files, "sd2": sd2_files, "modern": modern_files, "decoder": decoder_files}.items():
        files = make(vocab, merges)
        with tempfile.TemporaryDirectory() as directory:
            for file, text in files.items():
                with open(os.path.join(directory, file), "w", encoding="utf-8") as handle:
                    handle.write(text)
            cases[name] = {"files": files, "rows": encode(directory)}
    with open(out, "w", encoding="ascii") as handle:
        json.dump({"transformers": transformers.__version__, "lengths": LENGTHS, "cases": cases}, handle, separators=(",", ":"))
        handle.write("\n")


if __name__ == "__main__":
    main()
