"""Exercises of notebook 09: one assert each against the bugs of exhibits 5 to 8."""

import math

import torch

import minirlhf
from minirlhf.exercises.exercise import exercise
from minirlhf.exercises.proof import FAILS_WITHOUT, HOLDS_WITH_THE_BUG, proves
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe  # noqa: F401  (makes `cafe.recipe` exist)


@exercise(
    notebook="09",
    title="Prove exhibit 5",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        The same for exhibit 5. A table of two tokens that you can compute by hand is enough.
        """,
    hints=(
        "With $\\gamma = \\lambda = 1$ GAE's return is simply all the reward still to come, "
        "whatever the Critic said.",
        "`_, returns = minirlhf.gae(rewards, values, mask, gamma=1.0, lam=1.0)` with "
        "`rewards = torch.tensor([[0.0, 1.0]])`: both returns must be 1.",
    ),
    judge=proves("whitened_before_returns"),
    remark="""
        At $\\lambda = 1$ the values cancel, which makes the right answer known without running a
        Critic. Limits in which a formula becomes trivial make the best tests.
        """,
)
def proof_5() -> None:
    """True of right code, false with exhibit 5's bug."""
    rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 0.5]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    _, returns = minirlhf.gae(rewards, values, mask, gamma=1.0, lam=1.0)
    assert torch.allclose(returns, torch.tensor([[1.0, 1.0]]))


@proof_5.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 0.5]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    advantages, returns = minirlhf.gae(rewards, values, mask, gamma=1.0, lam=1.0)
    assert torch.allclose(returns, advantages + values)  # so it is, before and after


@proof_5.wrong(FAILS_WITHOUT)
def _() -> None:
    rewards, values = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 0.5]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    advantages, _ = minirlhf.gae(rewards, values, mask, gamma=1.0, lam=1.0)
    assert abs(float(advantages.mean())) < 1e-6  # raw advantages have some mean


@exercise(
    notebook="09",
    title="Prove exhibit 6",
    difficulty=3,
    importance=5,
    minutes=8,
    task="""
        The same for exhibit 6. Something must be different from 0 once the Actor has moved.
        """,
    hints=(
        "In the first iteration Actor and Reference *are* the same. When do they differ?",
        "`first, second = islice(trainer, 2)` without an import: `steps = iter(trainer)`, "
        '`next(steps)`, then `next(steps).metrics["kl"]`.',
    ),
    judge=proves("unfrozen_reference"),
    remark="""
        The test needs two iterations: in the first the KL is 0 in right code, too. A bug that only
        shows from the second step on is a reason to test more than one.
        """,
)
def proof_6() -> None:
    """True of right code, false with exhibit 6's bug."""
    actor, reward_model = cafe.recipe.load_shipped("cpu")
    config = minirlhf.PPOConfig(batch_size=8, minibatch_size=8)
    steps = iter(cafe.recipe.ppo_trainer(actor, reward_model, config))
    next(steps)
    assert next(steps).metrics["kl"] != 0.0


@proof_6.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    actor, _ = cafe.recipe.load_shipped("cpu")
    reference = minirlhf.Reference.from_actor(actor)
    assert reference.model is not actor.model  # the copy is made; it is just not used


@proof_6.wrong(FAILS_WITHOUT)
def _() -> None:
    actor, reward_model = cafe.recipe.load_shipped("cpu")
    config = minirlhf.PPOConfig(batch_size=8, minibatch_size=8)
    record = next(iter(cafe.recipe.ppo_trainer(actor, reward_model, config)))
    assert record.metrics["kl"] != 0.0  # too early: in the first iteration it is 0


@exercise(
    notebook="09",
    title="Prove exhibit 7",
    difficulty=4,
    importance=4,
    minutes=10,
    task="""
        The same for exhibit 7. No model: take two distributions over two tokens, for which the
        true KL is a sum that you can write down.
        """,
    hints=(
        "An estimator is unbiased if its mean over all tokens, each weighted with its probability "
        "under the *Actor*, is the KL.",
        "`p = torch.tensor([[0.9, 0.1]])`, `q = torch.tensor([[0.5, 0.5]])`: `(p * "
        'minirlhf.per_token_kl(p.log(), q.log(), estimator="k3")).sum()` against '
        "`(p * (p / q).log()).sum()`.",
    ),
    judge=proves("flipped_k3"),
    remark="""
        Testing that it is never negative proves nothing: the flipped one is never negative either.
        An estimator is tested against its expectation.
        """,
)
def proof_7() -> None:
    """True of right code, false with exhibit 7's bug."""
    p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    k3 = minirlhf.per_token_kl(p.log(), q.log(), estimator="k3")
    expected, true_kl = float((p * k3).sum()), float((p * (p / q).log()).sum())
    assert math.isclose(expected, true_kl, rel_tol=1e-4)


@proof_7.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    assert (minirlhf.per_token_kl(p.log(), q.log(), estimator="k3") >= 0).all()


@proof_7.wrong(FAILS_WITHOUT)
def _() -> None:
    p, q = torch.tensor([[0.9, 0.1]]), torch.tensor([[0.5, 0.5]])
    k3 = minirlhf.per_token_kl(p.log(), q.log(), estimator="k3")
    assert math.isclose(float(k3.mean()), float((p * (p / q).log()).sum()), rel_tol=1e-4)


@exercise(
    notebook="09",
    title="Prove exhibit 8",
    difficulty=4,
    importance=5,
    minutes=10,
    task="""
        The same for exhibit 8, in which nothing on the dashboard looks broken. What may the Critic
        not know when it says $V(S_t)$?
        """,
    hints=(
        "Two responses that differ in one token only: which of their values must be the same?",
        "`critic.values(prompts, ids)[:, 0]` with `ids` of two rows that differ in their first "
        "token. `minirlhf.data.pad_prompts` makes prompts out of lists of token ids.",
    ),
    judge=proves("value_one_token_late"),
    remark="""
        $V(S_0)$ was said before anything was written, so it cannot depend on the response. The same
        trick, changing what must not matter, tests masks, padding and position ids as well.
        """,
)
def proof_8() -> None:
    """True of right code, false with exhibit 8's bug."""
    _, reward_model = cafe.recipe.load_shipped("cpu")
    critic = minirlhf.Critic.from_reward_model(reward_model)
    prompts = minirlhf.data.pad_prompts([[5, 6], [5, 6]], 0)
    responses = torch.tensor([[7, 9], [8, 9]])  # they differ in A_0 only
    first_values = critic.values(prompts, responses)[:, 0]
    assert torch.allclose(first_values[0], first_values[1], atol=1e-5)


@proof_8.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    _, reward_model = cafe.recipe.load_shipped("cpu")
    critic = minirlhf.Critic.from_reward_model(reward_model)
    prompts = minirlhf.data.pad_prompts([[5, 6]], 0)
    assert critic.values(prompts, torch.tensor([[7, 9]])).shape == (1, 2)


@proof_8.wrong(FAILS_WITHOUT)
def _() -> None:
    _, reward_model = cafe.recipe.load_shipped("cpu")
    critic = minirlhf.Critic.from_reward_model(reward_model)
    prompts = minirlhf.data.pad_prompts([[5, 6], [5, 6]], 0)
    values = critic.values(prompts, torch.tensor([[7, 9], [8, 9]]))
    assert torch.allclose(values[0, 1], values[1, 1], atol=1e-5)  # S_1 contains A_0
