"""Ensembles in the café: one member, the mean and the minimum are read as they should be."""

import pytest
import torch
from tiny_trainers import tiny_actor

from minirlhf import RewardEnsemble, RewardModel
from minirlhf.data import encode_prompts, pad_prompts
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import ensembles, recipe
from minirlhf.worlds.cafe.ensembles import as_reward, over_optimise


def models() -> list[RewardModel]:
    return [RewardModel.from_actor(tiny_actor(), seed=i).freeze() for i in range(2)]


@pytest.mark.parametrize("way", ["mean", "min"])
def test_an_ensembles_scores_are_standardised_over_the_actors_answers(way: str) -> None:
    actor, members = tiny_actor(), models()
    reward = as_reward(actor, members, way)
    assert isinstance(reward, RewardEnsemble) and reward.reduce == way
    asked = encode_prompts(actor.tokenizer, recipe.repeat_prompts(512))
    prompts = pad_prompts(asked, actor.filler)
    written = actor.generate(prompts, max_response_tokens=cafe.MAX_RESPONSE_TOKENS)
    scores = reward.scores(prompts, written.response_ids, written.response_mask)
    assert float(scores.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(scores.std(correction=0)) == pytest.approx(1.0, abs=1e-4)


def test_one_model_is_the_first_and_other_ways_are_refused() -> None:
    members = models()
    assert as_reward(tiny_actor(), members, "one model") is members[0]
    with pytest.raises(ValueError, match="way must be one of one model, mean, min; got 'max'"):
        as_reward(tiny_actor(), members, "max")


def test_the_actor_given_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = []

    def member(actor: object, number: int) -> RewardModel:
        numbers.append(number)
        return RewardModel.from_actor(tiny_actor(), seed=number).freeze()

    monkeypatch.setattr(ensembles, "member", member)
    monkeypatch.setattr(ensembles, "STANDARD_SAMPLES", 8)
    actor = tiny_actor()
    before = [p.detach().clone() for p in actor.parameters()]
    runs = ensembles.compare_ensembles(actor, 2, iterations=1, seed=4)
    assert numbers == [400, 401] and list(runs) == ["one model", "mean", "min"]
    assert all(torch.equal(a, b) for a, b in zip(actor.parameters(), before, strict=True))
    assert [m.step for m in runs["min"]] == [1]
    (again,) = over_optimise(actor, member(actor, 400), iterations=1, kl_coef=0.0, seed=4)
    assert again == runs["one model"][0]
    assert not all(torch.equal(a, b) for a, b in zip(actor.parameters(), before, strict=True))
