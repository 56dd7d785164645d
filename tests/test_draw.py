"""Drawing from the softmax: each token of the vocabulary with its own probability, rare or not."""

import pytest
import torch

from minirlhf.generation import draw


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_token_is_drawn_with_its_probability(dtype: torch.dtype) -> None:
    """Noise on an even grid: how often a token comes is its probability, to one point."""
    points = 100_000
    pi = torch.tensor([0.3, 1e-4, 0.25, 0.2, 0.1, 0.1, 0.0499, 0.0], dtype=dtype)
    noise = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    tokens = draw(pi.log().expand(points, -1), noise)
    share = torch.bincount(tokens, minlength=len(pi)) / points
    assert (share - pi).abs().max() <= 1.5 / points
    assert share[1] > 0 and share[-1] == 0
