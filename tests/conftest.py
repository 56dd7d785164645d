"""Settings shared by every test: one thread, and property tests that always draw the same cases."""

import sys
from pathlib import Path

import torch
from hypothesis import settings

# Tests import their shared strategies as `strategies`; importlib mode adds no folder by itself.
sys.path.append(str(Path(__file__).parent))

# One thread: on a busy two-core machine PyTorch's spinning workers cost far more than they give.
torch.set_num_threads(1)

settings.register_profile(
    "minirlhf", derandomize=True, max_examples=50, deadline=None, database=None
)
settings.load_profile("minirlhf")
