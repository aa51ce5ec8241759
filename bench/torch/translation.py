"""Twins of the whole model: embeddings, nn.Transformer, projection; trained by AdamW, decoded greedily."""

import contextlib
import math

import torch
import torch.nn.functional as F
from encoder import load, precisions
from torch import nn


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


def greedy(dtype, batch, source, bos, tokens, weights, **sizes):
    """
    nn.Transformer keeps no keys and values, so each token decodes the whole prefix again; the memory is made once, and only the last
    position is projected to the vocabulary.
    """
    source = ids(source, batch)
    model = make_model(weights, length=max(tokens, source.shape[1]), **sizes)

    def translate(model, context):
        with torch.inference_mode(), context():
            memory = model.encoder(model.embed(model.source_embedding, source))
            target = torch.full((batch, 1), bos)
            for _ in range(tokens):
                hidden = model.decode(target, memory)
                target = torch.cat([target, model.output(hidden[:, -1]).argmax(-1, keepdim=True)], 1)
        return target[:, 1:]

    ways = {}
    for precision, each, context in precisions(dtype, model.eval()):
        ways[f"whole prefix each token {precision}".strip()] = lambda each=each, context=context: translate(each, context)
    return ways, {"tokens": translate(model, contextlib.nullcontext).flatten().tolist()}
