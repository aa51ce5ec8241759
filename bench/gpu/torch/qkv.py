"""Twins of bench/gpu/qkv.ts."""

import torch
import torch.nn.functional as F
from data import data
from rotary import rotate, tables
from ways import Op


def projections(batch, tokens, c, queries, keys, dim, bias, part, rotary=0.0):
    """rotary: the base of the angles; 0: none."""
    x = data.random(batch, tokens, c)
    f = (queries + 2 * keys) * dim
    weights = [data.weight(f, c), *([data.weight(f)] if bias else [])]
    sizes = [queries * dim, keys * dim, keys * dim]
    angles = tables(tokens, dim, rotary) if rotary else None

    def function(x, w, b=None):
        # Views of one packed product: splitting costs nothing, and its backward joins the gradients.
        q, k, v = (part.unflatten(-1, (-1, dim)) for part in F.linear(x, w, b).split(sizes, -1))
        return [q, k, v] if angles is None else [rotate(q, *angles), rotate(k, *angles), v]

    op = Op(function, [x], weights, part, packed=True)
    twin = op.twin("addmm and split", compile=bool(rotary))
    if part == "backward" and not rotary:
        # Where the gradients lie in one buffer no joining is needed: the two products by themselves.
        twin.ways["two products"] = lambda: products(op, x, weights)
    return twin


def products(op, x, weights):
    f, c = weights[0].shape
    rows = x.detach().reshape(-1, c)
    dy = op.gradients[0].detach().as_strided((rows.shape[0], f), (f, 1))

    def body():
        dx, dw = dy @ weights[0], dy.t() @ rows
        return [dx, dw] if len(weights) == 1 else [dx, dw, dy.sum(0)]

    def way(timed):
        with torch.no_grad():
            timed(body)

    return way
