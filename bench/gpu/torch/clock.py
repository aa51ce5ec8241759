"""Where PyTorch's side computes, and how it is timed: by CUDA events, the L2 cache flushed before each sample."""

import gc

import stand_ins
import torch

# More than any L2 holds; writing it takes long enough that what follows is queued before it ends.
FLUSHED_BYTES = 512 << 20


class Clock:
    def __init__(self):
        self.dry = True
        self.device = torch.device("cpu")
        self.cuda = stand_ins
        self.scratch = None

    def use(self, device, index):
        """device: "cuda", or "cpu" for a rehearsal, in which stand-ins take the place of torch.cuda."""
        self.dry = device == "cpu"
        self.device = torch.device(device)
        self.cuda = stand_ins if self.dry else torch.cuda
        if not self.cuda.is_available():
            raise RuntimeError("PyTorch sees no GPU")
        self.cuda.set_device(index)
        self.scratch = torch.empty(4096 if self.dry else FLUSHED_BYTES, dtype=torch.uint8, device=self.device)

    def sample(self, way, count):
        """Milliseconds of what each of `count` calls of `way` hands to `timed`."""
        pairs = []

        def timed(body):
            begin, end = self.cuda.Event(enable_timing=True), self.cuda.Event(enable_timing=True)
            self.scratch.zero_()
            begin.record()
            result = body()
            end.record()
            pairs.append((begin, end))
            return result

        gc.disable()
        try:
            for _ in range(count):
                way(timed)
            self.cuda.synchronize()
        finally:
            gc.enable()
        assert len(pairs) == count, "a way must hand its part that counts to timed, once"
        return [begin.elapsed_time(end) for begin, end in pairs]

    def release(self):
        gc.collect()
        self.cuda.empty_cache()


clock = Clock()
