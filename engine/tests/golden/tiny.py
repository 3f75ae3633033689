"""Makes the golden numbers of the tiny autoencoders: python tiny.py, in this folder.

`networks/tiny/vae` is diffusers' AutoencoderTiny. `networks/tiny/pooled` is the shape of TAEF2, which diffusers has not: the same layers, and before the
three convolutions of the blocks at the latents' size a sum over the whole image, as its authors' `taesd.py` describes it. Made with torch 2, diffusers 0.42.
"""

import os

import torch
import torch.nn as nn
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks", "tiny")
torch.set_num_threads(1)
torch.set_grad_enabled(False)


def tiny(channels, width, blocks):
    return AutoencoderTiny(encoder_block_out_channels=(width,) * 3, decoder_block_out_channels=(width,) * 3, num_encoder_blocks=blocks,
                           num_decoder_blocks=blocks[::-1], latent_channels=channels)


class Pooled(nn.Module):
    """A block that first adds what a norm over the image saw."""

    def __init__(self, block, channels, groups=4):
        super().__init__()
        wide = channels * groups
        self.pool = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.GroupNorm(groups, wide), nn.ReLU(), nn.Conv2d(wide, channels, 1, bias=False))
        self.conv, self.rest = block.conv, [block]

    def forward(self, x):
        return self.rest[0](x + self.pool(x))


def pooled(model):
    for layers, numbers in ((model.decoder.layers, (2, 3)), (model.encoder.layers, (5, 6))):
        for number in numbers:
            layers[number] = Pooled(layers[number], 8)
    return model


def golden(directory, model):
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.copy_(torch.randn_like(p) * 0.1 + (1.0 if "pool.1.weight" in name else 0.0))
        else:
            p.copy_(torch.randn_like(p) * (1.6 / p[0].numel()) ** 0.5)
    model = model.half().float().eval()
    folder = os.path.join(ROOT, directory)
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, os.path.join(folder, "diffusion_pytorch_model.safetensors"))
    # Some latents beyond the clamp.
    latents, pixels = torch.randn(1, model.config.latent_channels, 5, 7) * 2, torch.rand(1, 3, 20, 28) * 2 - 1
    last = lambda x: x.permute(0, 2, 3, 1).contiguous()
    save_file({"latents": last(latents), "pixels": last(pixels), "decoded": last(model.decode(latents).sample),
               "encoded": last(model.encode(pixels).latents)}, os.path.join(folder, "expected.safetensors"))
    print(directory, model.decode(latents).sample.std(), model.encode(pixels).latents.std())


torch.manual_seed(30)
golden("vae", tiny(4, 16, (1, 1, 1)))
golden("pooled", pooled(tiny(8, 8, (1, 1, 2))))
