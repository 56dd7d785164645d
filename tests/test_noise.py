"""Random numbers from their indices alone: fixed for ever, evenly spread, independent."""

import itertools

import pytest
import torch

from minirlhf import noise
from minirlhf.noise import SAMPLING, key, permutation, uniform_noise

MASK = 2**64 - 1


def plain_mix(z: int) -> int:
    """splitmix64 of Steele, Lea & Flood 2014, on Python's integers."""
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def plain_key(*integers: int) -> int:
    state = 0
    for integer in integers:
        state = plain_mix((state + integer) & MASK)
    return state


@pytest.mark.parametrize("integers", [(0,), (1, 2, 3), (-1,), (2**63 - 1, -(2**63)), (0, 0, 0)])
def test_a_key_is_splitmix64_of_its_integers(integers: tuple[int, ...]) -> None:
    signed = key(*integers)
    assert signed & MASK == plain_key(*integers) and -(2**63) <= signed < 2**63
    # the published first output for seed 0
    assert plain_mix(0) == 0xE220A8397B1DCDAF


def test_noise_is_the_upper_53_bits() -> None:
    got = uniform_noise(7, SAMPLING, 3, rows=5, steps=4)
    for b, t in itertools.product(range(5), range(4)):
        row = plain_mix((plain_key(7, SAMPLING, 3) + b) & MASK)
        assert float(got[b, t]) == (plain_mix((row + t) & MASK) >> 11) * 2.0**-53


def test_known_values() -> None:
    """Pinned: a change here changes every run that was ever made."""
    assert (noise.SAMPLING, noise.PROMPT_ORDER, noise.MINIBATCH_ORDER) == (0, 1, 2)
    assert (noise.DATA_ORDER, noise.HEAD_INIT) == (3, 4)
    got = uniform_noise(0, SAMPLING, 0, rows=2, steps=2)
    assert got.dtype == torch.float64
    assert got.tolist() == [
        [0.47141042966848024, 0.6477578607352581],
        [0.16806180823156136, 0.5642969002092669],
    ]
    assert key(0, 1, 2) == -796165891153728636
    assert permutation(8, 0, noise.DATA_ORDER, 0) == [6, 1, 5, 0, 3, 7, 4, 2]


def test_indices_alone_decide() -> None:
    """Not the size of the batch, not the longest response, not what was drawn before."""
    large = uniform_noise(3, SAMPLING, 9, rows=20, steps=30)
    torch.manual_seed(0)
    assert torch.equal(uniform_noise(3, SAMPLING, 9, rows=4, steps=7), large[:4, :7])
    assert uniform_noise(3, SAMPLING, 9, rows=0, steps=7).shape == (0, 7)


def test_every_part_of_the_key_counts() -> None:
    wanted = [
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (2, 0, 0),
        (1, 1, 0),
        (0, 2, 1),
        (-1, 0, 0),
    ]
    numbers = [uniform_noise(*one, rows=3, steps=3).flatten() for one in wanted]
    assert torch.cat(numbers).unique().numel() == 9 * len(wanted)
    assert len({key(*one) for one in itertools.permutations(range(4))}) == 24


def distance(x: torch.Tensor) -> float:
    """Kolmogorov's: how far the empirical distribution is from the uniform one, times √n."""
    x = x.flatten().sort().values
    n = len(x)
    above = (torch.arange(1, n + 1) / n - x).max()
    below = (x - torch.arange(n) / n).max()
    return float(torch.maximum(above, below)) * n**0.5


@pytest.mark.parametrize(("rows", "steps"), [(40_000, 1), (1, 40_000), (200, 200)])
def test_numbers_are_evenly_spread(rows: int, steps: int) -> None:
    x = uniform_noise(11, SAMPLING, 5, rows=rows, steps=steps)
    assert 0.0 <= float(x.min()) and float(x.max()) < 1.0
    assert distance(x) < 1.95  # 0.1 % of honest samples are further away


def correlation(x: torch.Tensor, y: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1])


def test_neighbours_are_independent() -> None:
    """Along rows, steps, iterations, seeds and purposes; |r|·√n above 4 is one in 16,000."""
    n = 150
    x = uniform_noise(1, SAMPLING, 1, rows=n + 1, steps=n + 1)
    others = {
        "row": x[1:, :n],
        "step": x[:n, 1:],
        "diagonal": x[1:, 1:],
        "iteration": uniform_noise(1, SAMPLING, 2, rows=n, steps=n),
        "seed": uniform_noise(2, SAMPLING, 1, rows=n, steps=n),
        "purpose": uniform_noise(1, SAMPLING + 1, 1, rows=n, steps=n),
        "transposed": x[:n, :n].T.flip(0),
    }
    for name, other in others.items():
        assert abs(correlation(x[:n, :n], other)) * n < 4, name
        both = (x[:n, :n] + other) % 1.0  # uniform again, if they are independent
        assert distance(both) < 1.95, name


def test_a_permutation_is_one_and_all_are_alike_likely() -> None:
    orders = [permutation(3, 5, noise.DATA_ORDER, i) for i in range(1200)]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    counts = [orders.count(list(order)) for order in itertools.permutations(range(3))]
    assert sum((c - 200) ** 2 / 200 for c in counts) < 20.5  # chi-square, 5 degrees, 0.1 %
    assert permutation(50, 5, noise.DATA_ORDER) != permutation(50, 6, noise.DATA_ORDER)
    assert permutation(50, 5, noise.DATA_ORDER) != permutation(50, 5, noise.MINIBATCH_ORDER)
    assert permutation(0, 5, 1) == [] and permutation(1, 5, 1) == [0]
