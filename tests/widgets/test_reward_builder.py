"""The reward builder from Python."""

import pytest
import torch
import traitlets
from tiny_models import TOKENIZER, four_roles, four_trainer

from minirlhf import PPOConfig
from minirlhf.widgets.live import strings
from minirlhf.widgets.reward_builder import STEPS, RewardBuilder

CONFIG = PPOConfig(kl_coef=0.3, score_clip=1.0, missing_eos_penalty=0.5)


@pytest.fixture(scope="module")
def rollout():
    trainer = four_trainer(
        four_roles(spread=3), max_response_tokens=5, kl_coef=0.3, score_clip=1.0,
        missing_eos_penalty=0.5,
    )  # fmt: skip
    return next(iter(trainer)).rollout


def test_builds_the_rollout_s_own_rewards(rollout):
    assert rollout.ended.any() and not rollout.ended.all()
    for row, length in enumerate(rollout.lengths.tolist()):
        widget = RewardBuilder(rollout, TOKENIZER, config=CONFIG, row=row)
        assert widget.rewards() == pytest.approx(rollout.rewards[row, :length].tolist(), abs=1e-5)
        penalty = 0.0 if widget.ended else 0.5
        assert widget.score == pytest.approx(float(rollout.scores[row]) + penalty)


def test_traits_change_the_rewards(rollout):
    row = int(rollout.ended.int().argmin())
    widget = RewardBuilder(rollout, TOKENIZER, config=CONFIG, row=row)
    widget.score, widget.score_clip = 9.0, None
    cut = widget.rewards()
    widget.ended = True
    assert widget.rewards()[-1] - cut[-1] == pytest.approx(0.5)
    widget.kl_coef = 0.0
    assert widget.rewards() == [0.0] * (len(cut) - 1) + [9.0]


def test_tells_in_words_and_in_a_picture(rollout):
    widget = RewardBuilder(rollout, TOKENIZER, config=CONFIG, step=2)
    assert "step 3 of 5, toll" in repr(widget)
    assert widget.picture()._repr_png_()[0].startswith(b"\x89PNG")
    assert all(f"reward_builder.what.{step}" in strings() for step in range(len(STEPS)))


def test_keeps_its_own_copy(rollout):
    widget = RewardBuilder(rollout, TOKENIZER, config=CONFIG)
    before = widget.rewards()
    kept = rollout.old_log_probs.clone()
    rollout.old_log_probs.zero_()
    assert widget.rewards() == before
    rollout.old_log_probs.copy_(kept)
    assert torch.equal(rollout.old_log_probs, kept)


def test_refuses_what_is_not_there(rollout):
    with pytest.raises(ValueError, match="row 9 of a rollout"):
        RewardBuilder(rollout, TOKENIZER, row=9)
    for trait, value in (("step", 5), ("kl_coef", -1.0), ("score_clip", 0.0)):
        with pytest.raises(traitlets.TraitError):
            RewardBuilder(rollout, TOKENIZER, **{trait: value})
