"""Twins of bench/gpu/memory.ts."""

import torch
import torch.nn.functional as F
from data import data
from ways import Op, Twin, compiled


def layer_norm(n, c, residual, part):
    x = [data.random(n, c) for _ in range(2 if residual else 1)]
    weights = [data.weight(c), data.weight(c)]
    if not residual:
        return Op(lambda x, w, b: F.layer_norm(x, (c,), w, b), x, weights, part).twin()

    def function(x, r, w, b):
        total = r + x
        return F.layer_norm(total, (c,), w, b), total

    return Op(function, x, weights, part).twin()


def rms_norm(n, c, residual, part):
    x = [data.random(n, c) for _ in range(2 if residual else 1)]
    weights = [data.weight(c)]
    if not residual:
        return Op(lambda x, w: F.rms_norm(x, (c,), w, 1e-6), x, weights, part).twin()

    def function(x, r, w):
        total = r + x
        return F.rms_norm(total, (c,), w, 1e-6), total

    return Op(function, x, weights, part).twin()


def cross_entropy(n, vocabulary, part):
    logits = data.random(n, vocabulary)
    targets = data.ids(n, end=vocabulary)
    op = Op(lambda x: F.cross_entropy(x, targets), [logits], [], part)
    # The loss in f32, as ours has it: eager PyTorch then converts the logits, compiled it need not.
    wide = lambda x: F.cross_entropy(x.float(), targets).to(x.dtype)  # noqa: E731
    ways = {"eager": op.way, "eager, f32 logits": lambda: op.way(wide)}
    return Twin(ways, {"compile": lambda: op.way(compiled(wide))}, op.answers)


def embedding(n, vocabulary, c, part):
    table = data.weight(vocabulary, c)
    ids = data.ids(n, end=vocabulary)
    return Op(lambda table: F.embedding(ids, table), [], [table], part).twin()


def parameters(sizes):
    made = [torch.nn.Parameter(data.random(size, std=0.02, dtype=torch.float32)) for size in sizes]
    for parameter in made:
        parameter.grad = data.random(*parameter.shape, dtype=torch.float32)
    return made


def adamw(sizes):
    def way(**options):
        step = torch.optim.AdamW(parameters(sizes), lr=1e-4, **options).step
        return lambda timed: timed(step)

    def through_compile():
        step = compiled(torch.optim.AdamW(parameters(sizes), lr=1e-4, foreach=True).step)
        return lambda timed: timed(step)

    return Twin({"fused": lambda: way(fused=True), "foreach": lambda: way(foreach=True)}, {"compile": through_compile})


def clip_grad_norm(sizes):
    def way():
        mine = parameters(sizes)
        return lambda timed: timed(lambda: torch.nn.utils.clip_grad_norm_(mine, 1.0, foreach=True))

    return Twin({"foreach": way})
