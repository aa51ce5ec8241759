"""What the benchmark uses of torch.cuda, for a machine without a GPU: a rehearsal runs the same lines."""

import contextlib
import time


class Event:
    def __init__(self, enable_timing=False):
        self.time = 0.0

    def record(self, stream=None):
        self.time = time.perf_counter()

    def elapsed_time(self, end):
        return 1000 * (end.time - self.time)


class Stream:
    def wait_stream(self, other):
        pass


class CUDAGraph:
    def replay(self):
        pass


def stream(_):
    return contextlib.nullcontext()


def graph(_):
    return contextlib.nullcontext()


def current_stream():
    return Stream()


def synchronize():
    pass


def empty_cache():
    pass


def is_available():
    return True


def set_device(_):
    pass


def get_device_name():
    return "the CPU, as a rehearsal"
