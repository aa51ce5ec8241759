"""A server's end of bench/python.ts: a JSON request a line, a JSON line back."""

import json
import os
import sys
import traceback

# The answers go out on their own descriptor; whatever else prints, prints to stderr.
_answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def answer(**fields):
    _answers.write(json.dumps(fields) + "\n")


def import_torch():
    """Says so and ends where it cannot be imported."""
    try:
        import torch
    except ImportError as error:
        answer(error=f"PyTorch cannot be imported ({error})")
        sys.exit(0)
    return torch


def serve(handle, **hello):
    """Greets, then answers each request with what `handle` makes of it, or with its error."""
    answer(**hello)
    for line in sys.stdin:
        try:
            reply = handle(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        answer(**reply)
