"""PyTorch's side of the benchmark on the CPU. Started by bench/torch.ts."""

import gc
import os
import time

from protocol import import_torch, serve

torch = import_torch()
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


class Server:
    def __init__(self):
        self.body = None
        self.rest()

    def rest(self):
        """From here to the next request this process has nothing to do: what it uses of the processors then is counted."""
        self.idle_since = time.perf_counter()
        self.idle_cpu = time.process_time()

    def handle(self, request):
        idle_share = (time.process_time() - self.idle_cpu) / max(time.perf_counter() - self.idle_since, 1e-9)
        try:
            return self.do(request, idle_share)
        finally:
            self.rest()

    def do(self, request, idle_share):
        if "prepare" in request:
            ways, computed = twins.make(request["prepare"], request["args"])
            way = fastest(ways)
            self.body = ways[way]
            del ways
            gc.collect()
            return {"way": way, "answers": computed}
        if "run" in request:
            gc.disable()
            before = time.process_time()
            seconds = seconds_of(self.body, request["run"])
            cpu = time.process_time() - before
            gc.enable()
            return {"seconds": seconds, "cpu": cpu, "idleShare": idle_share}
        self.body = None
        gc.collect()
        return {}


serve(Server().handle, torch=torch.__version__)
