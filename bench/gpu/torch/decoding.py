"""Twins of bench/gpu/decoding.ts."""

from attention import by_backend, sdpa
from data import data
from ways import Op


def full_cache(batch, length, heads, kv_heads, dim, part):
    q = data.random(batch, 1, heads, dim)
    k, v = (data.random(batch, length, kv_heads, dim) for _ in range(2))
    grouped = heads != kv_heads
    twin = by_backend(Op(lambda q, k, v: sdpa(q, k, v, enable_gqa=grouped), [q, k, v], [], part))
    if grouped:
        # Query heads that share keys as rows of one product: without a mask one token's heads are as good as tokens.
        def joined(q, k, v):
            rows = q.unflatten(2, (kv_heads, -1)).squeeze(1).transpose(1, 2)
            return sdpa(rows, k, v).transpose(1, 2).flatten(1, 2).unsqueeze(1)

        for name, way in by_backend(Op(joined, [q, k, v], [], part)).ways.items():
            twin.ways[f"{name}, groups as rows"] = way
    return twin
