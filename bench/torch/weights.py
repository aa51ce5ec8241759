"""Our weights, as bench/weights.ts writes them."""

import json
import math

import torch


def load(path):
    """The tensors of a safetensors file: a length, a JSON header, the data."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    kinds = {"F32": torch.float32, "BF16": torch.bfloat16}
    return {
        key: torch.frombuffer(data, dtype=kinds[entry["dtype"]], offset=entry["data_offsets"][0], count=math.prod(entry["shape"]))
        .reshape(entry["shape"])
        .float()
        for key, entry in header.items()
    }
