"""A twin is what PyTorch does in a row: its ways to do it, by name, and what it computes. A way is a function of `timed`, to which it hands the part that
counts."""

import torch
from clock import clock
from data import data, digest


class Twin:
    """ways: name -> a function that makes the way, so that one which does not exist here refuses by itself. compiled: those through torch.compile.
    last_resort: those that count only where all others refuse."""

    def __init__(self, ways, compiled=None, answers=None, last_resort=None):
        self.ways = ways
        self.compiled = compiled or {}
        self.answers = answers
        self.last_resort = last_resort or {}


def compiled(function, mode=None):
    """In a rehearsal without inductor, which would spend minutes on C++."""
    if clock.dry:
        return torch.compile(function, dynamic=False, backend="aot_eager")
    return torch.compile(function, dynamic=False, mode=mode)


def graphed(body):
    """`body` as a CUDA graph, to be replayed."""
    stream = clock.cuda.Stream()
    stream.wait_stream(clock.cuda.current_stream())
    with clock.cuda.stream(stream):
        for _ in range(3):
            body()
    clock.cuda.current_stream().wait_stream(stream)
    graph = clock.cuda.CUDAGraph()
    with clock.cuda.graph(graph):
        body()
    # A rehearsal's graph holds nothing.
    return (lambda: (graph.replay(), body())) if clock.dry else graph.replay


def listed(results):
    return list(results) if isinstance(results, (tuple, list)) else [results]


class Op:
    """`function(*inputs, *weights)`: forward, or backward alone, or both. Gradients are assigned, as with set_to_none."""

    def __init__(self, function, inputs, weights, part, packed=False):
        self.function = function
        self.args = [*inputs, *weights]
        self.part = part
        self.gradients = []
        if part != "forward":
            with torch.no_grad():
                shapes = [y.shape for y in listed(function(*self.args))]
            if packed:
                widths = [shape[-2] * shape[-1] for shape in shapes]
                whole = data.random(*shapes[0][:-2], sum(widths))
                self.gradients = [g.reshape(shape) for g, shape in zip(whole.split(widths, -1), shapes)]
            else:
                self.gradients = [data.random(*shape) for shape in shapes]
            self.leaves = [t.requires_grad_() for t in self.args if t.is_floating_point()]

    def back(self, outputs):
        return torch.autograd.grad(outputs, self.leaves, self.gradients)

    def way(self, function=None):
        function = function or self.function
        if self.part == "forward":

            def forward(timed):
                with torch.no_grad():
                    timed(lambda: function(*self.args))

            return forward
        if self.part == "both":
            return lambda timed: timed(lambda: self.back(listed(function(*self.args))))

        def backward(timed):
            outputs = listed(function(*self.args))
            timed(lambda: self.back(outputs))

        return backward

    def answers(self):
        if self.part == "forward":
            with torch.no_grad():
                return [digest(y) for y in listed(self.function(*self.args))]
        return [digest(g) for g in self.back(listed(self.function(*self.args)))]

    def twin(self, name="eager", compile=True):
        ways = {name: self.way}
        return Twin(ways, {"compile": lambda: self.way(compiled(self.function))} if compile else {}, self.answers)
