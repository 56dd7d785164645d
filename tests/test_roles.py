"""The four roles: what each reads, and from where; trained, frozen, copied, standardised."""

import pytest
import torch
from tiny_models import (
    PAD,
    PROMPT_IDS,
    RESPONSE_IDS,
    TOKENIZER,
    four_roles,
    plain_head_of,
    plain_log_probs,
    ragged,
    same_bits,
    shaped_actor,
    weights,
    wider,
)  # fmt: skip
from torch.testing import assert_close

from minirlhf import Critic, Prompts, Reference, RewardModel

# ------------------------------------------------------------------ what each one reads


@pytest.mark.parametrize("row", range(4))
def test_each_role_reads_the_slot_of_its_definition(row: int) -> None:
    """One row without padding: all that is left to get wrong is the slot."""
    four = four_roles()
    prompt, response = PROMPT_IDS[row], RESPONSE_IDS[row]
    x = Prompts(torch.tensor([prompt]), torch.ones(1, len(prompt), dtype=torch.bool))
    y, mask = torch.tensor([response]), torch.ones(1, len(response), dtype=torch.bool)
    before = slice(len(prompt) - 1, len(prompt) - 1 + len(response))
    reward_heads = plain_head_of(four.reward_model, prompt, response)
    assert_close(four.actor.log_probs(x, y)[0].detach(), plain_log_probs(four.actor, row))
    assert_close(four.reference.log_probs(x, y)[0], plain_log_probs(four.reference, row))
    values = plain_head_of(four.critic, prompt, response)[before]
    assert_close(four.critic.values(x, y)[0].detach(), values)
    assert_close(four.reward_model.scores(x, y, mask)[0].detach(), reward_heads[-1])
    for length in range(len(response)):  # 0: the prompt's last token
        score = four.reward_model.scores(x, y, torch.arange(len(response))[None] < length)
        assert_close(score[0].detach(), reward_heads[len(prompt) - 1 + length])


def test_logits_are_the_distribution_of_their_own_token() -> None:
    actor, (x, y, _) = shaped_actor(), ragged()
    logits = actor.logits(x, y)
    assert logits.shape == (*y.shape, len(TOKENIZER))
    # changing token t changes what is said from t + 1 on, and nothing before
    for t in range(y.shape[1]):
        other = y.clone()
        other[:, t] = (y[:, t] + 7) % len(TOKENIZER)
        changed = (actor.logits(x, other) - logits).abs().amax(dim=(0, 2)) > 1e-6
        assert changed.tolist() == [s > t for s in range(y.shape[1])]


def test_a_value_knows_nothing_of_its_own_token() -> None:
    critic, (x, y, _) = four_roles().critic, ragged()
    values = critic.values(x, y)
    for t in range(y.shape[1]):
        other = y.clone()
        other[:, t] = (y[:, t] + 7) % len(TOKENIZER)
        changed = (critic.values(x, other) - values).abs().amax(dim=0) > 1e-6
        assert changed.tolist() == [s > t for s in range(y.shape[1])]


def test_a_score_sees_the_last_counted_token_and_nothing_after() -> None:
    reward_model, (x, y, mask) = four_roles().reward_model, ragged()
    scores, lengths = reward_model.scores(x, y, mask), mask.sum(1)
    last = y.clone()
    last[range(4), lengths - 1] = 40
    assert ((reward_model.scores(x, last, mask) - scores).abs() > 1e-6).all()
    after = torch.where(mask, y, 41)
    assert_close(reward_model.scores(x, after, mask), scores, rtol=0, atol=0)


def test_temperature_divides_the_logits() -> None:
    actor, (x, y, mask) = shaped_actor(), ragged()
    for row in range(4):
        wanted = plain_log_probs(actor, row, temperature=0.5)
        got = actor.log_probs(x, y, temperature=0.5)[row][mask[row]].detach()
        assert_close(got, wanted, rtol=0, atol=1e-5)


def test_a_pad_token_inside_a_text_is_read_like_any_other() -> None:
    """The masks come from lengths: no id is special."""
    actor, (x, y, _) = shaped_actor(), ragged()
    x.prompt_ids[:, -1] = PAD
    y[:, 1] = PAD
    for row, prompt in enumerate(PROMPT_IDS):
        only = Prompts(x.prompt_ids[row : row + 1, -len(prompt) :], torch.ones(1, len(prompt)) > 0)
        alone = actor.log_probs(only, y[row : row + 1])
        assert_close(actor.log_probs(wider(x, 2), y)[row], alone[0], rtol=0, atol=1e-5)


# ------------------------------------------------------------------- trained and frozen


def test_dropout_is_never_on() -> None:
    """GPT-2's configuration drops a tenth of everything, but for the evaluation mode."""
    four, (x, y, mask) = four_roles(), ragged()
    assert four.actor.model.config.resid_pdrop == 0.1
    for role in four:
        role.train()
        assert not any(module.training for module in role.modules())
    assert torch.equal(four.actor.log_probs(x, y), four.actor.log_probs(x, y))
    assert torch.equal(four.reward_model.scores(x, y, mask), four.reward_model.scores(x, y, mask))


def test_freezing_ends_all_training() -> None:
    reward_model, (x, y, mask) = four_roles().reward_model, ragged()
    reward_model.scores(x, y, mask).sum().backward()
    assert reward_model.trainable and reward_model.model.score.weight.grad is not None
    assert reward_model.freeze() is reward_model and not reward_model.trainable
    assert all(p.grad is None and not p.requires_grad for p in reward_model.parameters())
    assert not reward_model.scores(x, y, mask).requires_grad


def test_the_reference_is_a_frozen_copy() -> None:
    actor, (x, y, _) = shaped_actor(), ragged()
    reference = Reference.from_actor(actor)
    assert actor.trainable and not reference.trainable
    before = reference.log_probs(x, y)
    assert not before.requires_grad and torch.equal(before, actor.log_probs(x, y))
    with torch.no_grad():
        for parameter in actor.parameters():
            parameter.add_(0.1)
    assert torch.equal(reference.log_probs(x, y), before)
    reference.requires_grad_(True)  # even then, no gradient comes through it
    assert not reference.log_probs(x, y).requires_grad


def test_the_critic_is_a_trainable_copy_even_of_a_frozen_reward_model() -> None:
    reward_model, (x, y, mask) = four_roles().reward_model.freeze(), ragged()
    critic = Critic.from_reward_model(reward_model)
    assert critic.trainable and not reward_model.trainable
    assert all(p.requires_grad for p in critic.parameters())
    before = reward_model.scores(x, y, mask)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.add_(0.1)
    assert torch.equal(reward_model.scores(x, y, mask), before)


# ------------------------------------------------------------------------ reward scores


@pytest.mark.parametrize("times", [1, 2])
def test_standardised_scores_have_mean_0_and_std_1(times: int) -> None:
    reward_model, (x, y, mask) = four_roles(spread=7).reward_model, ragged()
    raw = reward_model.scores(x, y, mask).detach()
    for _ in range(times):  # a second time changes nothing
        reward_model.standardise(reward_model.scores(x, y, mask))
    scores = reward_model.scores(x, y, mask).detach()
    assert_close(scores.mean(), torch.tensor(0.0), rtol=0, atol=1e-5)
    assert_close(scores.std(correction=0), torch.tensor(1.0), rtol=0, atol=1e-5)
    assert_close(scores, (raw - raw.mean()) / raw.std(correction=0), rtol=0, atol=1e-4)


def test_scores_that_do_not_vary_cannot_be_standardised() -> None:
    reward_model = four_roles().reward_model
    before = weights(reward_model)
    for scores in (torch.ones(5), torch.ones(1), torch.ones(0), torch.tensor([1.0, torch.nan])):
        with pytest.raises(ValueError, match=f"cannot standardise {len(scores)} scores"):
            reward_model.standardise(scores)
    assert same_bits(before, weights(reward_model)) and reward_model.score_shift == 0.25


def test_a_reward_model_has_the_actors_trunk_and_a_fresh_head() -> None:
    actor = shaped_actor()
    one, same, other = (RewardModel.from_actor(actor, seed=seed) for seed in (3, 3, 4))
    for role in (one, other):
        trunk = role.model.base_model.state_dict()
        assert trunk.keys() == actor.model.base_model.state_dict().keys()
        assert all(torch.equal(w, actor.model.base_model.state_dict()[k]) for k, w in trunk.items())
    assert same_bits(weights(one), weights(same)) and not same_bits(weights(one), weights(other))
    assert one.score_shift == 0.0 and one.model.config.num_labels == 1
    heads = [RewardModel.from_actor(actor, seed=s).model.score.weight for s in range(60)]
    spread = torch.stack(heads).std().item() * (16 + 1) ** 0.5  # N(0, 1/√(H+1)); 960 numbers
    assert 0.9 < spread < 1.1
    with torch.no_grad():
        one.model.base_model.wte.weight.add_(1.0)
    assert not torch.equal(one.model.base_model.wte.weight, actor.model.transformer.wte.weight)


def test_the_references_alternatives_are_its_likeliest_tokens() -> None:
    actor, (x, y, _) = shaped_actor(), ragged()
    ids, nats = Reference.from_actor(actor).alternatives(x, y, 3, temperature=2.0)
    everything = (actor.logits(x, y) / 2.0).log_softmax(dim=-1).detach()
    assert ids.shape == nats.shape == (*y.shape, 3) and not nats.requires_grad
    assert_close(nats, everything.gather(2, ids), rtol=0, atol=1e-5)
    assert_close(nats, everything.sort(descending=True).values[..., :3], rtol=0, atol=1e-5)
