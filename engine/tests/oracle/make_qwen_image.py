#!/usr/bin/env python3
"""Pictures that diffusers draws with a tiny random Qwen-Image.

usage: make_qwen_image.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

As make_more_cases.py, which it uses; it writes qwen_image_cases.json, adapters/qwen-image-*.json as make_adapters.py does, and what Wan's authors call the
layers of the autoencoder. The text encoder's weights are drawn under the names that its file has. `true_cfg_scale` is the guidance of the requests. Needs peft
besides.
"""
import json
import os
import sys
import tempfile

import diffusers
import torch
from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from safetensors.torch import save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

import make_adapters as adapters
import make_cases as base
import make_more_cases as more


# Components -----------------------------------------------------------------------------------------------------------

def text_encoder():
    text = dict(vocab_size=len(more.qwen_tokenizer()), hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=2048, rms_norm_eps=1e-6, bos_token_id=0, eos_token_id=2,
                rope_parameters=dict(rope_type="default", rope_theta=1000000.0, mrope_section=[1, 1, 2]))
    vision = dict(depth=1, hidden_size=8, intermediate_size=8, num_heads=2, out_hidden_size=32, patch_size=2, fullatt_block_indexes=[0])
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))


def transformer(channels=16, axes=(4, 6, 6), heads=2):
    return QwenImageTransformer2DModel(patch_size=2, in_channels=4 * channels, out_channels=channels, num_layers=3, attention_head_dim=sum(axes),
                                       num_attention_heads=heads, joint_attention_dim=32, axes_dims_rope=axes)


def vae():
    return AutoencoderKLQwenImage(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, temperal_downsample=[False, True, True])


def vae_small():
    """Other numbers than the real one has."""
    return AutoencoderKLQwenImage(base_dim=24, z_dim=8, dim_mult=[1, 2, 3], num_res_blocks=1, temperal_downsample=[True, False],
                                  latents_mean=[0.1 * i - 0.3 for i in range(8)], latents_std=[1.0 + 0.2 * i for i in range(8)])


class TokenizerOfTwoFiles:
    """A tokenizer as the model's authors keep it: without `tokenizer.json`."""

    def save_pretrained(self, directory):
        whole = json.loads(more.qwen_tokenizer()._tokenizer.to_str())
        os.makedirs(directory)
        added = {token["content"]: token for token in whole["added_tokens"]}
        words = {token: number for token, number in whole["model"]["vocab"].items() if token not in added}
        # Tokens of these files follow the words, as in the real vocabulary.
        last = len(words)
        numbers = {token: number for number, token in enumerate(sorted(words, key=words.get))}
        decoder = {str(last + number): {key: value for key, value in added[token].items() if key != "id"} for number, token in enumerate(added)}
        base.write_json(f"{directory}/vocab.json", numbers)
        with open(f"{directory}/merges.txt", "w", encoding="utf-8") as file:
            file.write("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in whole["model"]["merges"]))
        base.write_json(f"{directory}/tokenizer_config.json", {
            "added_tokens_decoder": decoder, "add_prefix_space": False, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": None,
            "model_max_length": 1024, "tokenizer_class": "Qwen2Tokenizer"})
        self.directory = directory


class Parts(base.Parts):
    def get(self, name):
        part = super().get(name)
        # How a language model goes on writing; nobody asks it to.
        if os.path.exists(unused := f"{self.out}/parts/{name}/generation_config.json"):
            os.remove(unused)
        if isinstance(part, TokenizerOfTwoFiles):
            part = self.made[name] = Qwen2Tokenizer.from_pretrained(part.directory)
        return part


base.PARTS |= {
    "tokenizer-qwen-two-files": (None, TokenizerOfTwoFiles),
    "text-qwen-2.5-vl": (1, text_encoder),
    "qwen-image": (2, transformer),
    "qwen-image-small": (2, lambda: transformer(8, (8, 8, 16), 1)),
    "vae-qwen-image": (3, vae),
    "vae-qwen-image-small": (3, vae_small),
}
PARTS = dict(tokenizer="tokenizer-qwen", text_encoder="text-qwen-2.5-vl", transformer="qwen-image", vae="vae-qwen-image")
SMALL = PARTS | dict(transformer="qwen-image-small", vae="vae-qwen-image-small")


class UnderSavedNames:
    """The parameters of a text encoder, under the names that its file gives them."""

    def __init__(self, module):
        self.module = module

    def named_parameters(self):
        for name, parameter in self.module.named_parameters():
            yield name.replace("model.language_model.", "model.").replace("model.visual.", "visual."), parameter

    def named_buffers(self):
        return ()

    def eval(self):
        return self.module.eval()


def draw_weights(module, seed):
    return more.draw_weights(UnderSavedNames(module) if isinstance(module, Qwen2_5_VLForConditionalGeneration) else module, seed)


base.draw_weights = draw_weights


# Cases ----------------------------------------------------------------------------------------------------------------

# As the authors' file has it.
FLOW = dict(num_train_timesteps=1000, base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192, shift=1.0, shift_terminal=0.02,
            time_shift_type="exponential", use_dynamic_shifting=True)
# Of the adapters that make it draw in few steps.
LIGHTNING_FLOW = FLOW | dict(base_shift=1.0986122886681098, max_shift=1.0986122886681098, shift_terminal=None)


def flow(parts, seed, *arguments, config=FLOW, **options):
    return more.flow(QwenImagePipeline, parts, config, seed, *arguments, **options) | dict(guided_by="true_cfg_scale")


def cases():
    # Cut inside: the tiny tokenizer makes 114 tokens of what stands before a prompt, of which the network sees those after the first 34.
    long, other = (" ".join(corpus * 3) for corpus in (base.CORPUS, base.CORPUS[::-1]))
    yield "qwen-image", flow(PARTS, 9100, 1, 5, 1.0)
    yield "qwen-image-guided", flow(PARTS, 9101, 2, 5, 4.0, "blurry", (96, 64))
    yield "qwen-image-empty", flow(PARTS, 9102, 0, 4, 2.5, "", (48, 80))
    yield "qwen-image-long", flow(PARTS, 9103, long, 4, 3.0, other, length=150)
    yield "qwen-image-small", flow(SMALL, 9104, 1, 5, 4.0, "blurry", (56, 72))
    yield "qwen-image-lightning", flow(PARTS, 9105, 0, 4, 1.0, config=LIGHTNING_FLOW)
    yield "qwen-image-two-files", flow(PARTS | dict(tokenizer="tokenizer-qwen-two-files"), 9106, "a red apple's 3 castles,  caf\u00e9\n\n oh 12", 4, 2.0, " ")
    yield "qwen-image-img2img", flow(PARTS, 9107, 1, 6, 4.0, "blurry", task="img2img", strength=0.6)
    yield "qwen-image-inpaint", flow(PARTS, 9108, 0, 6, 4.0, "", task="inpaint", strength=0.7)
    yield "qwen-image-inpaint-whole", flow(SMALL, 9109, 2, 5, 1.0, size=(96, 64), task="inpaint", strength=1.0)


# Adapters -------------------------------------------------------------------------------------------------------------

def lightning(network):
    """As the files that make it draw in few steps name the layers: as diffusers does, with kohya's names of the pieces and an alpha for each."""
    return [tensor for name, shape in adapters.layers(network, only="transformer_blocks") for tensor in adapters.lora(name, shape)]


def adapted_cases(network):
    """Name of the adapter, its seed and tensors, how strong it is, and the picture."""
    yield "peft", 9200, adapters.peft("transformer", network), 0.5, flow(PARTS, 9201, 1, 5, 4.0, "blurry")
    yield "lightning", 9202, lightning(network), 1.0, flow(PARTS, 9203, 2, 4, 1.0, config=LIGHTNING_FLOW)
    yield "kohya", 9204, adapters.kohya("lora_unet", network, only="attn"), 0.8, flow(PARTS, 9205, 0, 5, 3.0, "")


def draw_adapted(parts, out, name, seed, tensors, strength, spec):
    drawn = adapters.Drawn(seed, tensors)
    file = f"qwen-image-{name}"
    base.write_json(f"{out}/adapters/{file}.json", drawn.weights | {"file": f"{file}.safetensors"})

    def adapt(pipe):
        with tempfile.TemporaryDirectory() as directory:
            save_file(drawn.tensors, f"{directory}/adapter.safetensors")
            pipe.load_lora_weights(f"{directory}/adapter.safetensors", adapter_name="adapter")
        pipe.set_adapters(["adapter"], [strength])
        changed = [name for name, _ in pipe.transformer.named_modules() if name.endswith("lora_A.adapter")]
        assert len(changed) == sum("down" in name or "lora_A" in name for name, _ in tensors), len(changed)
        return pipe

    case = more.draw(f"lora-qwen-image-{name}", spec | dict(adapt=adapt), adapters.WithAdapters(parts), out)
    case["request"]["loras"] = [[file, strength]]
    return case


# Other names ----------------------------------------------------------------------------------------------------------

IN_RESNET = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6", "conv_shortcut": "shortcut"}


def wan_name(name):
    """What Wan's authors call a tensor of the autoencoder; levels of three residual blocks."""
    half, *rest = name.split(".")
    match half, rest:
        case ("quant_conv" | "post_quant_conv"), [kind]:
            return f"{dict(quant_conv='conv1', post_quant_conv='conv2')[half]}.{kind}"
        case _, ["conv_in", kind]:
            return f"{half}.conv1.{kind}"
        case _, ["norm_out", kind]:
            return f"{half}.head.0.{kind}"
        case _, ["conv_out", kind]:
            return f"{half}.head.2.{kind}"
        case _, ["mid_block", "attentions", "0", *layer]:
            return ".".join([half, "middle.1", *layer])
        case _, ["mid_block", "resnets", number, layer, kind]:
            return f"{half}.middle.{2 * int(number)}.{IN_RESNET[layer]}.{kind}"
        case _, ["down_blocks", number, *layer]:
            return ".".join([half, "downsamples", number, *([IN_RESNET[layer[0]], layer[1]] if layer[0] in IN_RESNET else layer)])
        case _, ["up_blocks", level, "resnets", number, layer, kind]:
            return f"{half}.upsamples.{4 * int(level) + int(number)}.{IN_RESNET[layer]}.{kind}"
        case _, ["up_blocks", level, "upsamplers", "0", *layer]:
            return ".".join([half, "upsamples", str(4 * int(level) + 3), *layer])


def wan_names(autoencoder):
    """Pairs of names; diffusers' conversion takes each to the other."""
    own = autoencoder.state_dict()
    names = {wan_name(name): name for name in own}
    converted = convert_wan_vae_to_diffusers({theirs: own[name] for theirs, name in names.items()})
    assert converted.keys() == own.keys() and all(torch.equal(own[name], value) for name, value in converted.items())
    return names


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    parts = Parts(out)
    drawn = [more.draw(name, spec, parts, out) for name, spec in cases() if not only or name in only]
    drawn += [draw_adapted(parts, out, *spec) for spec in adapted_cases(parts.get("qwen-image")) if not only or f"lora-qwen-image-{spec[0]}" in only]
    if not only:
        base.write_json(f"{out}/qwen_image_names.json", wan_names(parts.get("vae-qwen-image")))
        with open(f"{out}/qwen_image_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
