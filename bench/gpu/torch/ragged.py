"""Twins of bench/gpu/ragged.ts: padding and a mask, nested tensors, and variable-length attention."""

import inspect

import torch
import torch.nn.functional as F
from attention import by_backend, sdpa
from clock import clock
from data import data, digest
from layers import evaluation, options_of, placed, training
from torch import nn
from ways import Op, Twin, compiled


def real_places(lengths):
    """[B, T], true at real tokens."""
    return (torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]).to(clock.device)


def padded(rows, real):
    """Packed rows [N, ...] as [B, T, ...], zeros in the padding."""
    whole = rows.new_zeros(*real.shape, *rows.shape[1:])
    whole[real] = rows
    return whole


def attention(lengths, heads, dim, causal, part):
    total, longest = sum(lengths), max(lengths)
    q, k, v = (data.random(total, heads, dim) for _ in range(3))
    dy = data.random(total, heads, dim)
    real = real_places(lengths)
    offsets = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32).to(clock.device)
    # [B, 1, Tq, Tk]; a padded query sees what it likes: its result is not used.
    mask = real[:, None, None, :]
    if causal:
        mask = mask & torch.ones(longest, longest, dtype=torch.bool, device=clock.device).tril()

    class Given(Op):
        """With the gradient that the packed form has."""

        def __init__(self, function, inputs, gradient):
            super().__init__(function, inputs, [], "forward")
            self.part = part
            if part != "forward":
                self.gradients = [gradient]
                self.leaves = [t.requires_grad_() for t in inputs]

    wide = [padded(x, real) for x in (q, k, v)]
    dense = Given(lambda q, k, v: sdpa(q, k, v, attn_mask=mask), wide, padded(dy, real))
    without_mask = Given(lambda q, k, v: sdpa(q, k, v, is_causal=True), wide, padded(dy, real))
    ways = {f"padded, {name}": way for name, way in by_backend(dense).ways.items()}
    if causal:
        # Padding on the right is hidden from real tokens by causality itself.
        ways.update({f"padded without a mask, {name}": way for name, way in by_backend(without_mask).ways.items()})

    def nested():
        jagged = [torch.nested.nested_tensor_from_jagged(x.detach().clone(), offsets.long(), max_seqlen=longest) for x in (q, k, v)]
        leaves = [x.requires_grad_() for x in jagged] if part != "forward" else jagged

        def function(q, k, v):
            return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=causal).transpose(1, 2)

        def way(timed):
            if part == "forward":
                with torch.no_grad():
                    return timed(lambda: function(*leaves))
            y = function(*leaves)
            gradient = torch.nested.nested_tensor_from_jagged(dy, y.offsets(), max_seqlen=longest)
            return timed(lambda: torch.autograd.grad(y, leaves, gradient))

        return way

    def variable():
        from torch.nn.attention.varlen import varlen_attn

        # Until PyTorch 2.10 causality had a name of its own.
        named = "is_causal" in inspect.signature(varlen_attn).parameters
        options = {} if not causal else {"is_causal": True} if named else {"window_size": (-1, 0)}

        def function(q, k, v):
            return varlen_attn(q, k, v, offsets, offsets, longest, longest, **options)

        return Given(function, [x.detach().clone() for x in (q, k, v)], dy).way()

    def answers():
        if part == "forward":
            with torch.no_grad():
                return [digest(dense.function(*wide)[real])]
        return [digest(g[real]) for g in dense.back([dense.function(*wide)])]

    last_resort = {f"padded, {name}": way for name, way in by_backend(dense).last_resort.items()}
    return Twin({**ways, "nested": nested, "varlen": variable}, answers=answers, last_resort=last_resort)


def encoder_layer(lengths, width, heads, hidden, part, weights=None):
    real = real_places(lengths)
    x, gradient = (padded(data.random(sum(lengths), width), real) for _ in range(2))
    dropout = 0.1 if part != "forward" and weights is None else 0.0
    module = placed(nn.TransformerEncoderLayer(width, **options_of(heads, hidden, dropout, False, "gelu")), weights, part)

    def masked(module):
        return lambda x: module(x, src_key_padding_mask=~real)

    function = masked(module)

    def answers():
        with torch.no_grad():
            return [digest(function(x)[real])]

    if part != "forward":
        return Twin(
            {"padded": lambda: training(module, function, [x], gradient)},
            {"padded, compile": lambda: training(module, compiled(function), [x], gradient)},
            answers,
        )

    def nested():
        # A stack's fast path packs the batch itself.
        stack = nn.TransformerEncoder(module, 1, enable_nested_tensor=True).to(clock.device, torch.bfloat16).eval()
        return evaluation(masked(stack), [x])

    return Twin(
        {"padded": lambda: evaluation(function, [x]), "nested": nested},
        {"padded, compile": lambda: evaluation(compiled(function), [x])},
        answers,
    )
