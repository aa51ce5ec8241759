"""PyTorch's side of the benchmark: reads a JSON request a line, answers with a JSON line. Started by bench/torch.ts."""

import gc
import json
import os
import sys
import time
import traceback

# The answers go out on their own descriptor; whatever else prints, prints to stderr.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def answer(**fields):
    answers.write(json.dumps(fields) + "\n")


try:
    import torch
except ImportError as error:
    answer(error=f"PyTorch cannot be imported ({error})")
    sys.exit(0)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import twins  # noqa: E402

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.manual_seed(0)


def seconds_of(body, iterations):
    start = time.perf_counter()
    for _ in range(iterations):
        body()
    return (time.perf_counter() - start) / iterations


def fastest(ways):
    """The name of the fastest of several ways to do the same, by the best of three after a warm-up. Ways that PyTorch refuses are left out."""
    if len(ways) == 1:
        return next(iter(ways))
    times = {}
    refused = []
    for name, body in ways.items():
        try:
            body()
        except RuntimeError as error:
            refused.append(f"{name}: {error}")
            continue
        once = seconds_of(body, 1)
        iterations = max(1, min(20, int(0.05 / max(once, 1e-6))))
        times[name] = min(seconds_of(body, iterations) for _ in range(3))
    if not times:
        raise RuntimeError("; ".join(refused))
    return min(times, key=times.get)


def main():
    answer(torch=torch.__version__)
    body = None
    idle_since = time.perf_counter()
    idle_cpu = time.process_time()
    for line in sys.stdin:
        request = json.loads(line)
        idle_share = (time.process_time() - idle_cpu) / max(time.perf_counter() - idle_since, 1e-9)
        try:
            if "prepare" in request:
                ways, computed = twins.make(request["prepare"], request["args"])
                way = fastest(ways)
                body = ways[way]
                del ways
                gc.collect()
                reply = {"way": way, "answers": computed}
            elif "run" in request:
                gc.disable()
                before = time.process_time()
                seconds = seconds_of(body, request["run"])
                cpu = time.process_time() - before
                gc.enable()
                reply = {"seconds": seconds, "cpu": cpu, "idleShare": idle_share}
            else:
                body = None
                gc.collect()
                reply = {}
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        # From here to the next request this process has nothing to do. What spins on is counted from 20 ms after the answer's work ended.
        idle_since = time.perf_counter()
        idle_cpu = time.process_time()
        answer(**reply)


main()
