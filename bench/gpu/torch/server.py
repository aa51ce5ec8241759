"""PyTorch's side of the benchmark on the GPU. Started by bench/gpu/torch.ts."""

import argparse
import importlib
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "torch"))
from protocol import import_torch, serve  # noqa: E402

torch = import_torch()
from clock import clock  # noqa: E402
from data import data  # noqa: E402


def refusals():
    """What a way may refuse with: a backend that does not do the case, or too little memory. A rehearsal is for finding the rest."""
    return (RuntimeError, NotImplementedError) if clock.dry else Exception


def make(name, args, compared):
    """The twin `module.function`."""
    module, function = name.split(".")
    data.begin(compared)
    return getattr(importlib.import_module(module), function)(**args)


class Server:
    def __init__(self):
        self.way = None

    def prepare(self, name, args, compared, compile):
        twin = make(name, args, compared)
        answers = twin.answers() if compared and twin.answers else None
        made, times, refused = {}, {}, {}

        def attempt(makers):
            for way_name, maker in makers.items():
                try:
                    way = maker()
                    clock.sample(way, 2)
                    times[way_name] = 1000 * min(clock.sample(way, 1 if clock.dry else 5))
                    made[way_name] = way
                except refusals() as error:
                    refused[way_name] = f"{type(error).__name__}: {error}".strip().split("\n")[0][:200]
                    clock.release()

        attempt({**twin.ways, **(twin.compiled if compile else {})})
        if not made:
            attempt(twin.last_resort)
        if twin.compiled and not compile:
            refused.update({way_name: "not tried" for way_name in twin.compiled})
        if not made:
            raise RuntimeError("; ".join(f"{way_name}: {reason}" for way_name, reason in refused.items()))
        best = min(times, key=times.get)
        self.way = made[best]
        return {"way": best, "ways": {key: float(f"{value:.4g}") for key, value in times.items()}, "refused": refused, "answers": answers}

    def compile(self, name, args, compared):
        """Runs the compiled ways once, so that inductor's cache on disk holds them."""
        start = time.perf_counter()
        for maker in make(name, args, compared).compiled.values():
            try:
                clock.sample(maker(), 1)
            except refusals() as error:
                print(f"{name}: {error}")
        self.release()
        return {"seconds": time.perf_counter() - start}

    def release(self):
        self.way = None
        torch._dynamo.reset()
        clock.release()
        return {}

    def handle(self, request):
        if "prepare" in request:
            self.release()
            return self.prepare(request["prepare"], request["args"], request["compared"], request["compile"])
        if "sample" in request:
            return {"milliseconds": clock.sample(self.way, request["sample"])}
        if "compile" in request:
            return self.compile(request["compile"], request["args"], request["compared"])
        return self.release()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cuda", "cpu"], required=True)
    parser.add_argument("--index", type=int, default=0)
    where = parser.parse_args()
    torch.manual_seed(0)
    from protocol import answer

    try:
        clock.use(where.device, where.index)
    except RuntimeError as error:
        answer(error=str(error))
        return
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda or "", "cudnn": str(torch.backends.cudnn.version() or "")}
    serve(Server().handle, device=clock.cuda.get_device_name(), **versions)


main()
