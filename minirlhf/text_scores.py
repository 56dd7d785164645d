"""The reward model's scores of responses that are given as texts."""

from collections.abc import Sequence

import torch

from minirlhf.data import encode_prompts, encode_responses, pad_prompts, pad_responses
from minirlhf.reward_model import RewardModel


@torch.no_grad()
def scores_of(
    reward_model: RewardModel, prompts: Sequence[str], texts: Sequence[str]
) -> list[float]:
    """Score each response as if it had ended by itself.

    Args:
        reward_model: reads all of them in one batch.
        prompts: N texts, at least 1.
        texts: N responses.

    Returns:
        N scores, reward units.
    """
    tokenizer = reward_model.tokenizer
    batch = pad_prompts(encode_prompts(tokenizer, prompts), reward_model.filler)
    ids, mask = pad_responses(encode_responses(tokenizer, texts), reward_model.filler)
    device = reward_model.device
    scores = reward_model.scores(batch.to(device), ids.to(device), mask.to(device))
    return [float(score) for score in scores]
