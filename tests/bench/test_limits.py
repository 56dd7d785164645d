"""The machine's limits are positive numbers; kernels are counted from a profiler's events."""

from types import SimpleNamespace

import pytest
import torch

from minirlhf.bench import limits
from minirlhf.bench.limits import Kernels, count, kernels_per_step, launch_share, machine_limits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_limits_are_measured(dtype):
    found = machine_limits(torch.device("cpu"), dtype)
    assert found["bytes_per_second"] > 1e6 and found["flops_per_second"] > 1e6


def event(kind, microseconds, annotation=False):
    return SimpleNamespace(
        device_type=SimpleNamespace(name=kind),
        is_user_annotation=annotation,
        time_range=SimpleNamespace(elapsed_us=lambda: microseconds),
    )


def test_only_what_ran_on_the_gpu_counts():
    events = [event("CPU", 900), event("CUDA", 3), event("CUDA", 5), event("CUDA", 99, True)]
    found = count(events)
    assert found.count == 2 and found.seconds == pytest.approx(8e-6)


def test_a_step_is_the_difference_between_long_and_short(monkeypatch):
    """A prompt's 50 kernels of 9 µs are in both; each further token brings 7 of 2 µs."""
    asked = []

    def profiled(generate, tokens):
        asked.append(tokens)
        return [event("CUDA", 9)] * 50 + [event("CUDA", 2)] * (7 * tokens)

    monkeypatch.setattr(limits, "profiled", profiled)
    found = kernels_per_step(lambda tokens: None)
    assert found.count == 7 and found.seconds == pytest.approx(14e-6)
    assert asked == [2, 6]


def test_the_launch_share_is_the_time_without_a_kernel():
    assert launch_share(Kernels(300, 0.001), 0.004) == pytest.approx(0.75)
    assert launch_share(Kernels(300, 0.005), 0.004) == 0.0  # kernels may overlap
