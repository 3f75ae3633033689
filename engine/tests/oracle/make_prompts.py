#!/usr/bin/env python3
"""Pictures of prompts with weights and of any length, drawn by diffusers from embeddings that are made here.

usage: make_prompts.py OUT_DIR      (OUT_DIR is this directory)

The grammar is that of AUTOMATIC1111's web UI, written down here once more from its behaviour: text encoders of transformers read the parts, each part is weighed
and brought back to its mean, and the parts stand one after the other. Written is prompt_cases.json.
"""
import copy
import json
import re
import sys

import diffusers
import torch

import make_cases as base
import make_more_cases as more

ROOM, COMMA_DISTANCE = 75, 20
TOKEN = re.compile(r"\\\(|\\\)|\\\[|\\\]|\\\\|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|\]|[^\\()\[\]:]+|:")


def pieces(prompt):
    found, round_open, square_open = [], [], []

    def scale(begin, factor):
        for piece in found[begin:]:
            piece[1] *= factor

    for match in TOKEN.finditer(prompt):
        text, weight = match.group(0), match.group(1)
        if text.startswith("\\"):
            found.append([text[1:], 1.0])
        elif text == "(":
            round_open.append(len(found))
        elif text == "[":
            square_open.append(len(found))
        elif weight is not None and round_open:
            scale(round_open.pop(), float(weight))
        elif text == ")" and round_open:
            scale(round_open.pop(), 1.1)
        elif text == "]" and square_open:
            scale(square_open.pop(), 1 / 1.1)
        else:
            for number, part in enumerate(re.split(r"\s*\bBREAK\b\s*", text)):
                if number:
                    found.append([None, 1.0])
                found.append([part, 1.0])
    for begin in round_open:
        scale(begin, 1.1)
    for begin in square_open:
        scale(begin, 1 / 1.1)
    merged = []
    for text, weight in found:
        if text == "":
            continue
        if merged and text is not None and merged[-1][0] is not None and merged[-1][1] == weight:
            merged[-1][0] += text
        else:
            merged.append([text, weight])
    return merged


def parts(prompt, tokenizer):
    comma = tokenizer(",", add_special_tokens=False).input_ids[0]
    done, tokens, last_comma = [], [], None
    for text, weight in pieces(prompt):
        if text is None:
            done.append(tokens)
            tokens, last_comma = [], None
            continue
        for token in tokenizer(text, add_special_tokens=False).input_ids:
            if token == comma:
                last_comma = len(tokens)
            elif len(tokens) == ROOM and last_comma is not None and len(tokens) - last_comma <= COMMA_DISTANCE:
                done.append(tokens[:last_comma + 1])
                tokens, last_comma = tokens[last_comma + 1:], None
            if len(tokens) == ROOM:
                done.append(tokens)
                tokens, last_comma = [], None
            tokens.append((token, weight))
    if tokens or not done:
        done.append(tokens)
    return done


def embeddings(prompt, tokenizer, encoder, layer, with_norm):
    """All parts side by side, and what the first one pools to."""
    states, pooled = [], None
    for part in parts(prompt, tokenizer):
        ids = [tokenizer.bos_token_id, *(token for token, _ in part), tokenizer.eos_token_id]
        ids += [tokenizer.pad_token_id] * (ROOM + 2 - len(ids))
        weights = torch.ones(ROOM + 2)
        weights[1:len(part) + 1] = torch.tensor([weight for _, weight in part])
        with torch.no_grad():
            output = encoder(torch.tensor([ids]), output_hidden_states=True)
            if layer is None:
                state = output.last_hidden_state
            else:
                state = output.hidden_states[-layer]
                if with_norm:
                    state = getattr(encoder, "text_model", encoder).final_layer_norm(state)
        if pooled is None and hasattr(output, "text_embeds"):
            pooled = output.text_embeds
        mean = state.mean()
        state = state * weights[None, :, None]
        states.append(state * (mean / state.mean()))
    return torch.cat(states, 1), pooled


def encode(components, prompt, clip_skip, is_positive):
    if "text_encoder_2" not in components:
        layer = clip_skip if is_positive else None
        return embeddings(prompt, components["tokenizer"], components["text_encoder"], layer, True)
    layer = (clip_skip if is_positive else None) or 2
    first, _ = embeddings(prompt, components["tokenizer"], components["text_encoder"], layer, False)
    second, pooled = embeddings(prompt, components["tokenizer_2"], components["text_encoder_2"], layer, False)
    return torch.cat([first, second], -1), pooled


def of_two_lengths(forward, negative_tokens):
    """What a UNet does with prompts that were filled up to one length: the negative ones, which come first, are cut again."""

    def separately(sample, timestep, encoder_hidden_states, added_cond_kwargs=None, **rest):
        outputs = []
        for row in range(sample.shape[0]):
            words = encoder_hidden_states[row:row + 1]
            words = words[:, :negative_tokens] if row == 0 else words
            added = {key: value[row:row + 1] for key, value in added_cond_kwargs.items()} if added_cond_kwargs else None
            outputs.append(forward(sample[row:row + 1], timestep, words, added_cond_kwargs=added, **rest | dict(return_dict=False))[0])
        return (torch.cat(outputs),)

    return separately


def cases():
    long = ", ".join(base.CORPUS * 3)
    sd = base.case
    yield "weights", sd(base.SD15, base.DDIM, 7000, "a (red:1.4) apple on a [wooden] table", "(blurry:1.2), low quality")
    yield "nested", sd(base.SD15, base.DDIM, 7001, "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))). \\(glass\\)", "", sampler="euler")
    yield "break", sd(base.SD15, base.DDIM, 7002, "a cat BREAK a (dog) under the sky", "blurry BREAK deformed", clip_skip=2)
    yield "long", sd(base.SD15, base.DDIM, 7003, long, long + ", (deformed:1.3)", sampler="euler_a")
    yield "long-and-short", sd(base.SD15, base.DDIM, 7004, "(a cat:1.2), " + long, "blurry")
    yield "padded", sd(base.SD21, base.DDIM_V, 7005, "((oil)) painting BREAK a castle at dawn", "low (quality:0.7)")
    yield "xl", sd(base.SDXL, base.EULER_XL, 7006, "a (red:0.6) apple BREAK " + long, "(blurry:1.5)")
    yield "xl-skip", sd(base.SDXL, base.EULER_XL, 7007, "an (oil painting:1.3) of a castle", "[blurry]", clip_skip=3)


def draw(name, spec, made, out):
    components = {role: made.get(part) for role, part in spec["parts"].items()}
    given = {}
    for prefix, words in (("", spec["prompt"]), ("negative_", spec["negative"])):
        embeds, pooled = encode(components, words, spec["clip_skip"], not prefix)
        given[f"{prefix}prompt_embeds"] = embeds
        if pooled is not None:
            given[f"{prefix}pooled_prompt_embeds"] = pooled
    positive, negative = given["prompt_embeds"], given["negative_prompt_embeds"]
    tokens = negative.shape[1]
    if tokens != positive.shape[1]:
        given["negative_prompt_embeds"] = torch.cat([negative, torch.zeros(1, positive.shape[1] - tokens, negative.shape[2])], 1)

    def pipeline(kind):
        class Given(kind):
            def __call__(self, prompt, negative_prompt, clip_skip=None, **arguments):
                forward = self.unet.forward
                if tokens != positive.shape[1]:
                    self.unet.forward = of_two_lengths(forward, tokens)
                try:
                    return super().__call__(**arguments, **given)
                finally:
                    self.unet.forward = forward
        Given.__name__ = kind.__name__
        return Given

    kinds = base.StableDiffusionPipeline, base.StableDiffusionXLPipeline
    base.StableDiffusionPipeline, base.StableDiffusionXLPipeline = map(pipeline, kinds)
    try:
        case = base.draw(f"prompt-{name}", spec, made, out)
    finally:
        base.StableDiffusionPipeline, base.StableDiffusionXLPipeline = kinds
    case["request"]["prompt_syntax"] = "a1111"
    return case


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    made = base.Parts(out)
    drawn = [draw(name, copy.deepcopy(spec), made, out) for name, spec in cases() if not only or name in only]
    if not only:
        with open(f"{out}/prompt_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
