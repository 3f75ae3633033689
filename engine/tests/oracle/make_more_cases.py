#!/usr/bin/env python3
"""More pictures that diffusers draws with tiny random networks: flow-matching families, and pictures that begin from one.

usage: make_more_cases.py OUT_DIR [CASE ...]      (OUT_DIR is this directory)

As make_cases.py, which it uses; it writes more_cases.json. Buffers that are saved with the weights are drawn like parameters. Pictures to begin from and
masks are files in expected/.
"""
import inspect
import json
import os
import sys

import diffusers
import numpy as np
import torch
from diffusers import (AutoencoderKL, AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel, FluxPipeline,
                       FluxTransformer2DModel, SD3Transformer2DModel, StableDiffusion3Pipeline, UNet2DConditionModel, ZImagePipeline,
                       ZImageTransformer2DModel)
from PIL import Image
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import Qwen2TokenizerFast, Qwen3Config, Qwen3ForCausalLM, Qwen3Model, T5Config, T5EncoderModel, T5TokenizerFast

import make_cases as base


# Components -----------------------------------------------------------------------------------------------------------

def t5_tokenizer():
    words = sorted({word for text in base.CORPUS for word in text.replace(",", " ,").split()})
    letters = sorted({letter for word in words for letter in word} | set("bcdfghjkmpquvwxyz0123456789"))
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -3.0)]
    vocabulary += [("\u2581" + word, -6.0 - i / 50) for i, word in enumerate(words[::2])] + [(letter, -9.0 - i / 50) for i, letter in enumerate(letters)]
    tokens = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokens.pre_tokenizer = pre_tokenizers.Metaspace()
    tokens.decoder = decoders.Metaspace()
    tokens.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5TokenizerFast(tokenizer_object=tokens, extra_ids=0, model_max_length=512)


def qwen_tokenizer():
    tokens = Tokenizer(models.BPE())
    tokens.normalizer = normalizers.NFC()
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    tokens.train_from_iterator(base.CORPUS * 4, trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=special))
    fast = Qwen2TokenizerFast(tokenizer_object=tokens, pad_token="<|endoftext|>", eos_token="<|im_end|>", model_max_length=1024)
    fast.chat_template = ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                          "{% if add_generation_prompt %}<|im_start|>assistant\n"
                          "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}")
    return fast


def t5(width):
    return T5EncoderModel(T5Config(vocab_size=len(t5_tokenizer()), d_model=width, d_kv=8, d_ff=37, num_layers=3, num_heads=4,
                                   feed_forward_proj="gated-gelu", is_encoder_decoder=False, tie_word_embeddings=False))


def qwen(layers, kind):
    return kind(Qwen3Config(hidden_size=32, intermediate_size=48, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=2,
                            vocab_size=len(qwen_tokenizer()), max_position_embeddings=512, head_dim=16))


def flux(guidance):
    return FluxTransformer2DModel(patch_size=1, in_channels=64, num_layers=2, num_single_layers=3, attention_head_dim=16, num_attention_heads=2,
                                  joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 6, 6), guidance_embeds=guidance)


def sd3(dual, norm):
    return SD3Transformer2DModel(sample_size=32, patch_size=2, in_channels=16, num_layers=3, attention_head_dim=8, num_attention_heads=4,
                                 joint_attention_dim=64, caption_projection_dim=32, pooled_projection_dim=64, out_channels=16, pos_embed_max_size=48,
                                 dual_attention_layers=dual, qk_norm=norm)


def z_image():
    return ZImageTransformer2DModel(all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=64, n_layers=2, n_refiner_layers=1, n_heads=2,
                                    n_kv_heads=2, norm_eps=1e-5, qk_norm=True, cap_feat_dim=32, rope_theta=256.0, t_scale=1000.0,
                                    axes_dims=[8, 12, 12], axes_lens=[256, 64, 64])


def klein():
    return Flux2Transformer2DModel(patch_size=1, in_channels=32, num_layers=2, num_single_layers=3, attention_head_dim=16, num_attention_heads=2,
                                   joint_attention_dim=96, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), guidance_embeds=False)


def vae(shift, scale):
    return AutoencoderKL(block_out_channels=[32, 64], in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 2,
                         up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=16, norm_num_groups=8, layers_per_block=1,
                         use_quant_conv=False, use_post_quant_conv=False, shift_factor=shift, scaling_factor=scale)


def vae_klein():
    return AutoencoderKLFlux2(down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2, block_out_channels=(32, 64),
                              layers_per_block=1, latent_channels=8, norm_num_groups=8)


def unet_repainting():
    return UNet2DConditionModel(sample_size=32, in_channels=9, out_channels=4, block_out_channels=(32, 64), layers_per_block=1,
                                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                                cross_attention_dim=32, attention_head_dim=4, norm_num_groups=8)


base.PARTS |= {
    "tokenizer-t5": (None, t5_tokenizer),
    "tokenizer-qwen": (None, qwen_tokenizer),
    "text-t5": (5, lambda: t5(32)),
    "text-t5-64": (5, lambda: t5(64)),
    "text-clip-l": (1, lambda: base.text_encoder(3, "quick_gelu", projection=32)),
    "text-qwen": (1, lambda: qwen(3, Qwen3Model)),
    "text-qwen-28": (1, lambda: qwen(28, Qwen3ForCausalLM)),
    "flux-schnell": (2, lambda: flux(False)),
    "flux-dev": (2, lambda: flux(True)),
    "sd3": (2, lambda: sd3((0, 1), "rms_norm")),
    "sd3-first": (2, lambda: sd3((), None)),
    "z-image": (2, z_image),
    "klein": (2, klein),
    "unet-repainting": (2, unet_repainting),
    "vae-flux": (3, lambda: vae(0.1159, 0.3611)),
    "vae-sd3": (3, lambda: vae(0.0609, 1.5305)),
    "vae-klein": (3, vae_klein),
}
FLUX = dict(tokenizer="tokenizer", tokenizer_2="tokenizer-t5", text_encoder="text", text_encoder_2="text-t5", transformer="flux-schnell", vae="vae-flux")
DEV = FLUX | dict(transformer="flux-dev")
SD3 = dict(tokenizer="tokenizer", tokenizer_2="tokenizer-pad", tokenizer_3="tokenizer-t5", text_encoder="text-clip-l", text_encoder_2="text-projection",
           text_encoder_3="text-t5-64", transformer="sd3", vae="vae-sd3")
Z_IMAGE = dict(tokenizer="tokenizer-qwen", text_encoder="text-qwen", transformer="z-image", vae="vae-flux")
KLEIN = dict(tokenizer="tokenizer-qwen", text_encoder="text-qwen-28", transformer="klein", vae="vae-klein")
REPAINTING = base.SD15 | dict(unet="unet-repainting")


def draw_weights(module, seed):
    """As make_cases.py, with the floating-point buffers that are saved."""
    generator = torch.Generator().manual_seed(seed)
    drawn = sorted([*module.named_parameters(), *((name, buffer) for name, buffer in module.named_buffers()
                                                 if name in module.state_dict() and buffer.is_floating_point())])
    digest = base.hashlib.sha256()
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


def check_saved_names(directory, weights):
    """The file has the drawn tensors; a counter of batches, which is no weight, may be there too."""
    from safetensors import safe_open
    for name in os.listdir(directory):
        if name.endswith(".safetensors"):
            with safe_open(f"{directory}/{name}", "pt") as file:
                saved = sorted(key for key in file.keys() if not key.endswith("num_batches_tracked"))
            assert saved == sorted(name for name, _ in weights["tensors"]), directory
            weights["file"] = name
            os.remove(f"{directory}/{name}")


base.draw_weights, base.check_saved_names = draw_weights, check_saved_names


# Samplers -------------------------------------------------------------------------------------------------------------

class Drawing:
    """A scheduler that draws its noise from the picture's generator: these pipelines do not hand it on."""

    def step(self, *arguments, **named):
        if "generator" in inspect.signature(super().step).parameters:
            named["generator"] = self.generator
        return super().step(*arguments, **named)


class OnFlowLevels(Drawing):
    """A solver of another class on the noise levels that the flow scheduler lays out: our samplers take any schedule."""

    def set_timesteps(self, num_inference_steps=None, device=None, sigmas=None, mu=None, timesteps=None):
        levels = FlowMatchEulerDiscreteScheduler.from_config(self.flow_config)
        if sigmas is None and self.from_one:
            # The pipeline leaves the levels to schedulers of flow sigmas.
            sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
        levels.set_timesteps(num_inference_steps, sigmas=sigmas, mu=mu)
        steps = len(levels.timesteps)
        super().set_timesteps(steps)
        self.sigmas = levels.sigmas.clamp(max=1 - 1e-6)
        self.timesteps = self.sigmas[:-1] * 1000
        self.num_inference_steps = steps


def on_flow_levels(class_name, config, from_one, **options):
    kind = type(class_name, (OnFlowLevels, getattr(diffusers, class_name)), {})
    solver = kind(prediction_type="flow_prediction", use_flow_sigmas=True, **options)
    solver.from_one = from_one
    solver.flow_config = {"_class_name": "FlowMatchEulerDiscreteScheduler"} | config
    return solver


FLOW = dict(num_train_timesteps=1000, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096, time_shift_type="exponential")
SCHNELL_FLOW = FLOW | dict(shift=1.0, use_dynamic_shifting=False)
DEV_FLOW = FLOW | dict(shift=3.0, use_dynamic_shifting=True)
STATIC_FLOW = FLOW | dict(shift=3.0, use_dynamic_shifting=False)


# Cases ----------------------------------------------------------------------------------------------------------------

def pictures(out, width, height):
    """A smooth picture and a mask whose right half and a disc are white, as files."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([127 + 120 * np.sin(x / 9.0), 127 + 120 * np.cos(y / 7.0), 255.0 * x / width], -1)
    mask = ((x > width // 2) | ((x - width // 4) ** 2 + (y - height // 4) ** 2 < (height // 6) ** 2)) * 255
    names = [f"begin-{width}x{height}.png", f"mask-{width}x{height}.png"]
    made = [Image.fromarray(rgb.clip(0, 255).astype(np.uint8)), Image.fromarray(mask.astype(np.uint8))]
    for name, picture in zip(names, made):
        picture.save(f"{out}/expected/{name}", optimize=True)
    return names, made


def flow(pipeline, parts, config, seed, prompt=0, steps=5, guidance=0.0, negative=None, size=(64, 64), sampler=None, schedule=None, options=None, length=None,
         task=None, strength=None):
    return locals()


def sd(parts, scheduler, seed, task, strength, prompt=1, steps=8, guidance=5.0, negative="", size=(64, 64), sampler=None, schedule=None):
    return locals() | dict(pipeline=None)


def cases():
    yield "sd3", flow(StableDiffusion3Pipeline, SD3, STATIC_FLOW, 1019, 1, 5, 4.5, "blurry", length=64)
    yield "flux-schnell", flow(FluxPipeline, FLUX, SCHNELL_FLOW, 1020, 2, 4, 0.0, length=64)
    yield "flux-dev", flow(FluxPipeline, DEV, DEV_FLOW, 1021, 0, 5, 3.5, size=(96, 64), length=64)
    yield "klein", flow(Flux2KleinPipeline, KLEIN, DEV_FLOW, 1022, 1, 4, 1.0, length=64, options=dict(is_distilled=True))
    yield "klein-base", flow(Flux2KleinPipeline, KLEIN, DEV_FLOW, 1023, 2, 5, 4.0, size=(96, 64), length=64, options=dict(is_distilled=False))
    yield "z-image", flow(ZImagePipeline, Z_IMAGE, STATIC_FLOW, 1028, 1, 5, 0.0)
    yield "z-image-guided", flow(ZImagePipeline, Z_IMAGE, STATIC_FLOW, 1029, 2, 5, 4.0, "blurry", size=(96, 64))
    yield "sd3-without-t5", flow(StableDiffusion3Pipeline, SD3 | dict(text_encoder_3=None, tokenizer_3=None), STATIC_FLOW, 3000, 0, 5, 4.5, "blurry", length=32)
    yield "sd3-first", flow(StableDiffusion3Pipeline, SD3 | dict(transformer="sd3-first"), STATIC_FLOW, 3001, 2, 5, 5.0, None, (96, 64), length=48)
    yield "flux-dev-long", flow(FluxPipeline, DEV, DEV_FLOW, 3002, " ".join(base.CORPUS * 3), 4, 2.0, size=(32, 96), length=40)
    for number, schedule in enumerate(("karras", "exponential", "beta")):
        yield f"flux-dev-{schedule}", flow(FluxPipeline, DEV, DEV_FLOW, 3010 + number, 0, 6, 3.5, schedule=schedule, length=32)
    # FluxPipeline draws noise for packed latents, ours is that of the latents: samplers that draw on the way have no case there.
    for number, sampler in enumerate(("dpmpp_2m", "dpmpp_2m_sde", "unipc")):
        if sampler != "dpmpp_2m_sde":
            yield f"flux-dev-{sampler}", flow(FluxPipeline, DEV, DEV_FLOW, 3020 + number, 1, 6, 3.5, sampler=sampler, length=32)
        yield f"sd3-{sampler}", flow(StableDiffusion3Pipeline, SD3, STATIC_FLOW, 3030 + number, 1, 7, 4.5, "", sampler=sampler, length=32)
    yield "z-image-lcm", flow(ZImagePipeline, Z_IMAGE, STATIC_FLOW, 3040, 0, 5, 0.0, sampler="lcm")
    yield "flux-img2img", flow(FluxPipeline, DEV, DEV_FLOW, 3050, 0, 7, 3.5, length=32, task="img2img", strength=0.6)
    yield "flux-inpaint", flow(FluxPipeline, DEV, DEV_FLOW, 3051, 0, 7, 3.5, length=32, task="inpaint", strength=0.7)
    yield "sd3-img2img", flow(StableDiffusion3Pipeline, SD3, STATIC_FLOW, 3052, 2, 7, 4.5, "blurry", length=32, task="img2img", strength=0.55)
    # diffusers 0.42 leaves the shift out when it decodes what StableDiffusion3InpaintPipeline made, so that has no case.
    yield "flux-inpaint-whole", flow(FluxPipeline, FLUX, SCHNELL_FLOW, 3053, 1, 6, 0.0, length=32, task="inpaint", strength=1.0)
    yield "z-image-img2img", flow(ZImagePipeline, Z_IMAGE, STATIC_FLOW, 3054, 1, 6, 0.0, task="img2img", strength=0.5)
    number = iter(range(4000, 5000))
    for sampler in ("ddim", "euler", "euler_a", "heun", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "unipc", "lms", "pndm", "lcm", "dpm2", "dpm2_a", "ddpm"):
        yield f"img2img-{sampler}", sd(base.SD15, base.DDIM, next(number), "img2img", 0.6, sampler=sampler)
        yield f"inpaint-{sampler}", sd(base.SD15, base.DDIM, next(number), "inpaint", 0.75, sampler=sampler)
    yield "img2img-own", sd(base.SD15, base.SHORT, next(number), "img2img", 0.5, negative="blurry", steps=10, size=(96, 64))
    yield "img2img-whole", sd(base.SD15, base.SHORT, next(number), "img2img", 1.0, sampler="euler", schedule="karras")
    yield "inpaint-whole", sd(base.SD15, base.DDIM, next(number), "inpaint", 1.0, negative="blurry")
    yield "img2img-v", sd(base.SD21, base.DDIM_V, next(number), "img2img", 0.4, sampler="dpmpp_2m")
    yield "sdxl-img2img", sd(base.SDXL, base.EULER_XL, next(number), "img2img", 0.5)
    yield "sdxl-inpaint", sd(base.SDXL, base.EULER_XL, next(number), "inpaint", 0.8, negative="blurry")
    yield "repainting", sd(REPAINTING, base.DDIM, next(number), "inpaint", 1.0)
    yield "repainting-part", sd(REPAINTING, base.SHORT, next(number), "inpaint", 0.6, sampler="euler_a")


def flow_scheduler(spec):
    config = spec["config"] | ({f"use_{spec['schedule']}_sigmas": True} if spec["schedule"] else {})
    from_one = spec["pipeline"] is not StableDiffusion3Pipeline
    match spec["sampler"]:
        case None:
            return FlowMatchEulerDiscreteScheduler(**config)
        case "lcm":
            return type("FlowMatchEulerDiscreteScheduler", (Drawing, FlowMatchEulerDiscreteScheduler), {})(stochastic_sampling=True, **config)
        case "unipc":
            return on_flow_levels("UniPCMultistepScheduler", config, from_one)
        case sampler:
            algorithm = "sde-dpmsolver++" if sampler.endswith("sde") else "dpmsolver++"
            return on_flow_levels("DPMSolverMultistepScheduler", config, from_one, algorithm_type=algorithm)


def task_pipeline(pipe, task):
    if task is None:
        return pipe
    kind = {"img2img": diffusers.AutoPipelineForImage2Image, "inpaint": diffusers.AutoPipelineForInpainting}[task]
    pipe = kind.from_pipe(pipe)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(name, spec, parts, out):
    components = {role: parts.get(part) if part else None for role, part in spec["parts"].items()}
    os.makedirs(f"{out}/expected", exist_ok=True)
    if spec["pipeline"]:
        pipe = spec["pipeline"](scheduler=flow_scheduler(spec), **components, **(spec["options"] or {}))
        class_name, config = "FlowMatchEulerDiscreteScheduler", spec["config"]
    else:
        class_name, config = spec["scheduler"]
        with base.tempfile.TemporaryDirectory() as directory:
            scheduler = base.scheduler_of(spec["scheduler"], directory)
        if spec["sampler"]:
            changed, options = base.SAMPLERS[spec["sampler"]]
            scheduler = getattr(diffusers, changed).from_config(scheduler.config, **options, **base.SCHEDULES.get(spec["schedule"], {}))
        if "text_encoder_2" in components:
            pipe = base.StableDiffusionXLPipeline(**components, scheduler=scheduler, add_watermarker=False)
        else:
            pipe = base.StableDiffusionPipeline(**components, scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    saved_as = type(pipe).__name__
    if "adapt" in spec:
        pipe = spec["adapt"](pipe)
    prompt = base.PROMPTS[spec["prompt"]] if isinstance(spec["prompt"], int) else spec["prompt"]
    width, height = spec["size"]
    arguments = dict(prompt=prompt, num_inference_steps=spec["steps"], width=width, height=height,
                     generator=torch.Generator("cpu").manual_seed(spec["seed"]), **{spec.get("guided_by", "guidance_scale"): spec["guidance"]})
    pipe.scheduler.generator = arguments["generator"]
    if spec["negative"] is not None:
        arguments["negative_prompt"] = spec["negative"]
    if spec.get("length"):
        arguments["max_sequence_length"] = spec["length"]
    request = {key: spec[key] for key in ("seed", "steps", "guidance", "sampler", "schedule", "strength")}
    if spec["task"]:
        names, (picture, mask) = pictures(out, width, height)
        pipe = task_pipeline(pipe, spec["task"])
        arguments |= dict(image=picture, strength=spec["strength"])
        request["init_image"] = names[0]
        if spec["task"] == "inpaint":
            arguments["mask_image"], request["mask"] = mask, names[1]
        elif not spec["pipeline"]:
            del arguments["width"], arguments["height"]
    picture = pipe(**arguments).images[0]
    picture.save(f"{out}/expected/{name}.png", optimize=True)
    pixels = np.asarray(picture).astype(float)
    print(f"{name}: mean {pixels.mean():.1f} std {pixels.std():.1f}", flush=True)
    assert pixels.std() > 4 and ("hires" in spec or pixels.shape == (height, width, 3))
    index = {"_class_name": saved_as, "_diffusers_version": diffusers.__version__, **(spec.get("options") or {}), "scheduler": ["diffusers", class_name]}
    for role, component in components.items():
        index[role] = [None, None] if component is None else ["diffusers" if role in ("unet", "transformer", "vae") else "transformers", type(component).__name__]
    request |= {"prompt": prompt, "negative_prompt": spec["negative"], "width": width, "height": height, "max_sequence_length": spec.get("length")}
    return {"name": name, "parts": {role: part for role, part in spec["parts"].items() if part}, "model_index": index,
            "scheduler_config": json.dumps({"_class_name": class_name} | config), "request": request, "expected": [f"{name}.png"]}


def main():
    out, only = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    parts = base.Parts(out)
    drawn, failed = [], []
    for name, spec in cases():
        if only and name not in only:
            continue
        try:
            drawn.append(draw(name, spec, parts, out))
        except Exception as error:
            failed.append(name)
            print(f"{name}: FAILED {type(error).__name__}: {str(error)[:300]}", flush=True)
    if not only:
        with open(f"{out}/more_cases.json", "w", encoding="utf-8") as file:
            lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in drawn)
            file.write(f'{{"diffusers": "{diffusers.__version__}", "torch": "{torch.__version__}", "cases": [\n{lines}\n]}}\n')
    sys.exit(f"failed: {failed}" if failed else 0)


if __name__ == "__main__":
    main()
