"""Twins of bench/gpu/decoding.ts."""

import torch
from attention import by_backend, sdpa
from clock import clock
from data import data
from ways import Op


def with_groups_as_rows(function, inputs, kv_heads, part):
    """Also: query heads that share keys as rows of one product. Without a causal mask one token's heads are as good as tokens."""
    twin = by_backend(Op(function, inputs, [], part))
    if inputs[0].shape[2] == kv_heads:
        return twin

    def joined(q, k, v):
        rows = q.unflatten(2, (kv_heads, -1)).squeeze(1).transpose(1, 2)
        return function(rows, k, v).transpose(1, 2).flatten(1, 2).unsqueeze(1)

    for name, way in by_backend(Op(joined, inputs, [], part)).ways.items():
        twin.ways[f"{name}, groups as rows"] = way
    return twin


def full_cache(batch, length, heads, kv_heads, dim, part):
    q = data.random(batch, 1, heads, dim)
    k, v = (data.random(batch, length, kv_heads, dim) for _ in range(2))
    return with_groups_as_rows(lambda q, k, v: sdpa(q, k, v, enable_gqa=q.shape[2] != kv_heads), [q, k, v], kv_heads, part)


def partly_filled(lengths, capacity, heads, kv_heads, dim, part, page=0):
    """Sequence b has lengths[b] keys of its capacity, in pages of `page` keys where that is not 0. Dense attention knows neither but a mask."""
    batch = len(lengths)
    q = data.random(batch, 1, heads, dim)
    used = torch.tensor(lengths, dtype=torch.int32)
    table = None
    if page:
        pages = batch * capacity // page
        table = ((7919 * torch.arange(pages) + 131) % pages).reshape(batch, -1).to(clock.device)
        stored = [data.random(pages, page, kv_heads, dim) for _ in range(2)]
        k, v = (x[table].flatten(1, 2) for x in stored)
    else:
        k, v = stored = [data.random(batch, capacity, kv_heads, dim) for _ in range(2)]
    mask = (torch.arange(capacity)[None, :] < used[:, None])[:, None, None, :].to(clock.device)
    twin = with_groups_as_rows(lambda q, k, v: sdpa(q, k, v, attn_mask=mask, enable_gqa=q.shape[2] != kv_heads), [q, k, v], kv_heads, part)

    def variable():
        """PyTorch 2.12 and later."""
        from torch.nn.attention.varlen import varlen_attn

        offsets = torch.arange(batch + 1, dtype=torch.int32, device=clock.device)
        options = {"seqused_k": used.to(clock.device), "enable_gqa": heads != kv_heads}
        if page:
            options["block_table"] = table.to(torch.int32)
            keys = None
        else:
            keys = offsets * capacity
        rows = [q.flatten(0, 1), *(stored if page else (x.flatten(0, 1) for x in stored))]
        return Op(lambda q, k, v: varlen_attn(q, k, v, offsets, keys, 1, capacity, **options), rows, [], part).way()

    twin.ways["varlen"] = variable
    return twin
