"""Twins of bench/gpu/layers.ts: torch.nn's layers."""

import torch
from clock import clock
from data import data, digest
from products import ACTIVATIONS
from torch import nn
from ways import Twin, compiled
from weights import load


def evaluation(function, inputs):
    def way(timed):
        with torch.inference_mode():
            timed(lambda: function(*inputs))

    return way


def training(module, function, inputs, gradient):
    """Forward and backward, gradients assigned to the inputs and to the module's parameters."""
    leaves = [*(x.requires_grad_() for x in inputs), *module.parameters()]

    def step():
        function(*inputs).backward(gradient)

    def way(timed):
        for leaf in leaves:
            leaf.grad = None
        timed(step)

    return way


def placed(module, weights, part):
    if weights is not None:
        module.load_state_dict(load(weights))
    return module.to(clock.device, torch.bfloat16).train(part != "forward")


def twin(module, function, inputs, part):
    """Eager and compiled, as evaluation or training. `function` calls the module."""
    with torch.no_grad():
        shape = function(*inputs).shape
    gradient = data.random(*shape)

    def way(function):
        return evaluation(function, inputs) if part == "forward" else training(module, function, inputs, gradient)

    def answers():
        with torch.no_grad():
            return [digest(function(*inputs))]

    return Twin({"eager": lambda: way(function)}, {"compile": lambda: way(compiled(function))}, answers)


def options_of(heads, hidden, dropout, pre_norm, activation):
    return {
        "nhead": heads,
        "dim_feedforward": hidden,
        "dropout": dropout,
        "norm_first": pre_norm,
        "activation": ACTIVATIONS[activation],
        "batch_first": True,
    }


def causal_mask(tokens):
    return nn.Transformer.generate_square_subsequent_mask(tokens, device=clock.device, dtype=torch.bfloat16)


def encoder_layer(batch, tokens, memory, width, heads, hidden, dropout, causal, pre_norm, activation, part, weights=None):
    x = data.random(batch, tokens, width)
    module = placed(nn.TransformerEncoderLayer(width, **options_of(heads, hidden, dropout, pre_norm, activation)), weights, part)
    mask = causal_mask(tokens) if causal else None
    return twin(module, lambda x: module(x, src_mask=mask, is_causal=causal), [x], part)


def decoder_layer(batch, tokens, memory, width, heads, hidden, dropout, causal, pre_norm, activation, part, weights=None):
    x, rows = data.random(batch, tokens, width), data.random(batch, memory, width)
    module = placed(nn.TransformerDecoderLayer(width, **options_of(heads, hidden, dropout, pre_norm, activation)), weights, part)
    mask = causal_mask(tokens) if causal else None
    return twin(module, lambda x, rows: module(x, rows, tgt_mask=mask, tgt_is_causal=causal), [x, rows], part)
