"""Twins of an encoder layer, with and without padding."""

import contextlib
import copy

import torch
from torch import nn
from twins import float_dtype
from weights import load


def make_layer(width, heads, hidden, dropout, weights):
    layer = nn.TransformerEncoderLayer(width, heads, hidden, dropout=dropout, batch_first=True)
    layer.load_state_dict(load(weights))
    return layer


def precisions(dtype, module):
    """(name, module, context) of the ways to compute in `dtype`: for bf16, a module of bf16 parameters, or autocast around one of f32."""
    if dtype == "f32":
        return [("", module, contextlib.nullcontext)]
    whole = copy.deepcopy(module).to(torch.bfloat16)
    return [
        ("bf16 modules", whole, contextlib.nullcontext),
        ("autocast", module, lambda: torch.autocast("cpu", torch.bfloat16)),
    ]


def layer(dtype, batch, tokens, width, heads, hidden, dropout, backward, weights, lengths=None):
    """lengths: the batch is padded to `tokens` and a key padding mask says where, as PyTorch's users write it."""
    torch.manual_seed(0)
    ways = {}
    padding = None
    if lengths is not None:
        padding = torch.arange(tokens)[None, :] >= torch.tensor(lengths)[:, None]
    base = make_layer(width, heads, hidden, dropout, weights)
    for precision, module, context in precisions(dtype, base):
        x = torch.randn(batch, tokens, width).to(next(module.parameters()).dtype)
        dy = torch.randn(batch, tokens, width)
        if backward:
            ways[f"training {precision}".strip()] = training(module, context, x, dy, padding)
            continue
        ways[f"eval {precision}".strip()] = evaluation(module.eval(), context, x, padding)
        for nested in (True, False) if padding is not None else ():
            encoder = nn.TransformerEncoder(module, 1, enable_nested_tensor=nested)
            encoder.layers[0].load_state_dict(module.state_dict())
            ways[f"{'nested' if nested else 'stack'} {precision}".strip()] = evaluation(encoder.eval(), context, x, padding)
    return ways, {"mean": [signature(base, batch, tokens, width, padding)]}


def signature(module, batch, tokens, width, padding):
    """Mean of |y| over the real tokens for an input that both sides can make: equal only with equal weights and masks."""
    was = module.training
    module.eval()
    with torch.no_grad():
        x = torch.sin(torch.arange(batch * tokens * width, dtype=torch.float64)).float().reshape(batch, tokens, width)
        y = module(x, src_key_padding_mask=padding).abs()
    module.train(was)
    return (y if padding is None else y[~padding]).mean(dtype=torch.float64).item()


def evaluation(module, context, x, padding):
    def body():
        with torch.inference_mode(), context():
            module(x, src_key_padding_mask=padding)

    return body


def training(module, context, x, dy, padding):
    module.train()
    x.requires_grad_()
    parameters = list(module.parameters())

    def body():
        x.grad = None
        for parameter in parameters:
            parameter.grad = None
        with context():
            y = module(x, src_key_padding_mask=padding)
        y.backward(dy.to(y.dtype))

    return body
