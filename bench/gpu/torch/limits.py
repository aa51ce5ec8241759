"""Twins of bench/gpu/limits.ts."""

import torch
from data import data
from ways import Op


def copy(n, part):
    x = data.random(n)
    y = torch.empty_like(x)
    return Op(lambda x: y.copy_(x), [x], [], part).twin("copy_", compile=False)
