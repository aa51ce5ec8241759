"""Inputs: random ones, or, where results are compared, those that ours makes too (bench/gpu/bench.ts)."""

import math

import torch
from clock import clock


class Data:
    def __init__(self):
        self.begin(False)

    def begin(self, compared):
        self.compared = compared
        self.tensors = 0
        self.indices = 0

    def random(self, *shape, std=1.0, dtype=torch.bfloat16):
        number = self.tensors
        self.tensors += 1
        if not self.compared:
            return (torch.randn(shape, device=clock.device) * std).to(dtype)
        j = torch.arange(math.prod(shape), dtype=torch.float64)
        values = std * math.sqrt(2) * torch.sin(1.3 + 0.7 * number + 2.399963 * j)
        return values.float().reshape(shape).to(dtype).to(clock.device)

    def weight(self, *shape):
        """A parameter, whose deviation is 1 / √(last dimension)."""
        return self.random(*shape, std=shape[-1] ** -0.5)

    def ids(self, *shape, end):
        number = self.indices
        self.indices += 1
        if not self.compared:
            return torch.randint(end, shape, device=clock.device)
        j = torch.arange(math.prod(shape))
        return ((7919 * j + 131 * (number + 1)) % end).reshape(shape).to(clock.device)


data = Data()


def digest(x):
    """The mean of |x|, then a few elements: bench/gpu/bench.ts does the same."""
    flat = x.detach().double().flatten()
    n = flat.numel()
    return [flat.abs().mean().item(), *(flat[i * n // 8].item() for i in range(min(8, n)))]
