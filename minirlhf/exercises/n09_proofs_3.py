"""Exercises of notebook 09: one assert each against the bugs of exhibits 9 to 12."""

import torch

import minirlhf
from minirlhf.exercises.exercise import exercise
from minirlhf.exercises.proof import FAILS_WITHOUT, HOLDS_WITH_THE_BUG, proves
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe  # noqa: F401  (makes `cafe.recipe` exist)


@exercise(
    notebook="09",
    title="Prove exhibit 9",
    difficulty=4,
    importance=4,
    minutes=10,
    task="""
        The same for exhibit 9. Run one iteration with two epochs, and look at what its rollout
        holds afterwards.
        """,
    hints=(
        "In the first iteration the Actor that wrote the responses *is* the Reference. So which "
        "two rows of the table are equal, however long the update goes on?",
        "`record.rollout.old_log_probs` and `record.rollout.ref_log_probs`, on the counted tokens, "
        "after `next(iter(trainer))` with `minirlhf.PPOConfig(batch_size=8, minibatch_size=8, "
        "ppo_epochs=2)`.",
    ),
    judge=proves("old_log_probs_recomputed"),
    remark="""
        "Old" means at rollout. Whatever an update is given to read must be the same afterwards.
        """,
)
def proof_9() -> None:
    """True of right code, false with exhibit 9's bug."""
    actor, reward_model = cafe.recipe.load_shipped("cpu")
    config = minirlhf.PPOConfig(batch_size=8, minibatch_size=8, ppo_epochs=2)
    rollout = next(iter(cafe.recipe.ppo_trainer(actor, reward_model, config))).rollout
    assert rollout is not None
    mask = rollout.response_mask
    difference = (rollout.old_log_probs - rollout.ref_log_probs)[mask]
    assert difference.abs().max() < 1e-4  # the first Actor is the Reference


@proof_9.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    actor, reward_model = cafe.recipe.load_shipped("cpu")
    config = minirlhf.PPOConfig(batch_size=8, minibatch_size=8, ppo_epochs=1)
    rollout = next(iter(cafe.recipe.ppo_trainer(actor, reward_model, config))).rollout
    assert rollout is not None
    mask = rollout.response_mask  # with one epoch there is nothing to recompute
    assert (rollout.old_log_probs - rollout.ref_log_probs)[mask].abs().max() < 1e-4


@proof_9.wrong(FAILS_WITHOUT)
def _() -> None:
    actor, reward_model = cafe.recipe.load_shipped("cpu")
    config = minirlhf.PPOConfig(batch_size=8, minibatch_size=8, ppo_epochs=2)
    record = next(iter(cafe.recipe.ppo_trainer(actor, reward_model, config)))
    assert record.metrics["ratio_max"] < 1.0 + 1e-6  # right ratios do leave 1


@exercise(
    notebook="09",
    title="Prove exhibit 10",
    difficulty=2,
    importance=5,
    minutes=6,
    task="""
        The same for exhibit 10. A pure function is to blame; two responses of different lengths
        bring it to light.
        """,
    hints=(
        "What do the counted rewards of a response add up to, when the Actor has not moved?",
        "`minirlhf.per_token_rewards(scores, kl, mask, kl_coef=0.1)` with `kl` all 0 and rows of "
        "2 and 1 counted tokens: the masked sum of each row is its score.",
    ),
    judge=proves("reward_on_a_pad"),
    remark="""
        The sum over *all* columns is right even with the bug; only the counted ones tell.
        """,
)
def proof_10() -> None:
    """True of right code, false with exhibit 10's bug."""
    scores, kl = torch.tensor([1.0, 2.0]), torch.zeros(2, 2)
    mask = torch.tensor([[True, True], [True, False]])
    rewards = minirlhf.per_token_rewards(scores, kl, mask, kl_coef=0.1)
    assert torch.allclose((rewards * mask).sum(dim=1), scores)


@proof_10.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    scores, kl = torch.tensor([1.0, 2.0]), torch.zeros(2, 2)
    mask = torch.tensor([[True, True], [True, False]])
    rewards = minirlhf.per_token_rewards(scores, kl, mask, kl_coef=0.1)
    assert torch.allclose(rewards.sum(dim=1), scores)


@proof_10.wrong(FAILS_WITHOUT)
def _() -> None:
    scores, kl = torch.tensor([1.0, 2.0]), torch.zeros(2, 2)
    mask = torch.tensor([[True, True], [True, False]])
    rewards = minirlhf.per_token_rewards(scores, kl, mask, kl_coef=0.1)
    assert torch.allclose(rewards[:, 0], scores)  # the first token carries no score


@exercise(
    notebook="09",
    title="Prove exhibit 11",
    difficulty=4,
    importance=4,
    minutes=8,
    task="""
        The same for exhibit 11. The numbers are right, so ask for something else than numbers.
        """,
    hints=(
        "Let $\\hat A_t$ require a gradient, and see who sends one.",
        "`minirlhf.actor_loss(log_probs, old_log_probs, advantages, mask).backward()` with "
        "`advantages = torch.ones(1, 2, requires_grad=True)`: what must `advantages.grad` be?",
    ),
    judge=proves("undetached_advantages"),
    remark="""
        Gradients are part of what a function returns. Those that must not exist need a test, too.
        """,
)
def proof_11() -> None:
    """True of right code, false with exhibit 11's bug."""
    log_probs = torch.full((1, 2), -1.0, requires_grad=True)
    advantages = torch.ones(1, 2, requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.bool)
    minirlhf.actor_loss(log_probs, torch.full((1, 2), -1.0), advantages, mask).backward()
    assert advantages.grad is None  # the Actor's loss is no business of the Critic


@proof_11.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    log_probs = torch.full((1, 2), -1.0, requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.bool)
    loss = minirlhf.actor_loss(log_probs, torch.full((1, 2), -1.0), torch.ones(1, 2), mask)
    assert loss.detach() == -1.0  # the same number, with and without


@proof_11.wrong(FAILS_WITHOUT)
def _() -> None:
    log_probs = torch.full((1, 2), -1.0, requires_grad=True)
    mask = torch.ones(1, 2, dtype=torch.bool)
    loss = minirlhf.actor_loss(log_probs, torch.full((1, 2), -1.0), torch.ones(1, 2), mask)
    assert not loss.requires_grad  # it must have one, by the log-probs


@exercise(
    notebook="09",
    title="Prove exhibit 12",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        The same for exhibit 12. A probability becomes a token in `minirlhf.generation.draw(log_pi,
        noise)`, which gets log-probs (B, V) and, for each row, one number between 0 and 1. Try a
        distribution over five tokens there.
        """,
    hints=(
        "Every token that has a probability must be drawn now and then.",
        "`minirlhf.generation.draw(log_pi, noise)` turns uniform noise into tokens: with noise "
        "near 1 it must give the last token.",
    ),
    judge=proves("top_k_sampling"),
    remark="""
        Because the noise is an argument, no thousand draws are needed: one number near 1 asks for
        the far end of the distribution.
        """,
)
def proof_12() -> None:
    """True of right code, false with exhibit 12's bug."""
    log_pi = torch.tensor([[0.4, 0.25, 0.2, 0.1, 0.05]]).log()
    token = minirlhf.generation.draw(log_pi, torch.tensor([0.99]))
    assert int(token) == 4  # the rarest token comes last


@proof_12.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    log_pi = torch.tensor([[0.4, 0.25, 0.2, 0.1, 0.05]]).log()
    assert int(minirlhf.generation.draw(log_pi, torch.tensor([0.01]))) == 0


@proof_12.wrong(FAILS_WITHOUT)
def _() -> None:
    log_pi = torch.tensor([[0.4, 0.25, 0.2, 0.1, 0.05]]).log()
    assert int(minirlhf.generation.draw(log_pi, torch.tensor([0.5]))) == 4
