"""One network in another engine, run once for each line of the standard input.

    pip install torch diffusers transformers openvino
    python peer.py BACKEND NETWORK MODEL SIZE BATCH THREADS [CACHE]

BACKEND: openvino-bf16, openvino-f32, torch-bf16, torch-f32. NETWORK: unet, vae, text. SIZE is the picture's, in pixels.
CACHE is a folder that keeps networks as OpenVINO reads them, without which every run converts its own. Says `ready` once
the network is loaded and was run twice; then answers each line with the milliseconds of one run.
"""

import json
import pathlib
import sys
import time
import warnings

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

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


class Encoders(torch.nn.Module):
    """All text encoders of a model, which read the same prompt."""

    def __init__(self, encoders):
        super().__init__()
        self.encoders = torch.nn.ModuleList(encoders)

    def forward(self, input_ids):
        return tuple(encoder(input_ids, return_dict=False)[0] for encoder in self.encoders)


def config(model, part):
    return json.loads((model / part / "config.json").read_text())


def inputs(what, model, size, batch):
    """What the network takes, by name and in order."""
    side = size // 8
    tokens = min(77, config(model, "text_encoder")["max_position_embeddings"])
    if what == "text":
        return {"input_ids": torch.randint(5, 5000, (batch, tokens))}
    sample = torch.randn(batch, 4, side, side)
    if what == "vae":
        return {"sample": sample}
    unet = config(model, "unet")
    width = unet["cross_attention_dim"]
    taken = {
        "sample": sample,
        "timestep": torch.tensor(500.0),
        "encoder_hidden_states": torch.randn(batch, tokens, width),
    }
    if unet.get("addition_embed_type") == "text_time":
        taken["text_embeds"] = torch.randn(batch, 1280)
        taken["time_ids"] = torch.full((batch, 6), float(size))
    return taken


def module(what, model, dtype):
    if what == "unet":
        unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=dtype).eval()
        return Added(unet) if unet.config.addition_embed_type == "text_time" else unet
    if what == "vae":
        return Decoder(AutoencoderKL.from_pretrained(model / "vae", torch_dtype=dtype).eval())
    encoders = [CLIPTextModel.from_pretrained(model / "text_encoder", dtype=dtype)]
    if (model / "text_encoder_2").exists():
        second = model / "text_encoder_2"
        encoders.append(CLIPTextModelWithProjection.from_pretrained(second, dtype=dtype))
    return Encoders(encoders).eval()


def openvino_run(what, model, taken, precision, threads, cache):
    import openvino

    core = openvino.Core()
    kept = cache and cache / model.name / f"{what}.xml"
    if kept and kept.exists():
        network = core.read_model(kept)
    else:
        network = openvino.convert_model(module(what, model, torch.float32), example_input=taken)
        if kept:
            # Loses nothing: the models are in half precision.
            openvino.save_model(network, kept, compress_to_fp16=True)
    network.reshape({port: list(x.shape) for port, x in zip(network.inputs, taken.values())})
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    arrays = [x.numpy() for x in taken.values()]
    return lambda: request.infer(arrays)


def torch_run(what, model, taken, precision):
    """Channels last: with the usual layout a decode takes more than twice as long."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    network = module(what, model, dtype).to(memory_format=torch.channels_last)
    taken = {k: x.to(dtype) if x.is_floating_point() else x for k, x in taken.items()}
    if what != "text":
        taken["sample"] = taken["sample"].contiguous(memory_format=torch.channels_last)
    return lambda: network(**taken)


def main(backend, what, model, size, batch, threads, cache):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    engine, precision = backend.split("-")
    with torch.no_grad():
        taken = inputs(what, model, size, batch)
        if engine == "openvino":
            run = openvino_run(what, model, taken, precision, threads, cache)
        else:
            run = torch_run(what, model, taken, precision)
        run(), run()
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            run()
            print((time.perf_counter() - start) * 1e3, flush=True)


if __name__ == "__main__":
    main(
        *sys.argv[1:3], pathlib.Path(sys.argv[3]), *map(int, sys.argv[4:7]),
        pathlib.Path(sys.argv[7]) if len(sys.argv) > 7 else None,
    )
