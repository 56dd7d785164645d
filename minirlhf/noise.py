"""Random numbers that depend on what they are for, not on what was drawn before.

Every random choice of a run is a pure function of a few integers: the seed, what is being drawn,
the iteration, the row, the step. So the same seed gives the same noise on every device, for any
batch size and any response length, and a resumed run needs no saved generator: it goes on where the
counters say.

The function is splitmix64's finaliser applied to each integer in turn (Steele, Lea & Flood 2014,
"Fast splittable pseudorandom number generators"). 64-bit integer products wrap around alike
everywhere, which is all that it needs.
"""

import torch
from torch import Tensor

# what a number is drawn for; part of its key, so that two uses never share numbers
SAMPLING, PROMPT_ORDER, MINIBATCH_ORDER, DATA_ORDER, HEAD_INIT = range(5)
MONTE_CARLO, PREFERENCES, LORA_INIT = 5, 6, 7


def uniform_noise(
    seed: int, purpose: int, iteration: int, *, rows: int, steps: int, first_row: int = 0
) -> Tensor:
    """Uniform numbers in [0, 1), one for each row and step, from their indices alone.

    Args:
        seed: any integer.
        purpose: one of the constants above.
        iteration: counts batches.
        rows: number of rows, B.
        steps: number of steps, R.
        first_row: number of the first of these rows, where they are part of a larger batch.

    Returns:
        (rows, steps) float64 on the CPU; entry [b, t] depends on seed, purpose, iteration,
        first_row + b and t.
    """
    state = torch.tensor(key(seed, purpose, iteration))
    state = _mix(state + torch.arange(first_row, first_row + rows)[:, None])
    state = _mix(state + torch.arange(steps)[None, :])
    # the upper 53 bits fill a float64's mantissa
    return _shift_right(state, 11).double() * 2.0**-53


def permutation(n: int, seed: int, purpose: int, *counters: int) -> list[int]:
    """A random order of 0 … n−1, from the key alone."""
    generator = torch.Generator().manual_seed(key(seed, purpose, *counters))
    return torch.randperm(n, generator=generator).tolist()


def key(*integers: int) -> int:
    """One 64-bit number for a tuple of integers; it can seed any generator."""
    state = torch.tensor(0, dtype=torch.int64)
    for integer in integers:
        state = _mix(state + integer)
    return int(state)


def _mix(z: Tensor) -> Tensor:
    """splitmix64: add the golden ratio, then two rounds of xor-shift and multiply."""
    z = z + -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
    z = (z ^ _shift_right(z, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    z = (z ^ _shift_right(z, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return z ^ _shift_right(z, 31)


def _shift_right(z: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros (torch's >> copies the sign)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)
