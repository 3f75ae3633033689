#!/usr/bin/env python3
"""Pictures of prompts in which words stand for textual inversion embeddings, drawn by diffusers.

usage: make_embeddings.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

diffusers loads each embedding (`load_textual_inversion`). A plain prompt is its own affair: `<word>` where ours has `embedding:word`. With
weights and parts, embeddings are made as in make_prompts.py, and words are found among tokens as AUTOMATIC1111's web UI finds them, written
down here once more from its behaviour. An embedding's numbers are drawn like a network's; embeddings/NAME.json says how. Written is
embedding_cases.json.
"""
import copy
import json
import os
import re
import sys

import diffusers
import torch
from diffusers.loaders import TextualInversionLoaderMixin

import make_cases as base
import make_prompts as prompts

EMBEDDINGS = {  # name of the file: seed, and the tensors in it
    "one": (900, [("<one>", (32,))]),
    "bad-hand": (901, [("emb_params", (5, 32))]),
    "easynegative": (902, [("emb_params", (8, 32))]),
    "wide": (903, [("emb_params", (60, 32))]),
    "bad": (904, [("<bad>", (2, 32))]),
    "xl-style": (905, [("clip_g", (3, 32)), ("clip_l", (3, 32))]),
    "xl-neg": (906, [("clip_g", (1, 32)), ("clip_l", (1, 32))]),
}


def tensors(name, out):
    seed, shapes = EMBEDDINGS[name]
    module = torch.nn.ParameterDict({key: torch.nn.Parameter(torch.empty(shape)) for key, shape in shapes})
    weights = base.draw_weights(module, seed)
    os.makedirs(f"{out}/embeddings", exist_ok=True)
    base.write_json(f"{out}/embeddings/{name}.json", weights | {"file": f"{name}.safetensors"})
    return {key: module[key].detach().clone() for key, _ in shapes}


class Loader(TextualInversionLoaderMixin):
    components, hf_device_map = {}, None


class Extended:
    """The parts of a case, with copies of tokenizers and text encoders that know the embeddings."""

    def __init__(self, made, parts, words, out):
        self.made, self.copies = made, {}
        pairs = [(parts["tokenizer"], parts["text_encoder"], "clip_l")]
        if "text_encoder_2" in parts:
            pairs.append((parts["tokenizer_2"], parts["text_encoder_2"], "clip_g"))
        for tokenizer, encoder, key in pairs:
            self.copies[tokenizer], self.copies[encoder] = copy.deepcopy(made.get(tokenizer)), copy.deepcopy(made.get(encoder))
        for name in words:
            found = tensors(name, out)
            for tokenizer, encoder, key in pairs:
                value = found[key] if len(found) > 1 else next(iter(found.values()))
                Loader().load_textual_inversion(value, token=f"<{name}>", tokenizer=self.copies[tokenizer], text_encoder=self.copies[encoder])
        for copied in self.copies.values():
            copied.words = words

    def get(self, name):
        return self.copies.get(name) or self.made.get(name)


def vectors(word, tokenizer):
    """The tokens that diffusers gave an embedding."""
    known, number = [f"<{word}>"], 1
    while f"<{word}>_{number}" in tokenizer.added_tokens_encoder:
        known.append(f"<{word}>_{number}")
        number += 1
    return tokenizer.convert_tokens_to_ids(known)


def groups(text, tokenizer):
    """Tokens of a text, those of an embedding in a group of their own."""
    for number, piece in enumerate(re.split(r"embedding:(\S+?)(?=[\s,.]|$)", text)):
        if number % 2:
            yield vectors(piece, tokenizer), True
            continue
        ids = tokenizer(piece, add_special_tokens=False).input_ids
        names = {tuple(tokenizer(word, add_special_tokens=False).input_ids): word for word in tokenizer.words}
        while ids:
            fitting = [name for name in names if tuple(ids[:len(name)]) == name]
            if fitting:
                longest = max(fitting, key=len)
                yield vectors(names[longest], tokenizer), True
                ids = ids[len(longest):]
            else:
                yield ids[:1], False
                ids = ids[1:]


def parts(prompt, tokenizer):
    comma = tokenizer(",", add_special_tokens=False).input_ids
    done, part, last_comma = [], [], None
    for text, weight in prompts.pieces(prompt):
        if text is None:
            done.append(part)
            part, last_comma = [], None
            continue
        for group, is_embedding in groups(text, tokenizer):
            if group == comma:
                last_comma = len(part)
            elif len(part) == prompts.ROOM and last_comma is not None and len(part) - last_comma <= prompts.COMMA_DISTANCE:
                done.append(part[:last_comma + 1])
                part, last_comma = part[last_comma + 1:], None
            if len(part) + len(group) > prompts.ROOM:
                done.append(part)
                part, last_comma = [], None
            part = part + [(token, weight) for token in group]
    if part or not done:
        done.append(part)
    return done


def cases():
    """Name, whether the prompt is plain, the embeddings in the folder, and the picture."""
    long = ", ".join(base.CORPUS * 3)
    sd, xl = (lambda *given, **more: base.case(base.SD15, base.DDIM, *given, **more)), (lambda *given, **more: base.case(base.SDXL, base.EULER_XL, *given, **more))
    yield "one", True, ["one"], sd(8000, "a embedding:one on a table", "blurry")
    yield "several", True, ["easynegative"], sd(8001, "a red apple", "embedding:easynegative, low quality")
    yield "two", True, ["one", "bad-hand"], sd(8002, "embedding:bad-hand and embedding:one, a castle", "embedding:one", sampler="euler")
    yield "cut", True, ["wide"], sd(8003, ", ".join(base.CORPUS[:1] + base.CORPUS[4:5]) + ", embedding:wide, studio light", "")
    yield "padding", True, ["easynegative"], base.case(base.SD21, base.DDIM_V, 8004, "a castle, embedding:easynegative.", "blurry")
    yield "xl", True, ["xl-style", "xl-neg"], xl(8005, "a castle, embedding:xl-style", "embedding:xl-neg")
    yield "prompt-embedding-word", False, ["easynegative"], sd(8006, "a (red:1.2) apple", "EasyNegative, blurry")
    yield "prompt-embedding-weighted", False, ["one", "easynegative"], sd(8007, "(one:1.4) apple", "(easynegative:0.7), [embedding:one]", clip_skip=2)
    yield "prompt-embedding-longest", False, ["bad", "bad-hand"], sd(8008, "a house", "bad-hand, bad, (bad-hand:1.2)", sampler="euler")
    yield "prompt-embedding-parts", False, ["wide", "one"], sd(8009, "a cat, one, " + base.PROMPTS[0] + ", (wide:0.9), one, " + long, "wide, wide", sampler="euler_a")
    yield "prompt-embedding-comma", False, ["easynegative"], sd(8010, " ".join(["cat"] * 60) + ", a dog easynegative under the blue sky", "blurry")
    yield "prompt-embedding-xl", False, ["xl-style", "xl-neg"], xl(8011, "(xl-style:1.3), a castle BREAK embedding:xl-style", "xl-neg, xl-style")


def draw_plain(name, spec, made, out):
    def pipeline(kind):
        class Given(kind):
            def __call__(self, prompt, negative_prompt=None, **arguments):
                theirs = [re.sub(r"embedding:([a-z-]+)", r"<\1>", words) for words in (prompt, negative_prompt)]
                return super().__call__(prompt=theirs[0], negative_prompt=theirs[1], **arguments)
        Given.__name__ = kind.__name__
        return Given

    kinds = base.StableDiffusionPipeline, base.StableDiffusionXLPipeline
    base.StableDiffusionPipeline, base.StableDiffusionXLPipeline = map(pipeline, kinds)
    try:
        case = base.draw(f"embedding-{name}", spec, made, out)
    finally:
        base.StableDiffusionPipeline, base.StableDiffusionXLPipeline = kinds
    case["request"]["prompt_syntax"] = "plain"
    return case


def draw(name, is_plain, words, spec, made, out):
    extended = Extended(made, spec["parts"], words, out)
    if is_plain:
        case = draw_plain(name, spec, extended, out)
    else:
        case = prompts.draw(name.removeprefix("prompt-"), spec, extended, out)
    case["request"]["embeddings"] = words
    return case


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    prompts.parts = parts
    made = base.Parts(out)
    drawn = [draw(name, plain, words, copy.deepcopy(spec), made, out) for name, plain, words, spec in cases() if not only or name in only]
    if not only:
        with open(f"{out}/embedding_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
