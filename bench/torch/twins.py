"""What PyTorch does in each row. A twin is a function of the row's arguments that returns its ways to do the work, by name, and, for some,
what it computed. The server takes the fastest way. PyTorch is used as its documentation teaches: fused kernels where it has them,
inference_mode for forward rows, gradients set to None between iterations (so that they are assigned, not accumulated)."""

import importlib

import torch


def make(name, args):
    """(ways, answers) of the twin `module.function`."""
    module, function = name.split(".")
    made = getattr(importlib.import_module(module), function)(**args)
    return made if isinstance(made, tuple) else (made, {})


def float_dtype(name):
    return {"f32": torch.float32, "bf16": torch.bfloat16}[name]
