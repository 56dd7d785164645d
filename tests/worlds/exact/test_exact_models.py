"""Models in the exact world: their tables against one pass per state, and real rollouts."""

import copy
from dataclasses import fields, replace

import pytest
import torch
from exact_tables import CONFIG, SMALL, actor_and_reference, largest, policy_tables, truth_for
from tiny_models import shaped_actor
from torch import Tensor

from minirlhf import Actor, Critic, PPOConfig, Prompts, RewardModel, Rollout, collect_rollout
from minirlhf.worlds import exact
from minirlhf.worlds.exact import WORLD, KnownReward, gold_table

THREE_STEPS = exact.Tree(words=11, steps=3)
STATES = [0, 1, 11, 12, 132, 133, 1463, 1464, 5000, 16_104]  # both ends of every level
DTYPES = [(torch.float32, 2e-5), (torch.float64, 1e-12)]


def as_dtype(role: Actor, dtype: torch.dtype) -> Actor:
    return Actor(copy.deepcopy(role.model).to(dtype), role.tokenizer)


def prompts(rows: int) -> Prompts:
    return Prompts(torch.full((rows, 1), WORLD.eos), torch.ones(rows, 1, dtype=torch.bool))


def scorers(dtype: torch.dtype) -> tuple[RewardModel, Critic]:
    reward_model = RewardModel.from_actor(actor_and_reference()[0], seed=3).to(dtype)
    reward_model.model.config.score_shift = 0.25
    return reward_model, Critic.from_reward_model(reward_model)


@pytest.mark.parametrize(("dtype", "room"), DTYPES)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@torch.no_grad()
def test_the_policy_table_is_one_plain_pass_for_each_state(
    dtype: torch.dtype, room: float, temperature: float
) -> None:
    actor, reference = (as_dtype(role, dtype) for role in actor_and_reference())
    for role in (actor, reference):
        table = exact.policy_table(role, temperature=temperature)
        assert table.dtype == dtype and table.shape == (WORLD.n_states, WORLD.n_tokens)
        for state in STATES:
            ids = torch.tensor([[WORLD.eos, *WORLD.words_of(state)]])
            alone = (role.model(ids).logits[0, -1] / temperature).log_softmax(dim=-1)
            assert largest(table[state] - alone) < room


@pytest.mark.parametrize(("dtype", "room"), DTYPES)
@torch.no_grad()
def test_value_and_score_tables_are_one_plain_pass_for_each_state_and_answer(
    dtype: torch.dtype, room: float
) -> None:
    """Scores in a world of three steps only: 177,156 passes of a trunk take a while."""
    reward_model, critic = scorers(dtype)
    values, scores = exact.value_table(critic), exact.score_table(reward_model, THREE_STEPS)
    assert values.dtype == scores.dtype == dtype and values.shape == (WORLD.n_states,)
    assert scores.shape == (133, 12)

    def head(*words: int) -> Tensor:
        ids = torch.tensor([[WORLD.eos, *words]])
        hidden = reward_model.model.base_model(ids).last_hidden_state[0, -1]
        return hidden @ reward_model.model.score.weight[0] - 0.25

    for state in STATES:
        words = WORLD.words_of(state)
        assert largest(values[state] - head(*words)) < room
        for action in (0, 7, WORLD.eos) if state < len(scores) else ():
            ends = THREE_STEPS.is_last[state, action]
            assert largest(scores[state, action] - (head(*words, action) if ends else 0)) < room


@torch.no_grad()
def test_any_batch_of_answers_reads_the_same_log_probs_and_values_as_the_tables() -> None:
    (actor, _), (log_pi, _), (_, critic) = (
        actor_and_reference(), policy_tables(), scorers(torch.float64)
    )  # fmt: skip
    values = exact.value_table(critic)
    ids, mask = WORLD.answers()
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))
    for rows in (order[:1], order[1:8], order[8:1000]):
        y, m = ids[rows], mask[rows]
        states = WORLD.states_of(y, m)
        log_probs = actor.log_probs(prompts(len(rows)), y)
        assert largest((log_probs - log_pi[states, y])[m]) < 1e-12
        assert largest((critic.values(prompts(len(rows)), y) - values[states])[m]) < 1e-12


def test_tables_of_actor_and_critic_keep_the_gradient() -> None:
    actor, critic = actor_and_reference()[0], scorers(torch.float64)[1]
    log_pi, values = exact.policy_table(actor, THREE_STEPS), exact.value_table(critic, THREE_STEPS)
    assert log_pi.requires_grad and values.requires_grad
    assert largest(log_pi - policy_tables()[0][: THREE_STEPS.n_states]) < 1e-12


def test_a_seed_makes_the_same_model_and_leaves_other_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (exact.new_actor(seed=seed).model for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [model.transformer.wte.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    wide = exact.new_actor(width=48, layers=2).model.config
    assert (wide.n_embd, wide.n_layer) == (48, 2)


def test_after_stage_one_the_actor_writes_what_people_write() -> None:
    truth = truth_for(CONFIG, log_pi=policy_tables()[1])
    written = {row["completion"] for row in exact.sft_rows()}
    ids, _ = WORLD.answers()
    rows = [" ".join(exact.WORDS[i] for i in row if i < 11) in written for row in ids.tolist()]
    assert float(truth.answer_probability[WORLD.is_last][torch.tensor(rows)].sum()) > 0.95
    assert float(truth.answer_probability[WORLD.is_cut].sum()) < 0.02
    assert -0.5 < float(truth.score) < 0.1  # a grumbling world: there is something to learn
    assert truth.kl == truth.reverse_kl == 0.0


def test_truth_of_uses_every_setting_of_the_run() -> None:
    actor, reference = actor_and_reference()
    config = PPOConfig(kl_coef=0.3, gamma=0.9, kl_estimator="k2", missing_eos_penalty=0.7,
                       score_clip=1.2, temperature=0.8)  # fmt: skip
    truth = exact.truth_of(actor, reference, gold_table().float(), config)
    again = exact.exact_truth(
        exact.policy_table(actor, temperature=0.8).detach(),
        exact.policy_table(reference, temperature=0.8).detach(),
        gold_table(),
        kl_coef=0.3, gamma=0.9, kl_estimator="k2", missing_eos_penalty=0.7, score_clip=1.2,
    )  # fmt: skip
    for name in ("values", "advantages", "rewards", "kl", "score", "objective"):
        assert largest(getattr(truth, name) - getattr(again, name)) < 1e-6
    assert truth.values.dtype == torch.float64 and not truth.values.requires_grad


def real_rollout(config: PPOConfig) -> tuple[Rollout, Tensor]:
    """512 sampled answers in float64, and the table of the critic that read them."""
    actor, reference = actor_and_reference()
    critic = scorers(torch.float64)[1]
    judge = KnownReward.from_table(actor, gold_table())
    config = replace(config, max_response_tokens=WORLD.steps)
    rollout = collect_rollout(actor, reference, critic, judge, prompts(512), config)
    return rollout, exact.value_table(critic).detach()


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_a_real_rollout_and_the_exact_world_agree_on_every_quantity(estimator: str) -> None:
    """Of each sampled answer: what collect_rollout, every_answer and the truth say about it."""
    config = PPOConfig(kl_coef=0.3, kl_estimator=estimator, gamma=0.9, lam=0.6,
                       missing_eos_penalty=0.7, score_clip=1.2)  # fmt: skip
    rollout, values = real_rollout(config)
    all_of_them, probabilities = exact.every_answer(*policy_tables(), gold_table(), values, config)
    mask, ids = rollout.response_mask, rollout.response_ids
    assert not rollout.ended.all() and set(mask.sum(dim=1).tolist()) >= {2, 3, 4, 5}

    states = WORLD.states_of(ids, mask)
    truth = exact.truth_of(*actor_and_reference(), gold_table(), config)
    assert largest((rollout.rewards - truth.rewards[states, ids])[mask]) < 1e-12

    last = mask.sum(dim=1, keepdim=True) - 1
    ends = states.gather(1, last)[:, 0], ids.gather(1, last)[:, 0]
    row_of = torch.zeros(WORLD.is_last.shape, dtype=torch.long)
    row_of[WORLD.is_last] = torch.arange(len(probabilities))
    for field in fields(Rollout):
        ours = getattr(rollout, field.name)
        theirs = getattr(all_of_them, field.name)
        if ours is None or field.name in ("prompt_ids", "prompt_mask"):
            continue  # not asked for; and every_answer leaves prompts out
        theirs = theirs[row_of[ends]]
        if ours.dtype == torch.float64:
            counted = mask if ours.dim() == 2 else torch.ones_like(ours, dtype=torch.bool)
            assert largest((ours - theirs)[counted]) < 1e-12, field.name
        else:
            assert torch.equal(ours, theirs), field.name
    rest = rollout.returns - rollout.advantages - rollout.old_values
    assert largest(rest[mask]) < 1e-12
    log_p = rollout.old_log_probs.where(mask, 0.0).sum(dim=1)
    assert largest(probabilities[row_of[ends]] - log_p.exp()) < 1e-14


def test_a_known_reward_looks_every_answer_up_and_starts_a_critic_at_zero() -> None:
    actor, _ = actor_and_reference()
    judge = KnownReward.from_table(actor, gold_table())
    assert torch.equal(exact.score_table(judge), gold_table())
    assert not exact.value_table(Critic.from_reward_model(judge)).any()
    single = KnownReward.from_table(exact.new_actor(), gold_table())
    assert exact.score_table(single).dtype == torch.float32
    small = KnownReward.from_table(actor, torch.ones(7, 3), SMALL)
    assert small.scores(prompts(1), torch.tensor([[2]]), torch.ones(1, 1).bool()).tolist() == [1.0]


def test_a_model_of_another_language_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted a model of 12 tokens, got"):
        exact.policy_table(shaped_actor())
