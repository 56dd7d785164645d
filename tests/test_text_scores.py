"""Scores of texts are the reward model's own, whatever else is in the batch."""

import pytest
import torch
from tiny_trainers import PAIRS, tiny_actor

from minirlhf import RewardModel
from minirlhf.data import encode_prompts, encode_responses, pad_prompts, pad_responses
from minirlhf.text_scores import scores_of


def test_scores_each_text_as_if_it_stood_alone():
    model = RewardModel.from_actor(tiny_actor(), seed=1)
    prompts = [row["prompt"] for row in PAIRS]
    texts = [row["chosen"] for row in PAIRS[:-1]] + ["the soup ."]
    together = scores_of(model, prompts, texts)
    for prompt, text, score in zip(prompts, texts, together, strict=True):
        batch = pad_prompts(encode_prompts(model.tokenizer, [prompt]), model.filler)
        response = pad_responses(encode_responses(model.tokenizer, [text]), model.filler)
        with torch.no_grad():
            assert float(model.scores(batch, *response)) == pytest.approx(score, abs=1e-5)
    assert len(set(together)) > 1
