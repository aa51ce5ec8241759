"""Attention of the CPU device against PyTorch's scaled_dot_product_attention, alternately, best of several rounds.

Build the other side first (one instruction set, as the addon compiles it):
  g++ -std=c++17 -O3 -fopenmp -march=x86-64-v4 -mprefer-vector-width=512 -fno-trapping-math -fno-math-errno -ffp-contract=fast -DTILEWISE_ISA=avx512 \\
    -Inative native/cpu/ops/attention*.cc bench/native/attention_bench.cc -o build/attention_bench
Run with as many threads for both: OMP_NUM_THREADS=2 python bench/native/attention_bench.py [--dtypes f32] [--only causal]
Both sides work on views of one packed projection. "ragged": ours skips the padding, PyTorch masks it. PyTorch's backward alone is timed,
its gradients of q, k and v, without what it adds them to.
"""

import argparse
import os
import random
import subprocess
import time

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa


def best_time(function, seconds):
    function()
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
    return best * 1e6


def ragged_lengths(batch, longest, mean):
    """Lengths up to `longest` whose mean is `mean`, one of them the longest."""
    generator = random.Random(1)
    lengths = [longest] + [generator.randint(1, longest) for _ in range(batch - 1)]
    while sum(lengths) > mean * batch:
        i = generator.randrange(1, batch)
        lengths[i] = max(1, lengths[i] - 1)
    while sum(lengths) < mean * batch:
        i = generator.randrange(1, batch)
        lengths[i] = min(longest, lengths[i] + 1)
    return lengths


# name: batch, queries, keys, heads, kv heads, dim, causal, dropout, mean length of ragged sequences
PROBLEMS = {
    "B32 T64": (32, 64, 64, 8, 8, 64, 0, 0, None),
    "B32 T64 causal": (32, 64, 64, 8, 8, 64, 1, 0, None),
    "B32 T64 ragged 45% padding": (32, 64, 64, 8, 8, 64, 0, 0, 35.2),
    "B32 T24 ragged 30% padding": (32, 24, 24, 8, 8, 64, 0, 0, 16.8),
    "B8 T512": (8, 512, 512, 8, 8, 64, 0, 0, None),
    "B8 T512 causal": (8, 512, 512, 8, 8, 64, 1, 0, None),
    "B8 T512 ragged 45% padding": (8, 512, 512, 8, 8, 64, 0, 0, 281.6),
    "B8 T512 dropout": (8, 512, 512, 8, 8, 64, 0, 0.1, None),
    "B1 T2048 causal": (1, 2048, 2048, 8, 8, 64, 1, 0, None),
    "B2 T512 D128 8:2 heads": (2, 512, 512, 8, 2, 128, 1, 0, None),
    "decode B8 K512": (8, 1, 512, 8, 8, 64, 0, 0, None),
    "decode B1 K4096": (1, 1, 4096, 8, 8, 64, 0, 0, None),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/attention_bench")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--only", default="", help="problems whose name contains this")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.1, help="a side, a direction, a round")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    ours = subprocess.Popen([options.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_ours(words):
        ours.stdin.write(" ".join(map(str, words)) + "\n")
        ours.stdin.flush()
        return map(float, ours.stdout.readline().split())

    print(f"{'':40}{'ours us':>10}{'torch us':>10}{'GFLOP/s':>9}{'torch/ours':>11}")
    for dtype in options.dtypes.split(","):
        torch_dtype = torch.float32 if dtype == "f32" else torch.bfloat16
        for name, (batch, tq, tk, heads, kv_heads, dim, causal, dropout, mean) in PROBLEMS.items():
            if options.only not in name:
                continue
            lengths = ragged_lengths(batch, tk, mean) if mean else None
            packed = torch.randn(batch, tk, heads + 2 * kv_heads, dim, dtype=torch_dtype, requires_grad=True)
            q, k, v = (x.transpose(1, 2) for x in packed.split((heads, kv_heads, kv_heads), 2))
            if tq != tk:
                q = torch.randn(batch, tq, heads, dim, dtype=torch_dtype, requires_grad=True).transpose(1, 2)
            mask = torch.arange(tk)[None, None, None, :] < torch.tensor(lengths)[:, None, None, None] if lengths else None
            call = lambda: sdpa(q, k, v, attn_mask=mask, is_causal=bool(causal), dropout_p=dropout, enable_gqa=heads != kv_heads)

            def forward():
                with torch.no_grad():
                    call()

            output = call()
            gradient = torch.randn_like(output)
            backward = lambda: torch.autograd.grad(output, (q, k, v), gradient, retain_graph=True)
            best = [[float("inf")] * 2, [float("inf")] * 2]
            words = [dtype, batch, tq, tk, heads, kv_heads, dim, causal, dropout, ",".join(map(str, lengths)) if lengths else "-", options.seconds]
            for _ in range(options.rounds):
                for i, microseconds in enumerate(run_ours(words)):
                    best[0][i] = min(best[0][i], microseconds)
                for i, function in enumerate((forward, backward)):
                    best[1][i] = min(best[1][i], best_time(function, options.seconds))
            pairs = sum(length * length for length in lengths) if lengths else batch * tq * tk
            if causal:
                pairs /= 2
            for i, (direction, flops) in enumerate((("forward", 4), ("backward", 10))):
                a, b = best[0][i], best[1][i]
                print(f"{dtype:5}{name:27}{direction:8}{a:10.1f}{b:10.1f}{flops * 1e-3 * pairs * heads * dim / a:9.0f}{b / a:11.2f}", flush=True)
    ours.stdin.close()
    ours.wait()


if __name__ == "__main__":
    main()
