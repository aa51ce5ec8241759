"""Twins of bench/gpu/attention.ts: scaled_dot_product_attention with each of its backends forced."""

import torch.nn.functional as F
from data import data
from torch.nn.attention import SDPBackend, sdpa_kernel
from ways import Op, Twin

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cuDNN": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}


def forced(op, backend):
    """The whole iteration under the backend: backward follows what forward chose."""
    way = op.way()

    def run(timed):
        with sdpa_kernel([backend]):
            way(timed)

    return run


def by_backend(op):
    """A twin with a way for each backend. The one of plain operations, which stores the whole matrix of weights, only where no other goes."""
    ways = {name: (lambda backend=backend: forced(op, backend)) for name, backend in BACKENDS.items()}
    return Twin(ways, answers=op.answers, last_resort={"math": lambda: forced(op, SDPBackend.MATH)})


def sdpa(q, k, v, **options):
    """On [B, T, H, D], as projections leave it."""
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), **options).transpose(1, 2)


def dense(batch, tokens, heads, kv_heads, dim, causal, dropout, part):
    q = data.random(batch, tokens, heads, dim)
    k, v = (data.random(batch, tokens, kv_heads, dim) for _ in range(2))
    options = {"is_causal": causal, "dropout_p": dropout, "enable_gqa": heads != kv_heads}
    return by_backend(Op(lambda q, k, v: sdpa(q, k, v, **options), [q, k, v], [], part))
