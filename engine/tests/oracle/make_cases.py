#!/usr/bin/env python3
"""Pictures that diffusers draws with tiny random networks, for engine/tests/oracle.rs to draw again.

usage: make_cases.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

Weights are not stored. They are torch.randn of a seed, one parameter after the other in order of names, so that the
test can make them itself:
  two dimensions and more   randn * 0.9 / sqrt(numbers in p[0])
  names ending in "bias"    randn * 0.05
  other vectors             1 + randn * 0.1
Written are, below OUT_DIR:
  parts/NAME/…              the files of a component but for its weights; for a network also weights.json with the seed,
                            the names and shapes in the order of drawing, and the SHA-256 of all numbers (f32, little endian)
  expected/CASE[-N].png     what diffusers draws in float32 on the CPU, image N of a batch from seed + N
  cases.json                for each case its parts, its model_index.json and scheduler_config.json, and the request
The cases sd15-* without further words, sd21-v and sdxl-* are those every backend of the project is measured with.
Needs: torch diffusers transformers scipy pillow.
"""
import hashlib
import json
import os
import shutil
import sys
import tempfile
import types

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

PROMPTS = ["a photograph of an astronaut riding a horse", "a red apple on a wooden table", "an oil painting of a castle at dawn"]
CORPUS = PROMPTS + ["blurry, low quality, deformed", "a cat sitting next to a dog under the blue sky", "3d render of a glass teapot, studio light"]


# Components -----------------------------------------------------------------------------------------------------------

def byte_letters():
    """The letters by which CLIP's vocabulary writes the 256 bytes."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in seen]
    return [chr(byte) for byte in seen] + [chr(256 + number) for number in range(len(hidden))]


def tokenizer(padding="<|endoftext|>", most_merges=300):
    """Byte pairs of CORPUS, the most frequent first and equals in order of the alphabet."""
    letters = byte_letters()
    vocabulary = letters + [letter + "</w>" for letter in letters]
    words = {}
    for text in CORPUS:
        for word in text.lower().replace(",", " ,").split():
            key = (*word[:-1], word[-1] + "</w>")
            words[key] = words.get(key, 0) + 1
    merges = []
    while len(merges) < most_merges:
        pairs = {}
        for word, count in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] = pairs.get(pair, 0) + count
        if not pairs:
            break
        best = max(sorted(pairs), key=pairs.get)
        merges.append(best)
        vocabulary.append("".join(best))
        words = {merged(word, best): count for word, count in words.items()}
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbers = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    return CLIPTokenizer(vocab=numbers, merges=merges, pad_token=padding, model_max_length=77)


def merged(word, pair):
    out, at = [], 0
    while at < len(word):
        step = 2 if word[at:at + 2] == pair else 1
        out.append("".join(word[at:at + step]))
        at += step
    return tuple(out)


def text_encoder(layers, activation, projection=None, end=None):
    tokens = len(tokenizer())
    config = CLIPTextConfig(vocab_size=tokens, hidden_size=32, intermediate_size=128, num_hidden_layers=layers, num_attention_heads=4,
                            max_position_embeddings=77, hidden_act=activation, projection_dim=projection or 32, bos_token_id=tokens - 2,
                            eos_token_id=tokens - 1 if end is None else end, pad_token_id=tokens - 1)
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def vae(latent_channels=4, quant=True, scale=0.18215, channels=(32, 64)):
    levels = len(channels)
    return AutoencoderKL(block_out_channels=list(channels), in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * levels,
                         up_block_types=["UpDecoderBlock2D"] * levels, latent_channels=latent_channels, norm_num_groups=8, layers_per_block=1,
                         use_quant_conv=quant, use_post_quant_conv=quant, shift_factor=None, scaling_factor=scale)


def unet_sd(heads=4, linear=False, latent_channels=4):
    return UNet2DConditionModel(sample_size=32, in_channels=latent_channels, out_channels=latent_channels, block_out_channels=(32, 64, 64),
                                layers_per_block=2, down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
                                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=32,
                                attention_head_dim=heads, norm_num_groups=8, use_linear_projection=linear)


def unet_sdxl():
    return UNet2DConditionModel(sample_size=32, in_channels=4, out_channels=4, block_out_channels=(32, 64, 64), layers_per_block=2,
                                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=(2, 4, 8),
                                use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
                                transformer_layers_per_block=(1, 2, 3), projection_class_embeddings_input_dim=6 * 8 + 32,
                                cross_attention_dim=64, norm_num_groups=8)


PARTS = {  # name: (seed of the weights, or None where there are none; what it is)
    "tokenizer": (None, tokenizer),
    "tokenizer-pad": (None, lambda: tokenizer("!")),
    "text": (1, lambda: text_encoder(3, "quick_gelu")),
    "text-gelu": (1, lambda: text_encoder(3, "gelu")),
    "text-projection": (4, lambda: text_encoder(4, "gelu", projection=32)),
    "text-projection-end-2": (4, lambda: text_encoder(4, "gelu", projection=32, end=2)),
    "unet-sd15": (2, unet_sd),
    "unet-sd21": (2, lambda: unet_sd((2, 4, 4), linear=True)),
    "unet-16": (2, lambda: unet_sd(latent_channels=16)),
    "unet-sdxl": (2, unet_sdxl),
    "vae-sd": (3, vae),
    "vae-sdxl": (3, lambda: vae(scale=0.13025)),
    "vae-16": (3, lambda: vae(16, quant=False, scale=0.3611)),
    "vae-deep": (3, lambda: vae(channels=(16, 16, 32, 32))),
}
SD15 = dict(tokenizer="tokenizer", text_encoder="text", unet="unet-sd15", vae="vae-sd")
SD21 = dict(tokenizer="tokenizer-pad", text_encoder="text-gelu", unet="unet-sd21", vae="vae-sd")
SDXL = dict(tokenizer="tokenizer", tokenizer_2="tokenizer-pad", text_encoder="text", text_encoder_2="text-projection", unet="unet-sdxl", vae="vae-sdxl")


def draw_weights(module, seed):
    generator = torch.Generator().manual_seed(seed)
    drawn = sorted(module.named_parameters())
    digest = hashlib.sha256()
    with torch.no_grad():
        for name, parameter in drawn:
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                parameter.copy_(noise * (0.9 / parameter[0].numel() ** 0.5))
            elif name.endswith("bias"):
                parameter.copy_(noise * 0.05)
            else:
                parameter.copy_(1 + noise * 0.1)
            digest.update(parameter.numpy().astype("<f4").tobytes())
    module.eval().float()
    return {"seed": seed, "sha256": digest.hexdigest(), "tensors": [[name, list(parameter.shape)] for name, parameter in drawn]}


class Parts:
    """Components by name: made once, saved once."""

    def __init__(self, out):
        self.out, self.made = out, {}

    def get(self, name):
        if name not in self.made:
            seed, make = PARTS[name]
            torch.manual_seed(0)
            part = make()
            weights = draw_weights(part, seed) if seed is not None else None
            directory = f"{self.out}/parts/{name}"
            shutil.rmtree(directory, ignore_errors=True)
            part.save_pretrained(directory)
            if weights:
                check_saved_names(directory, weights)
                write_json(f"{directory}/weights.json", weights)
            self.made[name] = part
        return self.made[name]


def check_saved_names(directory, weights):
    """The file of weights has exactly the drawn parameters; then it is not needed any more."""
    from safetensors import safe_open
    for name in os.listdir(directory):
        if name.endswith(".safetensors"):
            with safe_open(f"{directory}/{name}", "pt") as file:
                assert sorted(file.keys()) == sorted(name for name, _ in weights["tensors"]), directory
            weights["file"] = name
            os.remove(f"{directory}/{name}")


# Cases ----------------------------------------------------------------------------------------------------------------

BETAS = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
DDIM = ("DDIMScheduler", BETAS | dict(clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon"))
DDIM_V = ("DDIMScheduler", DDIM[1] | dict(prediction_type="v_prediction"))
EULER_XL = ("EulerDiscreteScheduler", BETAS | dict(prediction_type="epsilon", timestep_spacing="leading", steps_offset=1))
EULER_A_TURBO = ("EulerAncestralDiscreteScheduler", BETAS | dict(prediction_type="epsilon", timestep_spacing="trailing"))
# What the file of Stable Diffusion 1.5 says, and no more: what it lacks is up to the class that reads it.
SHORT = ("PNDMScheduler", BETAS | dict(skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1, clip_sample=False))

SAMPLERS = {  # our name: diffusers' class and what selects it there
    "ddim": ("DDIMScheduler", {}), "euler": ("EulerDiscreteScheduler", {}), "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}), "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}), "dpmpp_2s": ("DPMSolverSinglestepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}), "lms": ("LMSDiscreteScheduler", {}), "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "lcm": ("LCMScheduler", {}), "dpm2": ("KDPM2DiscreteScheduler", {}), "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
}
SCHEDULES = {name: {f"use_{name}_sigmas": True} for name in ("karras", "exponential", "beta")}


def case(parts, scheduler, seed, prompt=0, negative="", steps=6, guidance=5.0, size=(48, 48), sampler=None, schedule=None, clip_skip=None,
         images=1, saved=False, pipeline_options=None):
    """`clip_skip` counts as A1111 does. `saved`: the directory is saved with the sampler's scheduler, not with its own."""
    return locals()


def base_cases():
    """Those of the project's common script, with its seeds."""
    yield "sd15-ddim", case(SD15, DDIM, 1000, 0, "blurry, low quality", 7, 7.5, (64, 64))
    names = ["euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m karras", "dpmpp_2m_sde", "dpmpp_2s", "unipc", "lms", "pndm", "lcm", "dpm2", "dpm2_a",
             "euler karras"]
    for number, name in enumerate(names, 1):
        sampler, schedule = (name.split() + [None])[:2]
        yield "sd15-" + name.replace(" ", "_"), case(SD15, DDIM, 1000 + number, number % 3, "", 8, 5.0, (64, 64), sampler=sampler, schedule=schedule, saved=True)
    yield "sd21-v", case(SD21, DDIM_V, 1015, 0, "blurry", 6, 7.5, (96, 64))
    yield "sdxl-euler", case(SDXL, EULER_XL, 1016, 1, "blurry, deformed", 6, 5.0, (64, 96))
    yield "sdxl-dpmpp_2m_karras", case(SDXL, EULER_XL, 1017, 2, "", 8, 6.0, (64, 64), sampler="dpmpp_2m", schedule="karras", saved=True)
    yield "sdxl-turbo", case(SDXL, EULER_A_TURBO, 1018, 0, "", 1, 0.0, (64, 64))


def more_cases():
    number = iter(range(2000, 3000))
    def sd15(scheduler=SHORT, **options):
        return case(SD15, scheduler, next(number), **{"prompt": 1, "negative": "blurry", **options})
    # The usual short file, and what other solvers make of it.
    yield "short", sd15()
    for sampler in ("ddim", "euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "unipc", "lms", "lcm", "dpm2", "dpm2_a", "ddpm"):
        yield f"short-{sampler}", sd15(sampler=sampler)
    # Schedules.
    for sampler in ("euler", "dpmpp_2m", "unipc", "heun"):
        for schedule in ("karras", "exponential", "beta"):
            if (sampler, schedule) not in [("unipc", "karras"), ("heun", "karras")]:
                yield f"{sampler}-{schedule}", sd15(sampler=sampler, schedule=schedule)
    yield "lms-karras", sd15(sampler="lms", schedule="karras")
    yield "dpm2-karras", sd15(sampler="dpm2", schedule="karras")
    yield "dpmpp_2m_sde-karras", sd15(sampler="dpmpp_2m_sde", schedule="karras")
    # Spacings, written in the file.
    for spacing in ("leading", "trailing", "linspace"):
        config = (SHORT[0], SHORT[1] | dict(timestep_spacing=spacing))
        for sampler in ("ddim", "euler", "dpmpp_2m", "unipc"):
            yield f"{spacing}-{sampler}", sd15(config, sampler=sampler, steps=7)
    # Betas.
    for betas in ("linear", "squaredcos_cap_v2"):
        for sampler in ("ddim", "euler"):
            yield f"{betas}-{sampler}", sd15(("DDIMScheduler", DDIM[1] | dict(beta_schedule=betas)), sampler=sampler)
    # Predictions.
    for sampler in ("ddim", "euler", "dpmpp_2m", "unipc", "ddpm", "dpmpp_2m_sde"):
        yield f"sample-{sampler}", sd15(("DDIMScheduler", DDIM[1] | dict(prediction_type="sample")), sampler=sampler)
    for sampler in ("euler", "euler_a", "dpmpp_2m", "unipc", "heun", "lms", "dpm2", "lcm", "pndm", "ddpm"):
        yield f"v-{sampler}", case(SD21, DDIM_V, next(number), 2, "blurry", 6, 5.0, sampler=sampler)
    # Betas of which the last leaves no signal.
    zero = ("DDIMScheduler", DDIM_V[1] | dict(rescale_betas_zero_snr=True, timestep_spacing="trailing"))
    for sampler in ("ddim", "euler", "euler_a", "ddpm", "dpmpp_2m", "unipc", "lcm"):
        yield f"zero-snr-{sampler}", case(SD21, zero, next(number), 1, "", 6, 5.0, sampler=sampler)
    # Text.
    yield "clip-skip-2", sd15(clip_skip=2)
    yield "clip-skip-1", sd15(clip_skip=1)
    yield "no-negative", sd15(negative=None)
    yield "no-guidance", sd15(guidance=1.0)
    yield "long-prompt", case(SD15, SHORT, next(number), " ".join(CORPUS * 3), "blurry")
    yield "sdxl-no-negative", case(SDXL, EULER_XL, next(number), 1, None)
    yield "sdxl-no-negative-no-zeros", case(SDXL, EULER_XL, next(number), 1, None, pipeline_options={"force_zeros_for_empty_prompt": False})
    yield "sdxl-clip-skip-3", case(SDXL, EULER_XL, next(number), 1, "blurry", clip_skip=3)
    yield "sdxl-end-2", case(SDXL | dict(text_encoder_2="text-projection-end-2"), EULER_XL, next(number), 1, "blurry")
    # Sizes: a factor of 8 gives latents of 9 x 13, which no level of the network halves evenly.
    deep = SD15 | dict(vae="vae-deep")
    yield "odd-size", case(deep, SHORT, next(number), 1, "blurry", size=(72, 104), sampler="euler_a")
    yield "odd-size-sdxl", case(SDXL | dict(vae="vae-deep"), EULER_XL, next(number), 1, "blurry", size=(104, 72))
    yield "latents-16", case(SD15 | dict(unet="unet-16", vae="vae-16"), SHORT, next(number), 2, "blurry", sampler="dpmpp_2m")
    # Several images of one request, with draws on the way.
    yield "images", case(SD15, SHORT, next(number), 0, "blurry", sampler="euler_a", images=3)


def scheduler_of(spec, directory):
    name, config = spec
    os.makedirs(directory, exist_ok=True)
    write_json(f"{directory}/scheduler_config.json", {"_class_name": name, "_diffusers_version": diffusers.__version__} | config)
    # From a file, since diffusers remembers which keys a file had.
    return getattr(diffusers, name).from_pretrained(directory)


def draw(name, spec, parts, out):
    components = {role: parts.get(part) for role, part in spec["parts"].items()}
    xl = "text_encoder_2" in components
    with tempfile.TemporaryDirectory() as directory:
        scheduler = scheduler_of(spec["scheduler"], directory)
    changed = scheduler
    if spec["sampler"]:
        class_name, options = SAMPLERS[spec["sampler"]]
        changed = getattr(diffusers, class_name).from_config(scheduler.config, **options, **SCHEDULES.get(spec["schedule"], {}))
    options = dict(spec["pipeline_options"] or {})
    if xl:
        pipe = StableDiffusionXLPipeline(**components, scheduler=changed, add_watermarker=False, **options)
    else:
        pipe = StableDiffusionPipeline(**components, scheduler=changed, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    prompt = PROMPTS[spec["prompt"]] if isinstance(spec["prompt"], int) else spec["prompt"]
    width, height = spec["size"]
    arguments = dict(prompt=prompt, num_inference_steps=spec["steps"], guidance_scale=spec["guidance"], width=width, height=height)
    seeds = [spec["seed"] + number for number in range(spec["images"])]
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    arguments |= dict(generator=generators if len(generators) > 1 else generators[0], num_images_per_prompt=len(generators))
    if spec["negative"] is not None:
        arguments["negative_prompt"] = spec["negative"]
    # diffusers counts from the layer that the pipeline takes by itself: the last, and the last but one of SDXL.
    if (skipped := (spec["clip_skip"] or 0) - (2 if xl else 1)) > 0:
        arguments["clip_skip"] = skipped
        encoder = components["text_encoder"]
        if not hasattr(encoder, "text_model"):  # diffusers 0.42 looks for it, and transformers 5 has it no more
            encoder.text_model = types.SimpleNamespace(final_layer_norm=encoder.final_layer_norm)
    pictures = pipe(**arguments).images
    files = [f"{name}.png" if len(pictures) == 1 else f"{name}-{number}.png" for number in range(len(pictures))]
    os.makedirs(f"{out}/expected", exist_ok=True)
    for file, picture in zip(files, pictures):
        picture.save(f"{out}/expected/{file}", optimize=True)
    pixels = np.stack([np.asarray(picture) for picture in pictures]).astype(float)
    print(f"{name}: mean {pixels.mean():.1f} std {pixels.std():.1f}", flush=True)
    assert pixels.std() > 4, "a picture without contrast shows no error"
    # As the directory is saved; paths and defaults that do not matter to the reader are left out.
    class_name, config = spec["scheduler"]
    scheduler_config = json.dumps({"_class_name": class_name} | config)
    if spec["saved"]:
        # As text, since diffusers writes an infinity in it that is no JSON.
        class_name, scheduler_config = type(changed).__name__, changed.to_json_string()
    index = {"_class_name": type(pipe).__name__, "_diffusers_version": diffusers.__version__, **options, "scheduler": ["diffusers", class_name]}
    for role, component in components.items():
        index[role] = ["diffusers" if role in ("unet", "vae") else "transformers", type(component).__name__]
    request = {key: spec[key] for key in ("seed", "steps", "guidance", "sampler", "schedule", "clip_skip")}
    request |= {"prompt": prompt, "negative_prompt": spec["negative"], "width": width, "height": height}
    return {"name": name, "parts": spec["parts"], "model_index": index, "scheduler_config": scheduler_config, "request": request,
            "expected": files}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    parts = Parts(out)
    drawn, failed = [], []
    for name, spec in [*base_cases(), *more_cases()]:
        if only and name not in only:
            continue
        try:
            drawn.append(draw(name, spec, parts, out))
        except Exception as error:
            failed.append(name)
            print(f"{name}: FAILED {type(error).__name__}: {error}", flush=True)
    if not only:
        with open(f"{out}/cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')
    sys.exit(f"failed: {failed}" if failed else 0)


if __name__ == "__main__":
    main()
