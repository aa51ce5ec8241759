"""Rotary positions as Hugging Face's Llama has them: pairs (i, i + dim / 2), tables in the activations' dtype."""

import torch
from clock import clock


def tables(length, dim, base, dtype=torch.bfloat16):
    """Cosines and sines [length, dim], each half twice."""
    frequencies = base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos().to(dtype).to(clock.device), angles.sin().to(dtype).to(clock.device)


def rotate(x, cosines, sines):
    """x [..., T, H, D], or for one position [..., H, D] with tables [D]."""
    if cosines.dim() > 1:
        cosines, sines = cosines[:, None], sines[:, None]
    a, b = x.chunk(2, -1)
    return x * cosines + torch.cat([-b, a], -1) * sines
