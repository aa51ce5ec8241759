"""Twins of bench/gpu/products.ts."""

import torch
import torch.nn.functional as F
from data import data, digest
from ways import Op, Twin, compiled

ACTIVATIONS = {
    "none": lambda y: y,
    "relu": F.relu,
    "gelu": F.gelu,
    "geluTanh": lambda y: F.gelu(y, approximate="tanh"),
    "silu": F.silu,
}


def single(body):
    """One product by itself, as a way without a tape."""

    def way(timed):
        with torch.no_grad():
            timed(body)

    return way


def linear(n, c, f, part, bias=False, residual=False, activation="none", direction="forward"):
    x = data.random(n, c)
    r = data.random(n, f) if residual else None
    w = data.weight(f, c)
    b = data.weight(f) if bias else None
    if direction != "forward":
        # What autograd would run, without what autograd costs.
        dy = data.random(n, f)
        body = (lambda: dy @ w) if direction == "dX" else (lambda: dy.t() @ x)
        return Twin({"mm": lambda: single(body)}, answers=lambda: [digest(body())])
    act = ACTIVATIONS[activation]

    def eager(x):
        y = act(F.linear(x, w, b))
        return y if r is None else r + y

    op = Op(eager, [x], [], part)
    ways = {"eager": op.way}
    if activation == "geluTanh" and bias and not residual:
        # cuBLASLt's own epilogue.
        ways["_addmm_activation"] = lambda: single(lambda: torch._addmm_activation(b, x, w.t(), use_gelu=True))
    if residual and not bias and activation == "none":
        ways["addmm"] = lambda: single(lambda: torch.addmm(r, x, w.t()))
    epilogue = residual or activation != "none"
    return Twin(ways, {"compile": lambda: op.way(compiled(eager))} if epilogue else {}, op.answers)
