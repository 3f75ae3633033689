#!/usr/bin/env python3
"""Golden runs of diffusers' schedulers: `make_golden.py` writes samplers.json, sigmas.json and beta.json beside itself.

Needs torch, diffusers, scipy. A run draws 24 latents, steps with `network` as the network, and keeps the timesteps, the
first latent after every evaluation and all latents at the end.
"""
import json
import os
import sys

import diffusers
import numpy as np
import scipy.stats
import torch

torch.set_num_threads(1)
diffusers.logging.set_verbosity_error()

CLASSES = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "lcm": ("LCMScheduler", {}),
}
NO_SCHEDULE = ("ddim", "ddpm", "pndm", "lcm")
SIGMA_KEYS = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}
BASE = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}
SHORT_PNDM = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012,
              "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000,
              "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
              "clip_sample": False}
STARTER = {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "solver_order": 2,
           "solver_type": "midpoint", "lower_order_final": True, "beta_start": 0.00085, "beta_end": 0.02,
           "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "prediction_type": "v_prediction",
           "steps_offset": 1, "timestep_spacing": "trailing", "trained_betas": None, "clip_sample": False,
           "set_alpha_to_one": False, "skip_prk_steps": True}


def network(sample, t):
    """0.3 x + 0.5 sin(0.003 t + i), the sum in single precision."""
    wave = torch.tensor([0.5 * np.sin(0.003 * float(np.float32(float(t))) + i) for i in range(sample.numel())],
                        dtype=torch.float64).to(torch.float32)
    return torch.tensor(0.3, dtype=torch.float32) * sample + wave.reshape(sample.shape)


def spaced_sigmas(table, schedule, steps):
    """ComfyUI's `normal`, `simple` and `sgm_uniform` levels over a training table, by their formulas."""
    if schedule == "simple":
        return [float(table[len(table) - 1 - int(i * (len(table) / steps))]) for i in range(steps)]
    logs = table.log()
    points = torch.linspace(float(len(table) - 1), 0.0, steps + (schedule == "sgm_uniform"))[:steps]
    low, weight = points.floor().long(), points.frac()
    return [float(s) for s in ((1 - weight) * logs[low] + weight * logs[points.ceil().long()]).exp()]


def scheduler_for(config, sampler, schedule, steps):
    """The scheduler of `Pipeline.from_pretrained`, replaced by `from_config` when a sampler is named."""
    own = getattr(diffusers, config["_class_name"])
    scheduler = own.from_config(config)
    options = {SIGMA_KEYS[schedule]: True} if schedule in SIGMA_KEYS else {}
    if sampler:
        name, extra = CLASSES[sampler]
        if sampler == "euler_a" and schedule:
            options = {}
        scheduler = getattr(diffusers, name).from_config(scheduler.config, **extra, **options)
    scheduler.set_timesteps(steps)
    levels = None
    if sampler == "euler_a" and schedule:
        euler = diffusers.EulerDiscreteScheduler.from_config(own.from_config(config).config,
                                                              **({SIGMA_KEYS[schedule]: True} if schedule in SIGMA_KEYS else {}))
        euler.set_timesteps(steps)
        levels = euler.sigmas, euler.timesteps
    if schedule and schedule not in SIGMA_KEYS:
        euler = diffusers.EulerDiscreteScheduler.from_config(own.from_config(config).config)
        table = (((1 - euler.alphas_cumprod) / euler.alphas_cumprod) ** 0.5)
        sigmas = spaced_sigmas(table, schedule, steps)
        euler.set_timesteps(sigmas=sigmas + [0.0])
        levels = euler.sigmas, euler.timesteps
    if levels:
        scheduler.sigmas, scheduler.timesteps = levels
        if sampler in ("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "unipc"):
            scheduler.timesteps = scheduler.timesteps.round().long()
    return scheduler


def run(config, sampler=None, schedule=None, steps=7):
    scheduler = scheduler_for(config, sampler, schedule, steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    generator = torch.Generator("cpu").manual_seed(steps)
    latents = torch.randn((1, 4, 2, 3), generator=generator) * scheduler.init_noise_sigma
    takes_generator = "generator" in type(scheduler).step.__code__.co_varnames
    extra = {"generator": generator} if takes_generator else {}
    trace = []
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(latents, t), t)
        latents = scheduler.step(output, t, latents, return_dict=False, **extra)[0]
        trace.append(latents.flatten()[0].item())
    if not torch.isfinite(latents).all():
        raise ValueError("not finite")
    short = lambda values: [float(f"{value:.9g}") for value in values]
    return {"timesteps": short(float(np.float32(float(t))) for t in scheduler.timesteps),
            "trace": short(trace), "latents": short(latents.flatten().tolist())}


def cases():
    for sampler in CLASSES:
        for steps in (1, 2, 3, 7, 20):
            yield BASE, sampler, None, steps
        for prediction in ("v_prediction", "sample"):
            yield BASE | {"prediction_type": prediction}, sampler, None, 6
        for spacing in ("leading", "trailing", "linspace"):
            for steps in (1, 5):
                yield BASE | {"timestep_spacing": spacing}, sampler, None, steps
        yield SHORT_PNDM, sampler, None, 6
        yield STARTER, sampler, None, 5
        if sampler not in NO_SCHEDULE:
            for schedule in (*SIGMA_KEYS, "normal", "simple", "sgm_uniform"):
                if schedule in SIGMA_KEYS or sampler in ("euler", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lms"):
                    for steps in (1, 8):
                        yield BASE | {"timestep_spacing": "trailing" if steps == 8 else "linspace"}, sampler, schedule, steps
        if sampler in ("ddim", "ddpm", "euler", "euler_a", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lcm"):
            zero = BASE | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
            yield zero | {"timestep_spacing": "trailing"}, sampler, None, 6
            yield zero, sampler, None, 4
    for sampler in ("dpmpp_2m", "dpmpp_2m_sde", "dpmpp_2s", "unipc"):
        for order in (1, 2, 3):
            for steps in (1, 2, 3, 6, 17):
                yield BASE | {"solver_order": order}, sampler, None, steps
            yield BASE | {"solver_order": order, "final_sigmas_type": "sigma_min"}, sampler, None, 6
            yield BASE | {"solver_order": order, "solver_type": "heun", "prediction_type": "v_prediction"}, sampler, None, 7
            yield BASE | {"solver_order": order, "lower_order_final": False, "final_sigmas_type": "sigma_min"}, sampler, None, 6
        yield BASE | {"thresholding": True, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.9}, sampler, None, 6
        yield BASE | {"use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}, sampler, None, 6
    for kind in ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"):
        for algorithm in ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis"):
            for order in (1, 2, 3):
                for solver_type in ("midpoint", "heun"):
                    if algorithm == "sde-dpmsolver" and (order == 3 or "Single" in kind):
                        continue
                    yield BASE | {"_class_name": kind, "algorithm_type": algorithm, "solver_order": order, "solver_type": solver_type,
                                  "final_sigmas_type": "sigma_min"}, None, None, 7
    multistep = BASE | {"_class_name": "DPMSolverMultistepScheduler"}
    yield multistep | {"euler_at_final": True, "final_sigmas_type": "sigma_min"}, None, None, 16
    yield multistep | {"lower_order_final": False, "solver_order": 3}, None, None, 9
    yield multistep | {"use_lu_lambdas": True}, None, None, 9
    yield multistep | {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "prediction_type": "sample"}, None, None, 6
    yield multistep | {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "thresholding": True}, None, None, 6
    for spacing in ("leading", "trailing", "linspace"):
        yield multistep | {"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1, "timestep_spacing": spacing}, None, None, 9
    yield multistep | {"beta_schedule": "squaredcos_cap_v2", "use_karras_sigmas": True}, None, None, 6
    unipc = BASE | {"_class_name": "UniPCMultistepScheduler"}
    for order in (1, 2, 3):
        yield unipc | {"solver_type": "bh1", "final_sigmas_type": "sigma_min", "solver_order": order}, None, None, 8
        yield unipc | {"predict_x0": False, "final_sigmas_type": "sigma_min", "solver_order": order}, None, None, 8
    yield unipc | {"disable_corrector": [0, 2], "solver_order": 3}, None, None, 8
    yield unipc | {"predict_x0": False, "final_sigmas_type": "sigma_min", "prediction_type": "v_prediction"}, None, None, 5
    for spacing in ("leading", "trailing"):
        yield unipc | {"timestep_spacing": spacing, "use_exponential_sigmas": True}, None, None, 5
    euler = BASE | {"_class_name": "EulerDiscreteScheduler"}
    yield euler | {"interpolation_type": "log_linear"}, None, None, 6
    yield euler | {"timestep_type": "continuous", "prediction_type": "v_prediction"}, None, None, 6
    yield euler | {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 20.0}, None, None, 6
    yield euler | {"sigma_min": 0.05, "sigma_max": 20.0}, "dpmpp_2m", "exponential", 6
    yield euler | {"sigma_min": 0.05, "sigma_max": 20.0}, "lms", "karras", 6
    yield euler | {"final_sigmas_type": "sigma_min", "prediction_type": "sample"}, None, None, 6
    for beta_schedule in ("linear", "squaredcos_cap_v2", "laplace", "sigmoid"):
        yield BASE | {"_class_name": "DDPMScheduler", "beta_schedule": beta_schedule}, None, None, 6
    for variance_type in ("fixed_small", "fixed_small_log", "fixed_large"):
        yield BASE | {"_class_name": "DDPMScheduler", "variance_type": variance_type, "clip_sample": True}, None, None, 6
    for beta_schedule in ("linear", "squaredcos_cap_v2", "exp"):
        yield BASE | {"_class_name": "HeunDiscreteScheduler", "beta_schedule": beta_schedule, "clip_sample": True}, None, None, 6
    for kind in ("DDIMScheduler", "DDPMScheduler", "LCMScheduler"):
        yield BASE | {"_class_name": kind, "clip_sample": True, "clip_sample_range": 0.8}, None, None, 6
        yield BASE | {"_class_name": kind, "thresholding": True, "sample_max_value": 2.0}, None, None, 6
        yield BASE | {"_class_name": kind, "set_alpha_to_one": True, "steps_offset": 0}, None, None, 6
    yield BASE | {"_class_name": "LCMScheduler", "original_inference_steps": 40, "timestep_scaling": 3.0}, None, None, 9
    for steps in (4, 5, 12):
        yield BASE | {"_class_name": "PNDMScheduler"}, None, None, steps
    yield BASE | {"_class_name": "PNDMScheduler", "prediction_type": "v_prediction"}, None, None, 6
    betas = [0.01 + 0.002 * i for i in range(40)]
    for sampler in ("ddim", "euler", "dpmpp_2m", "unipc", "pndm"):
        yield {"_class_name": "DDIMScheduler", "num_train_timesteps": 40, "trained_betas": betas}, sampler, None, 7


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    golden, refused = [], []
    for config, sampler, schedule, steps in cases():
        case = {"config": config, "sampler": sampler, "schedule": schedule, "steps": steps}
        try:
            golden.append(case | run(config, sampler, schedule, steps))
        except Exception as error:  # what diffusers refuses, we need not do
            refused.append(f"{case}: {type(error).__name__} {str(error)[:100]}")
    write = lambda name, rows: open(f"{here}/{name}", "w").write("[\n" + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]\n")
    write("samplers.json", golden)
    table = diffusers.EulerDiscreteScheduler.from_config(BASE).sigmas[:-1].flip(0)
    write("sigmas.json", [{"schedule": name, "steps": steps, "sigmas": spaced_sigmas(table, name, steps)}
                          for name in ("normal", "simple", "sgm_uniform") for steps in (1, 2, 3, 10, 30)])
    points = [1e-12, 1e-6, 1e-3, 0.01, 0.5, 0.999, 1 - 1e-6] + [i / 23 for i in range(24)]
    write("beta.json", [[p, float(scipy.stats.beta.ppf(p, 0.6, 0.6))] for p in points])
    print(f"{len(golden)} runs, {len(refused)} refused", *refused, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
