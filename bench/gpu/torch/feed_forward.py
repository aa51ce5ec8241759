"""Twins of bench/gpu/feedForward.ts."""

import torch.nn.functional as F
from data import data
from products import ACTIVATIONS
from ways import Op


def block(n, c, f, activation, gated, part):
    x = data.random(n, c)
    rows = 2 * f if gated else f
    act = ACTIVATIONS[activation]
    if gated:

        def function(x, w1, w2):
            gate, up = F.linear(x, w1).chunk(2, -1)
            return F.linear(act(gate) * up, w2)

        return Op(function, [x], [data.weight(rows, c), data.weight(c, f)], part).twin()
    weights = [data.weight(rows, c), data.weight(rows), data.weight(c, f), data.weight(c)]
    return Op(lambda x, w1, b1, w2, b2: F.linear(act(F.linear(x, w1, b1)), w2, b2), [x], weights, part).twin()
