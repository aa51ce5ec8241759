"""Twins of the whole model: embeddings, nn.Transformer, projection; trained by AdamW, decoded greedily."""

import contextlib
import functools
import math

import torch
import torch.nn.functional as F
from encoder import precisions
from torch import nn
from weights import load


class Translator(nn.Module):
    """With the keys of our model, so that its weights load."""

    def __init__(self, source_vocab, target_vocab, width, heads, layers, hidden, dropout, length):
        super().__init__()
        inner = nn.Transformer(width, heads, layers, layers, hidden, dropout=dropout, batch_first=True)
        self.encoder = inner.encoder
        self.decoder = inner.decoder
        self.source_embedding = nn.Embedding(source_vocab, width)
        self.target_embedding = nn.Embedding(target_vocab, width)
        self.output = nn.Linear(width, target_vocab)
        self.dropout = nn.Dropout(dropout)
        self.scale = math.sqrt(width)
        position = torch.arange(length)[:, None]
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(length, width)
        table[:, 0::2] = torch.sin(position * frequency)
        table[:, 1::2] = torch.cos(position * frequency)
        self.register_buffer("positions", table, persistent=False)
        self.register_buffer("future", nn.Transformer.generate_square_subsequent_mask(length), persistent=False)

    def embed(self, embedding, ids):
        return self.dropout(embedding(ids) * self.scale + self.positions[: ids.shape[1]])

    def decode(self, target, memory):
        n = target.shape[1]
        return self.decoder(self.embed(self.target_embedding, target), memory, tgt_mask=self.future[:n, :n], tgt_is_causal=True)

    def forward(self, source, target):
        memory = self.encoder(self.embed(self.source_embedding, source))
        return self.output(self.decode(target, memory))


def make_model(weights, source_vocab, target_vocab, width, heads, layers, hidden, dropout, length):
    model = Translator(source_vocab, target_vocab, width, heads, layers, hidden, dropout, length)
    loaded = load(weights)
    model.load_state_dict(loaded)
    return model


def ids(values, batch):
    return torch.tensor(values).reshape(batch, -1)


def step(dtype, batch, source, target, labels, weights, label_smoothing, **sizes):
    """A training step: forward, loss, backward, AdamW, which sets the gradients to None."""
    source, target, labels = ids(source, batch), ids(target, batch), torch.tensor(labels)
    model = make_model(weights, length=target.shape[1], **sizes)

    def loss_of(model, context):
        with context():
            logits = model(source, target)
            return F.cross_entropy(logits.flatten(0, 1).float(), labels, label_smoothing=label_smoothing)

    model.eval()
    with torch.no_grad():
        first = loss_of(model, contextlib.nullcontext).item()
    model.train()
    ways = {}
    for precision, each, context in precisions(dtype, model):
        optimizer = torch.optim.AdamW(each.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.01, fused=True)

        def body(each=each, context=context, optimizer=optimizer):
            optimizer.zero_grad(set_to_none=True)
            loss_of(each, context).backward()
            optimizer.step()

        ways[f"training {precision}".strip()] = body
    return ways, {"loss": [first]}


class CachedDecoder:
    """
    Greedy decoding as a hand-written PyTorch decoder does it: keys and values of earlier tokens in one buffer a layer, those of the memory projected
    once, fused attention, and products of single rows. Post-norm layers with ReLU, as nn.TransformerDecoderLayer's defaults are.
    """

    def __init__(self, model):
        self.model = model
        self.layers = model.decoder.layers
        self.heads = self.layers[0].self_attn.num_heads

    def split(self, x):
        """[B, T, C] -> [B, H, T, D]"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def join(self, x):
        return x.transpose(1, 2).flatten(2)

    def start(self, memory, tokens):
        self.caches = []
        for layer in self.layers:
            c = memory.shape[2]
            cross = layer.multihead_attn
            kv = F.linear(memory, cross.in_proj_weight[c:], cross.in_proj_bias[c:])
            own = kv.new_empty(2, memory.shape[0], self.heads, tokens, c // self.heads)
            self.caches.append((own, *(self.split(part) for part in kv.chunk(2, -1))))

    def step(self, ids, at):
        """Logits [B, V] of the token after `ids` [B], which stand at position `at`."""
        model = self.model
        x = model.target_embedding(ids)[:, None] * model.scale + model.positions[at]
        for layer, (own, memory_keys, memory_values) in zip(self.layers, self.caches):
            mine, cross = layer.self_attn, layer.multihead_attn
            q, k, v = (self.split(part) for part in F.linear(x, mine.in_proj_weight, mine.in_proj_bias).chunk(3, -1))
            own[0, :, :, at : at + 1] = k
            own[1, :, :, at : at + 1] = v
            attended = F.scaled_dot_product_attention(q, own[0, :, :, : at + 1], own[1, :, :, : at + 1])
            x = layer.norm1(x + mine.out_proj(self.join(attended)))
            c = x.shape[2]
            q = self.split(F.linear(x, cross.in_proj_weight[:c], cross.in_proj_bias[:c]))
            x = layer.norm2(x + cross.out_proj(self.join(F.scaled_dot_product_attention(q, memory_keys, memory_values))))
            x = layer.norm3(x + layer.linear2(F.relu(layer.linear1(x))))
        return model.output(model.decoder.norm(x)[:, 0])


def translate_cached(model, source, bos, tokens):
    decoder = CachedDecoder(model)
    decoder.start(model.encoder(model.embed(model.source_embedding, source)), tokens)
    ids = torch.full((source.shape[0],), bos)
    said = []
    for at in range(tokens):
        ids = decoder.step(ids, at).argmax(-1)
        said.append(ids)
    return torch.stack(said, 1)


def translate_without_cache(model, source, bos, tokens):
    """
    As nn.Transformer offers it: it keeps no keys and values, so each token decodes the whole prefix again. The memory is made once, and only the last
    position is projected to the vocabulary.
    """
    memory = model.encoder(model.embed(model.source_embedding, source))
    target = torch.full((source.shape[0], 1), bos)
    for _ in range(tokens):
        hidden = model.decode(target, memory)
        target = torch.cat([target, model.output(hidden[:, -1]).argmax(-1, keepdim=True)], 1)
    return target[:, 1:]


def decoding(translate, way, dtype, batch, source, bos, tokens, weights, **sizes):
    source = ids(source, batch)
    model = make_model(weights, length=max(tokens, source.shape[1]), **sizes).eval()

    def run(model, context):
        with torch.inference_mode(), context():
            return translate(model, source, bos, tokens)

    ways = {f"{way} {precision}".strip(): functools.partial(run, each, context) for precision, each, context in precisions(dtype, model)}
    return ways, {"tokens": run(model, contextlib.nullcontext).flatten().tolist()}


def greedy(**args):
    return decoding(translate_cached, "own KV cache", **args)


def greedy_without_cache(**args):
    return decoding(translate_without_cache, "whole prefix each token", **args)
