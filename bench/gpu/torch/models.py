"""Twins of bench/gpu/models.ts: a training step of GPT-2, and a decode step of GPT-2 and Llama."""

import contextlib

import torch
import torch.nn.functional as F
from clock import clock
from data import data, digest
from products import ACTIVATIONS
from rotary import rotate, tables
from torch import nn
from ways import Twin, compiled, graphed
from weights import load


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * 0.02)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).unflatten(-1, (3, self.heads, -1))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, 4 * width)
        self.linear2 = nn.Linear(4 * width, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x):
        x = x + self.self_attn(self.norm1(x))
        return x + self.linear2(F.gelu(self.linear1(self.norm2(x)), approximate="tanh"))


class Stack(nn.Module):
    def __init__(self, width, heads, layers):
        super().__init__()
        self.layers = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Gpt(nn.Module):
    """As people write GPT-2 in PyTorch, with the keys of our model, so that its weights load."""

    def __init__(self, vocabulary, length, width, heads, layers):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(vocabulary, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(length, width) * 0.01)
        self.stack = Stack(width, heads, layers)

    def forward(self, ids):
        x = F.embedding(ids, self.tokens) + self.positions[: ids.shape[1]]
        return F.linear(self.stack(x), self.tokens)


def training_step(batch, vocabulary, length, width, heads, layers, through_compile=True, weights=None):
    """Parameters in f32 under autocast, as bf16 training is done where they keep their precision; or all in bf16, which loses small updates."""
    ids, targets = (data.ids(batch, length, end=vocabulary) for _ in range(2))

    def make(dtype):
        model = Gpt(vocabulary, length, width, heads, layers)
        if weights is not None:
            model.load_state_dict(load(weights))
        return model.to(clock.device, dtype)

    def loss_of(model, autocast):
        with torch.autocast(clock.device.type, torch.bfloat16) if autocast else contextlib.nullcontext():
            logits = model(ids)
            return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    def step(autocast, compile, capture=False):
        model = make(torch.float32 if autocast else torch.bfloat16)
        options = {"lr": 1e-4, "betas": (0.9, 0.95), "weight_decay": 0.1, "fused": True}
        # The stand-in's graph captures nothing, and on the CPU an optimizer cannot be captured.
        optimizer = torch.optim.AdamW(model.parameters(), **options, capturable=capture and not clock.dry)
        callee = compiled(lambda: loss_of(model, autocast)) if compile else lambda: loss_of(model, autocast)

        def body():
            optimizer.zero_grad(set_to_none=True)
            callee().backward()
            optimizer.step()

        run = graphed(body) if capture else body
        return lambda timed: timed(run)

    def answers():
        with torch.no_grad():
            return [digest(loss_of(make(torch.bfloat16), False))]

    return Twin(
        {"eager, autocast": lambda: step(True, False), "eager, bf16 parameters": lambda: step(False, False)},
        {
            "compile, autocast": lambda: step(True, True),
            "compile, bf16 parameters": lambda: step(False, True),
            "compile, autocast, CUDA graph": lambda: step(True, True, True),
            "compile, bf16 parameters, CUDA graph": lambda: step(False, True, True),
        }
        if through_compile
        else {},
        answers,
    )


class Decoder:
    """One token of each sequence at the last place of a full cache: bench/gpu/decoder.ts in plain PyTorch."""

    def __init__(self, batch, length, layers, width, heads, kv_heads, head_dim, hidden, vocabulary, kind):
        self.batch, self.length, self.heads, self.kv_heads, self.head_dim, self.width = batch, length, heads, kv_heads, head_dim, width
        self.llama = kind == "llama"
        # Of the one position that is decoded; 500,000 is Llama 3's base.
        self.angles = [table[length - 1] for table in tables(length, head_dim, 500000.0)] if self.llama else None

        def matrix(rows, columns):
            weight = data.random(rows, columns, std=columns**-0.5)
            return weight, None if self.llama else data.random(rows, std=0.02)

        def norm():
            weight = data.random(width)
            return weight, None if self.llama else data.random(width, std=0.02)

        self.table = data.random(vocabulary, width, std=0.02)
        self.positions = None if self.llama else data.random(length, width, std=0.02)
        self.layers = [
            {
                "norms": (norm(), norm()),
                "projection": matrix((heads + 2 * kv_heads) * head_dim, width),
                "out": matrix(width, heads * head_dim),
                "up": matrix(2 * hidden if self.llama else hidden, width),
                "down": matrix(width, hidden),
                # [B, Hkv, L, D], as PyTorch's attention likes them best.
                "keys": data.random(batch, length, kv_heads, head_dim).transpose(1, 2).contiguous(),
                "values": data.random(batch, length, kv_heads, head_dim).transpose(1, 2).contiguous(),
            }
            for _ in range(layers)
        ]
        self.final = norm()

    def normalize(self, x, parameters):
        weight, bias = parameters
        return F.rms_norm(x, (self.width,), weight, 1e-5) if self.llama else F.layer_norm(x, (self.width,), weight, bias)

    def feed(self, x, layer):
        first = F.linear(x, *layer["up"])
        if self.llama:
            gate, up = first.chunk(2, -1)
            return F.linear(F.silu(gate) * up, *layer["down"])
        return F.linear(ACTIVATIONS["geluTanh"](first), *layer["down"])

    def step(self, ids):
        x = F.embedding(ids, self.table)
        if self.positions is not None:
            x = x + self.positions[self.length - 1]
        for layer in self.layers:
            qkv = F.linear(self.normalize(x, layer["norms"][0]), *layer["projection"]).unflatten(-1, (-1, self.head_dim))
            q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], 1)
            if self.angles:
                q, k = rotate(q, *self.angles), rotate(k, *self.angles)
            layer["keys"][:, :, self.length - 1] = k
            layer["values"][:, :, self.length - 1] = v
            attended = F.scaled_dot_product_attention(q.unsqueeze(2), layer["keys"], layer["values"], enable_gqa=self.heads != self.kv_heads)
            x = x + F.linear(attended.flatten(1), *layer["out"])
            x = x + self.feed(self.normalize(x, layer["norms"][1]), layer)
        logits = F.linear(self.normalize(x, self.final), self.table)
        return logits.argmax(-1), logits


def decode_step(vocabulary, batch, **sizes):
    decoder = Decoder(batch=batch, vocabulary=vocabulary, **sizes)
    ids = data.ids(batch, end=vocabulary)

    def way(step, capture):
        def body():
            with torch.no_grad():
                return step(ids)

        run = graphed(body) if capture else body
        return lambda timed: timed(run)

    def answers():
        with torch.no_grad():
            return [digest(decoder.step(ids)[1])]

    return Twin(
        {"eager": lambda: way(decoder.step, False), "CUDA graph": lambda: way(decoder.step, True)},
        {
            "compile, CUDA graph": lambda: way(compiled(decoder.step), True),
            "compile, reduce-overhead": lambda: way(compiled(decoder.step, mode="reduce-overhead"), False),
        },
        answers,
    )
