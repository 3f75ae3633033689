"""Makes models of the real architectures with random weights, for measuring: speed does not depend on their values.

    pip install torch diffusers transformers
    python make_models.py DIRECTORY sd15 sdxl

Each becomes a diffusers directory in half precision: Stable Diffusion 1.5 (2.1 GB) and SDXL (7 GB). Tokenizers are those of
the starter model: which words a prompt has does not matter either.
"""

import json
import pathlib
import shutil
import sys

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

STARTER = pathlib.Path(__file__).resolve().parents[2] / "models/starter"


def fill(module):
    """Weights that keep the size of numbers: normal, divided by the root of a neuron's inputs."""
    module = module.to_empty(device="cpu")
    noise = torch.randn(1 << 20)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2:
                numbers = parameter.view(-1)
                # Begins elsewhere for each: OpenVINO keeps equal weights once, and has them in its caches again.
                turned = noise.roll(int(torch.randint(len(noise), ())))
                scaled = (turned * 0.9 / parameter[0].numel() ** 0.5).to(parameter.dtype)
                for start in range(0, numbers.numel(), len(scaled)):
                    part = numbers[start : start + len(scaled)]
                    part.copy_(scaled[: len(part)])
            else:
                parameter.fill_(0 if name.endswith("bias") else 1)
        for name, buffer in module.named_buffers():
            if "position_ids" in name:
                buffer.copy_(torch.arange(buffer.numel()).view(buffer.shape))
    return module


def autoencoder(scaling_factor):
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
        scaling_factor=scaling_factor,
    )


def clip_large():
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, projection_dim=768, hidden_act="quick_gelu", eos_token_id=2,
    )
    return CLIPTextModel(config)


def clip_big_g():
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32,
        num_attention_heads=20, projection_dim=1280, hidden_act="gelu", eos_token_id=2,
    )
    return CLIPTextModelWithProjection(config)


def sd15():
    unet = UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768,
        attention_head_dim=8, layers_per_block=2,
    )
    return "StableDiffusionPipeline", {
        "unet": unet, "vae": autoencoder(0.18215), "text_encoder": clip_large(),
    }


def sdxl():
    unet = UNet2DConditionModel(
        sample_size=128,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(320, 640, 1280), transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=2048, attention_head_dim=(5, 10, 20), layers_per_block=2,
        use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    return "StableDiffusionXLPipeline", {
        "unet": unet, "vae": autoencoder(0.13025), "text_encoder": clip_large(),
        "text_encoder_2": clip_big_g(),
    }


SCHEDULER = {
    "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.42.1", "beta_start": 0.00085,
    "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "steps_offset": 1, "timestep_spacing": "leading",
    "interpolation_type": "linear", "use_karras_sigmas": False, "trained_betas": None,
}


def name_as_published(file):
    """Transformers 5 leaves `text_model.` out, which published models have and stable-diffusion.cpp asks for."""
    weights = load_file(file)
    if not any(name.startswith("text_model.") for name in weights):
        weights = {f"text_model.{name}": numbers for name, numbers in weights.items()}
        save_file(weights, file, {"format": "pt"})


def main(directory, names):
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float16)
    for name in names:
        root = pathlib.Path(directory) / name
        with torch.device("meta"):
            pipeline, parts = {"sd15": sd15, "sdxl": sdxl}[name]()
        index = {"_class_name": pipeline, "_diffusers_version": "0.42.1"}
        for part, module in parts.items():
            library = "transformers" if part.startswith("text") else "diffusers"
            index[part] = [library, type(module).__name__]
            fill(module).save_pretrained(root / part)
            if part.startswith("text"):
                name_as_published(root / part / "model.safetensors")
                tokenizer = part.replace("text_encoder", "tokenizer")
                index[tokenizer] = ["transformers", "CLIPTokenizer"]
                shutil.copytree(STARTER / "tokenizer", root / tokenizer, dirs_exist_ok=True)
        index["scheduler"] = ["diffusers", SCHEDULER["_class_name"]]
        (root / "scheduler").mkdir(exist_ok=True)
        (root / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULER))
        (root / "model_index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
