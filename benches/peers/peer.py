"""One network in another engine, run once for each line of the standard input.

    pip install torch diffusers transformers openvino
    python peer.py BACKEND NETWORK MODEL SIZE BATCH THREADS

BACKEND: openvino-bf16, openvino-f32, torch-bf16, torch-f32. NETWORK: unet, vae, text. SIZE is the picture's, in pixels.
Says `ready` once the network is loaded and was run twice; then answers each line with the milliseconds of one run.
"""

import pathlib
import sys
import time
import warnings

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

warnings.filterwarnings("ignore")


class Decoder(torch.nn.Module):
    """The way from latents to pixels."""

    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, sample):
        return self.vae.decode(sample, return_dict=False)[0]


class Added(torch.nn.Module):
    """A network whose conditioning comes as flat arguments."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep, encoder_hidden_states, text_embeds, time_ids):
        added = {"text_embeds": text_embeds, "time_ids": time_ids}
        return self.unet(
            sample, timestep, encoder_hidden_states, added_cond_kwargs=added, return_dict=False
        )[0]


def network(what, model, size, batch, dtype):
    """The module and its inputs by name."""
    side = size // 8
    if what == "unet":
        unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=dtype).eval()
        config = unet.config
        tokens = 77 if config.cross_attention_dim >= 768 else 40
        inputs = {
            "sample": torch.randn(batch, 4, side, side),
            "timestep": torch.tensor(500.0),
            "encoder_hidden_states": torch.randn(batch, tokens, config.cross_attention_dim),
        }
        if config.addition_embed_type == "text_time":
            inputs["text_embeds"] = torch.randn(batch, 1280)
            inputs["time_ids"] = torch.full((batch, 6), float(size))
            return Added(unet), inputs
        return unet, inputs
    if what == "vae":
        vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=dtype).eval()
        return Decoder(vae), {"sample": torch.randn(batch, 4, side, side)}
    text = CLIPTextModel.from_pretrained(model / "text_encoder", dtype=dtype).eval()
    length = min(77, text.config.max_position_embeddings)
    return text, {"input_ids": torch.randint(5, 5000, (batch, length))}


def openvino_run(module, inputs, precision, threads):
    import openvino

    converted = openvino.convert_model(module, example_input=inputs)
    shapes = {port: list(x.shape) for port, x in zip(converted.inputs, inputs.values())}
    converted.reshape(shapes)
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(converted, "CPU", hints).create_infer_request()
    arrays = [x.numpy() for x in inputs.values()]
    return lambda: request.infer(arrays)


def torch_run(module, inputs, dtype):
    inputs = {k: x.to(dtype) if x.is_floating_point() else x for k, x in inputs.items()}
    return lambda: module(**inputs)


def main(backend, what, model, size, batch, threads):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    engine, precision = backend.split("-")
    dtype = torch.bfloat16 if backend == "torch-bf16" else torch.float32
    with torch.no_grad():
        module, inputs = network(what, pathlib.Path(model), size, batch, dtype)
        if engine == "openvino":
            run = openvino_run(module, inputs, precision, threads)
            del module
        else:
            run = torch_run(module, inputs, dtype)
        run(), run()
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            run()
            print((time.perf_counter() - start) * 1e3, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:7]))
