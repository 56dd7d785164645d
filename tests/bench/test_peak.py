"""Peak memory is that of one program alone."""

import sys

import pytest
import torch

from minirlhf.bench import machine
from minirlhf.bench.peak import Work, peak_alone, run
from minirlhf.config import PPOConfig

CPU = torch.device("cpu")
WORK = Work(
    PPOConfig(batch_size=2, minibatch_size=2, max_response_tokens=2, ppo_epochs=1), "cafe", 4, "cpu"
)


def test_a_process_of_its_own_tells_its_peak():
    found = peak_alone("ours", WORK)
    assert 50 < found["before"] <= found["peak"]


@pytest.mark.parametrize("program", ["ours", "floor", "trl"])
def test_every_program_runs_alone(program):
    if program == "trl":
        pytest.importorskip("trl")
    assert run(program, WORK)["peak"] > 50


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a process's peak")
def test_a_forgotten_peak_begins_anew():
    big = torch.zeros(2**26)  # 256 MiB
    assert big.sum() == 0.0
    held = machine.peak_memory_mib(CPU)
    del big
    machine.forget_peak(CPU)
    assert machine.peak_memory_mib(CPU) < held - 200
