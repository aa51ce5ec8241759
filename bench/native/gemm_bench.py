"""Matrix products of the CPU device against PyTorch's, alternately, best of several rounds.

Build the other side first:
  g++ -std=c++17 -O3 -fopenmp -fno-trapping-math -fno-math-errno -Inative native/cpu/gemm*.cc bench/native/gemm_bench.cc -ldnnl -o build/gemm_bench
Run with as many threads for both: OMP_NUM_THREADS=2 python bench/native/gemm_bench.py [--bf16-path amx] [--rows 64,4096] [--layers 512x512]
A layer is out x in features. forward: x W^T + b; dX: dY W; dW: dY^T x, added to the gradient.
"""

import argparse
import os
import subprocess
import time

import torch


def best_time(function, seconds):
    function()
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < seconds:
        begin = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - begin)
    return best * 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default="build/gemm_bench")
    parser.add_argument("--bf16-path", default="amx")
    parser.add_argument("--rows", default="1,7,64,1152,2048,4096")
    parser.add_argument("--layers", default="512x512,1536x512,2048x512,512x2048,8000x512")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.05, help="a side, a round")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count())))
    ours = subprocess.Popen([options.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_ours(words):
        ours.stdin.write(" ".join(map(str, words)) + "\n")
        ours.stdin.flush()
        return float(ours.stdout.readline())

    print(f"{'':34}{'ours us':>10}{'torch us':>10}{'GFLOP/s':>9}{'torch/ours':>11}")
    for dtype in options.dtypes.split(","):
        torch_dtype = torch.float32 if dtype == "f32" else torch.bfloat16
        for layer in options.layers.split(","):
            n, k = map(int, layer.split("x"))
            for m in map(int, options.rows.split(",")):
                x, w, dy = (torch.rand(s).to(torch_dtype) for s in ((m, k), (n, k), (m, n)))
                bias, dw = torch.rand(n).to(torch_dtype), torch.zeros(n, k, dtype=torch_dtype)
                products = {
                    "forward": ((m, n, k, 0, 1, 0), lambda: torch.nn.functional.linear(x, w, bias)),
                    "dX": ((m, k, n, 0, 0, 0), lambda: torch.mm(dy, w)),
                    "dW": ((n, k, m, 1, 0, 1), lambda: dw.addmm_(dy.t(), x)),
                }
                for name, (shape, theirs) in products.items():
                    *sizes, beta = shape
                    times = [[], []]
                    for _ in range(options.rounds):
                        times[0].append(run_ours([*sizes, dtype, dtype, beta, options.bf16_path, options.seconds]))
                        times[1].append(best_time(theirs, options.seconds))
                    a, b = min(times[0]), min(times[1])
                    rate = 2e-3 * m * n * k / a
                    print(f"{dtype:5}{name:8} rows {m:5} layer {layer:9}{a:10.1f}{b:10.1f}{rate:9.0f}{b / a:11.2f}", flush=True)
    ours.stdin.close()
    ours.wait()


if __name__ == "__main__":
    main()
