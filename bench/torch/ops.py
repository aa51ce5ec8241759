"""Twins of single ops."""

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from twins import float_dtype


def ways_of(function, inputs, weights, backward, output_gradient=None):
    """Forward, or forward and backward of `function(*inputs, *weights)`."""
    if not backward:

        def forward():
            with torch.inference_mode():
                function(*inputs, *weights)

        return forward
    leaves = [t.requires_grad_() for t in (*inputs, *weights) if t.is_floating_point()]
    with torch.no_grad():
        sample = function(*inputs, *weights)
    dy = output_gradient if output_gradient is not None else torch.randn_like(sample)

    def both():
        for leaf in leaves:
            leaf.grad = None
        function(*inputs, *weights).backward(dy)

    return both


def rand(*shape, dtype):
    return torch.randn(*shape, dtype=torch.float32).to(dtype)


def linear(dtype, n, c, f, backward, activation="none", residual=False):
    dtype = float_dtype(dtype)
    x, w, b = rand(n, c, dtype=dtype), rand(f, c, dtype=dtype) * c**-0.5, rand(f, dtype=dtype)
    r = [rand(n, f, dtype=dtype)] if residual else []
    act = {"none": lambda y: y, "relu": F.relu, "gelu": F.gelu}[activation]

    def function(x, *rest):
        if residual:
            r, w, b = rest
            return act(F.linear(x, w, b)) + r
        w, b = rest
        return act(F.linear(x, w, b))

    return {"eager": ways_of(function, [x, *r], [w, b], backward)}


def qkv(dtype, n, c, heads, backward):
    dtype = float_dtype(dtype)
    x, w, b = rand(n, c, dtype=dtype), rand(3 * c, c, dtype=dtype) * c**-0.5, rand(3 * c, dtype=dtype)

    # q, k and v as views of one packed product: reshaping costs nothing, so the product is all.
    return {"packed": ways_of(F.linear, [x], [w, b], backward)}


def attention(dtype, batch, tokens, heads, head_dim, backward, causal=False, dropout=0.0):
    dtype = float_dtype(dtype)

    def projected():
        # as a module has it: [B, T, H, D] seen as [B, H, T, D]
        return rand(batch, tokens, heads, head_dim, dtype=dtype).transpose(1, 2)

    q, k, v = projected(), projected(), projected()
    ways = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH):

        def function(q, k, v):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=dropout)

        def forced(body, backend=backend):
            def run():
                with sdpa_kernel([backend]):
                    body()

            return run

        try:
            with sdpa_kernel([backend]):
                body = ways_of(function, [q, k, v], [], backward)
                body()
            ways[backend.name.lower()] = forced(body)
        except RuntimeError:
            pass  # this backend does not do the case on the CPU
    return ways


def feed_forward(dtype, n, c, f, activation, backward):
    dtype = float_dtype(dtype)
    x = rand(n, c, dtype=dtype)
    weights = [rand(f, c, dtype=dtype) * c**-0.5, rand(f, dtype=dtype), rand(c, f, dtype=dtype) * f**-0.5, rand(c, dtype=dtype)]
    act = {"relu": F.relu, "gelu": F.gelu}[activation]
    return {"eager": ways_of(lambda x, w1, b1, w2, b2: F.linear(act(F.linear(x, w1, b1)), w2, b2), [x], weights, backward)}


def layer_norm(dtype, n, c, backward, residual=False, dropout=0.0):
    dtype = float_dtype(dtype)
    x, weights = rand(n, c, dtype=dtype), [rand(c, dtype=dtype), rand(c, dtype=dtype)]
    if not residual:
        return {"eager": ways_of(lambda x, w, b: F.layer_norm(x, (c,), w, b), [x], weights, backward)}
    r = rand(n, c, dtype=dtype)
    return {"eager": ways_of(lambda x, r, w, b: F.layer_norm(r + F.dropout(x, dropout), (c,), w, b), [x, r], weights, backward)}


def rms_norm(dtype, n, c, backward, residual=False):
    dtype = float_dtype(dtype)
    x, weights = rand(n, c, dtype=dtype), [rand(c, dtype=dtype)]
    if not residual:
        return {"eager": ways_of(lambda x, w: F.rms_norm(x, (c,), w, 1e-6), [x], weights, backward)}
    r = rand(n, c, dtype=dtype)
    return {"eager": ways_of(lambda x, r, w: F.rms_norm(r + x, (c,), w, 1e-6), [x, r], weights, backward)}


def embedding(dtype, n, vocabulary, c, tokens, backward):
    dtype = float_dtype(dtype)
    ids = torch.randint(vocabulary, (n // tokens, tokens))
    table, positions = rand(vocabulary, c, dtype=dtype), rand(tokens, c, dtype=dtype)

    def function(table):
        return F.embedding(ids, table) * c**0.5 + positions

    return {"eager": ways_of(function, [], [table], backward)}


def cross_entropy(dtype, n, vocabulary, label_smoothing, backward):
    logits, targets = rand(n, vocabulary, dtype=float_dtype(dtype)), torch.randint(vocabulary, (n,))
    return {"eager": ways_of(lambda x: F.cross_entropy(x, targets, label_smoothing=label_smoothing), [logits], [], backward)}


def softmax(dtype, n, c, backward):
    return {"eager": ways_of(lambda x: F.softmax(x, -1), [rand(n, c, dtype=float_dtype(dtype))], [], backward)}


def log_softmax(dtype, n, c, backward):
    return {"eager": ways_of(lambda x: F.log_softmax(x, -1), [rand(n, c, dtype=float_dtype(dtype))], [], backward)}


def dropout(dtype, n, c, p, backward):
    return {"eager": ways_of(lambda x: F.dropout(x, p), [rand(n, c, dtype=float_dtype(dtype))], [], backward)}


def matmul(dtype, batch, m, k, n, backward):
    dtype = float_dtype(dtype)
    return {"eager": ways_of(torch.matmul, [rand(batch, m, k, dtype=dtype), rand(batch, k, n, dtype=dtype)], [], backward)}


def adamw(dtype, sizes):
    ways = {}
    for name, options in {"fused": {"fused": True}, "foreach": {"foreach": True}}.items():
        parameters = [torch.nn.Parameter(torch.randn(size)) for size in sizes]
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        ways[name] = torch.optim.AdamW(parameters, lr=1e-4, **options).step
    return ways


def clip_grad_norm(dtype, sizes):
    parameters = [torch.nn.Parameter(torch.randn(size)) for size in sizes]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    return {"foreach": lambda: torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)}
