"""From probabilities and uniform noise to tokens: as often as they are likely, and never if not."""

import pytest
import torch

from minirlhf.generation import draw
from minirlhf.noise import SAMPLING, uniform_noise

NOISE = uniform_noise(5, SAMPLING, 2, rows=4, steps=12)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    pi = torch.tensor([0.05, 0.4, 0.0, 0.3, 0.001, 0.249])
    n = 20_000
    noise = uniform_noise(1, SAMPLING, 0, rows=n, steps=1)[:, 0]
    drawn = draw(pi.log().expand(n, -1), noise).bincount(minlength=6)
    possible = pi > 0
    expected = n * pi[possible]
    chi_square = float(((drawn[possible] - expected) ** 2 / expected).sum())
    assert drawn[2] == 0 and chi_square < 18.5  # 4 degrees of freedom: 0.1 % lie above
    grid = (torch.arange(n) + 0.5) / n  # evenly spread noise: every count is right within 1
    counts = draw(pi.log().expand(n, -1), grid.double()).bincount(minlength=6)
    assert ((counts - n * pi).abs() <= 1).all()


@pytest.mark.parametrize("forbidden", [[0], [5], [0, 5], [0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_token_of_probability_0_is_never_drawn(forbidden: list[int], dtype: torch.dtype) -> None:
    logits = torch.linspace(-3, 2, 6, dtype=dtype)
    logits[forbidden] = -torch.inf
    edges = torch.tensor([0.0, 1 - 2.0**-53, 2.0**-53, 0.5], dtype=torch.float64)
    noise = torch.cat([edges, NOISE.flatten()])
    drawn = draw(logits.log_softmax(-1).expand(len(noise), -1), noise)
    assert not set(drawn.tolist()) & set(forbidden)
    assert draw(logits.log_softmax(-1)[None], noise[1:2]).item() < 6


def test_rare_tokens_of_a_large_vocabulary_are_not_rounded_away() -> None:
    """Each of the last 1,000 of 200,000 tokens has probability 1e-8; together 1e-5."""
    pi = torch.full((200_000,), 1e-8, dtype=torch.float64)
    pi[:199_000] = (1 - 1e-5) / 199_000
    noise = 1 - 1e-5 + 1e-8 * (torch.arange(0, 1000, 100) + 0.5).double()
    drawn = draw(pi.log().float().expand(10, -1), noise)
    assert ((drawn - torch.arange(199_000, 200_000, 100)).abs() <= 2).all(), drawn
