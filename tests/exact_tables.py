"""Tables of the exact world for its tests, and expectations that go through the package's losses.

One actor stands for all: the SFT model with noise on its weights, 0.7 nats away from its reference,
whose answers have one to five tokens.
"""

from functools import cache

import torch
from torch import Tensor

from minirlhf import Actor, PPOConfig, Reference, Rollout, actor_loss
from minirlhf.worlds import exact
from minirlhf.worlds.exact import WORLD, Tree, Truth, exact_truth

SMALL = Tree(words=2, steps=3)  # 7 states, 15 answers
CONFIG = PPOConfig(kl_coef=0.1, score_clip=None, missing_eos_penalty=1.0, lam=1.0)


def random_log_pi(tree: Tree, seed: int, spread: float = 1.0) -> Tensor:
    """(S, V) nats, float64: a policy with standard normal logits, times `spread`."""
    logits = random_scores(tree, seed) * spread
    return logits.log_softmax(dim=1)


def random_scores(tree: Tree, seed: int) -> Tensor:
    """(S, V) standard normal numbers, float64; also where an answer goes on, to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tree.n_states, tree.n_tokens, generator=generator, dtype=torch.float64)


@cache
@torch.enable_grad()
def actor_and_reference() -> tuple[Actor, Reference]:
    """In float64; to be read, not trained."""
    actor = exact.sft_actor()
    actor.model.double()
    reference = Reference.from_actor(actor)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in actor.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.05 * noise)
    return actor, reference


@cache
def policy_tables() -> tuple[Tensor, Tensor]:
    """(S, V) nats twice: log π and log π_ref of this actor and its reference."""
    actor, reference = actor_and_reference()
    return exact.policy_table(actor).detach(), exact.policy_table(reference).detach()


def critic_error(tree: Tree = WORLD, seed: int = 7) -> Tensor:
    """(S,) reward units: how wrong a critic is; it differs between the states of a step."""
    return 0.5 * random_scores(tree, seed)[:, 0]


def truth_for(config: PPOConfig, log_pi: Tensor | None = None) -> Truth:
    """The truth of the world's actor (or of another table) with gold and these settings."""
    own_log_pi, ref_log_pi = policy_tables()
    return exact_truth(
        own_log_pi if log_pi is None else log_pi,
        ref_log_pi,
        exact.gold_table(),
        kl_coef=config.kl_coef,
        gamma=config.gamma,
        kl_estimator=config.kl_estimator,
        missing_eos_penalty=config.missing_eos_penalty,
        score_clip=config.score_clip,
    )


def rollout_for(config: PPOConfig, values: Tensor | None = None) -> tuple[Rollout, Tensor]:
    """Every answer of the world's actor with these settings; the critic is exact if none given."""
    log_pi, ref_log_pi = policy_tables()
    values = truth_for(config).values if values is None else values
    return exact.every_answer(log_pi, ref_log_pi, exact.gold_table(), values, config)


def loss_gradient(
    tree: Tree, rollout: Rollout, weights: Tensor, advantages: Tensor, **settings: float
) -> Tensor:
    """Σ_y weight(y)·L_y·∇actor_loss(y), by the logits of every state, at the rollout's own policy.

    `actor_loss` is a token mean and linear in advantages of weight ≥ 0, so one call on all answers
    does it: the weights go into the advantages, the mean's divisor is multiplied back.

    Args:
        tree: which answers there are.
        rollout: all of them, from `every_answer`.
        weights: (N,), one for each answer; its probability, usually.
        advantages: (N, R).
        settings: of `actor_loss`.

    Returns:
        (S, V) reward units.
    """
    mask = rollout.response_mask
    states = tree.states_of(rollout.response_ids, mask)
    policy = torch.zeros(tree.n_states, tree.n_tokens, dtype=torch.float64)
    policy[states[mask], rollout.response_ids[mask]] = rollout.old_log_probs[mask]
    logits = policy.requires_grad_()
    log_probs = logits.log_softmax(dim=1)[states, rollout.response_ids]
    loss = actor_loss(
        log_probs, rollout.old_log_probs, advantages * weights[:, None], mask, **settings
    )
    return torch.autograd.grad(loss * mask.sum(), logits)[0]


def by_logits(pi: Tensor, weights: Tensor) -> Tensor:
    """(S, V): Σ_a π(a|s)·weight(s, a)·∇log π(a|s), by the logits of each state, written out.

    ∂log π(b|s)/∂z(s, a) = [a = b] − π(a|s)
    """
    return pi * (weights - (pi * weights).sum(dim=1, keepdim=True))


def after(tree: Tree, of_states: Tensor) -> Tensor:
    """(S, V): a quantity (S,) of the state that each action leads to; 0 where the answer ends."""
    table = torch.zeros(tree.n_states, tree.n_tokens, dtype=of_states.dtype)
    goes_on = ~tree.is_last
    states, words = goes_on.nonzero().T
    table[goes_on] = of_states[states * tree.words + 1 + words]
    return table


def expected_sum(tree: Tree, pi: Tensor, of_states: Tensor, factor: float = 1.0) -> Tensor:
    """(S,): U(s) = x(s) + factor·E[U(next state)]: what a quantity adds up to from s on."""
    total = of_states.clone()
    for _ in range(tree.steps):  # each round is right one step further back
        total = of_states + factor * (pi * after(tree, total)).sum(dim=1)
    return total


def largest(x: Tensor) -> float:
    """The largest absolute entry."""
    return float(x.detach().abs().max())


def cosine(x: Tensor, y: Tensor) -> float:
    """1 = the same direction."""
    return float((x * y).sum() / (x.norm() * y.norm()))
