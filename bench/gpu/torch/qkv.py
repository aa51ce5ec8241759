"""Twins of bench/gpu/qkv.ts."""

import torch
import torch.nn.functional as F
from data import data
from ways import Op


def projections(n, c, queries, keys, dim, bias, part):
    x = data.random(n, c)
    f = (queries + 2 * keys) * dim
    weights = [data.weight(f, c), *([data.weight(f)] if bias else [])]
    sizes = [queries * dim, keys * dim, keys * dim]

    def function(x, w, b=None):
        # Views of one packed product: splitting costs nothing, and its backward joins the gradients.
        return [part.unflatten(-1, (-1, dim)) for part in F.linear(x, w, b).split(sizes, -1)]

    op = Op(function, [x], weights, part, packed=True)
    if part == "backward":
        # Where the gradients lie in one buffer no joining is needed: the two products by themselves.
        return packed_backward(op, x, weights)
    return op.twin("addmm and split", compile=False)


def packed_backward(op, x, weights):
    dy = op.gradients[0].detach()
    whole = dy.as_strided((x.shape[0], weights[0].shape[0]), (weights[0].shape[0], 1))

    def products():
        dx, dw = whole @ weights[0], whole.t() @ x
        return [dx, dw] if len(weights) == 1 else [dx, dw, whole.sum(0)]

    def way(timed):
        with torch.no_grad():
            timed(products)

    twin = op.twin("addmm and split", compile=False)
    twin.ways["two products"] = lambda: way
    return twin
