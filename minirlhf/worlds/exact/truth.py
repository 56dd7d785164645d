"""The god's-eye view: every quantity of RLHF, summed over all answers instead of estimated.

Policies enter as tables of log-probabilities (S, V), scores as a table (S, V) that is read where an
answer ends (see `tree`). Everything is computed in the tables' precision (float64 if you like) and
keeps its gradient, so that the exact policy gradient is one call of autograd away.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minirlhf.kl import KLEstimator, per_token_kl
from minirlhf.worlds.exact.tree import WORLD, Tree


@dataclass(frozen=True)
class Truth:
    """What is true of one actor; S states, V tokens, rewards in reward units, the rest in nats."""

    tree: Tree
    log_pi: Tensor  # (S, V)
    ref_log_pi: Tensor  # (S, V)
    reach: Tensor  # (S,)    probability that an answer passes through the state
    rewards: Tensor  # (S, V) R(s, a) = −β·kl(s, a), plus the final score where the answer ends
    values: Tensor  # (S,)   V(s): expected reward still to come, discounted
    q_values: Tensor  # (S, V) Q(s, a) = R(s, a) + γ·V(s followed by a)
    advantages: Tensor  # (S, V) A(s, a) = Q(s, a) − V(s)
    answer_probability: Tensor  # (S, V) π(y) of the answer that ends so; 0 where it goes on
    score: Tensor  # ()     E[final score]: what the reward model gives, less the penalty
    kl: Tensor  # ()     KL(actor‖reference) of whole answers
    reverse_kl: Tensor  # ()     KL(reference‖actor) of whole answers
    entropy: Tensor  # ()     of whole answers
    objective: Tensor  # ()     J = E[final score] − β·KL(actor‖reference)

    def logit_gradient(self) -> Tensor:
        """The exact policy gradient: of J, by the logits of every state.

            ∂J/∂z(s, a) = P(pass through s)·π(a|s)·A(s, a)

        Returns:
            (S, V) reward units. Holds for γ = 1 and the k1 toll: J is then V at the root, and the
            gradient of the toll's own log π is zero on average. With γ < 1 or another estimator the
            sum is still what `actor_loss` follows on average, but no longer the gradient of J; that
            of the discounted V at the root would have a factor γ^t more.

        Reference: Sutton, McAllester, Singh & Mansour 1999, theorem 1.
        """
        return self.reach[:, None] * self.log_pi.exp() * self.advantages


def final_scores(
    scores: Tensor,
    tree: Tree = WORLD,
    *,
    missing_eos_penalty: float = 0.0,
    score_clip: float | None = None,
) -> Tensor:
    """Scores as the rewards contain them: penalty first, then the clip.

    Args:
        scores: (S, V) reward units, read where an answer ends.
        tree: which answers there are.
        missing_eos_penalty: subtracted from answers that were cut, reward units.
        score_clip: largest absolute score; None = no limit.

    Returns:
        (S, V) reward units, 0 where the answer goes on.
    """
    scores = scores - missing_eos_penalty * tree.is_cut.to(scores)
    if score_clip is not None:
        scores = scores.clamp(-score_clip, score_clip)
    return torch.where(tree.is_last, scores, 0.0)


def exact_truth(
    log_pi: Tensor,
    ref_log_pi: Tensor,
    scores: Tensor,
    tree: Tree = WORLD,
    *,
    kl_coef: float,
    gamma: float = 1.0,
    kl_estimator: KLEstimator = "k1",
    missing_eos_penalty: float = 0.0,
    score_clip: float | None = None,
) -> Truth:
    """Enumerate all answers.

    Args:
        log_pi: (S, V) nats, the actor at every state; `policy_table(actor)`.
        ref_log_pi: (S, V) nats, the reference.
        scores: (S, V) reward units; `gold_table()` or `score_table(reward_model)`.
        tree: which answers there are.
        kl_coef: β, reward units per nat.
        gamma: γ in [0, 1].
        kl_estimator: of the toll in R(s, a).
        missing_eos_penalty: see `final_scores`.
        score_clip: see `final_scores`.

    Raises:
        ValueError: a table does not have the tree's shape, or γ or β is out of range.
    """
    check_tables(tree, log_pi=log_pi, ref_log_pi=ref_log_pi, scores=scores)
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"gamma must lie in [0, 1], got {gamma}")
    if not 0.0 <= kl_coef < float("inf"):
        raise ValueError(f"kl_coef must be a finite number ≥ 0, got {kl_coef}")
    final = final_scores(
        scores, tree, missing_eos_penalty=missing_eos_penalty, score_clip=score_clip
    )
    pi = log_pi.exp()
    toll = kl_coef * per_token_kl(log_pi, ref_log_pi, estimator=kl_estimator)
    rewards = final - toll
    values, q_values = backward_values(tree, pi, rewards, gamma)
    reach = reach_probabilities(tree, pi)
    k1 = log_pi - ref_log_pi
    ref_pi = ref_log_pi.exp()
    answer_probability = torch.where(tree.is_last, reach[:, None] * pi, 0.0)
    kl = (reach[:, None] * pi * k1).sum()
    score = (answer_probability * final).sum()
    return Truth(
        tree=tree,
        log_pi=log_pi,
        ref_log_pi=ref_log_pi,
        reach=reach,
        rewards=rewards,
        values=values,
        q_values=q_values,
        advantages=q_values - values[:, None],
        answer_probability=answer_probability,
        score=score,
        kl=kl,
        reverse_kl=-(reach_probabilities(tree, ref_pi)[:, None] * ref_pi * k1).sum(),
        entropy=-(reach[:, None] * pi * log_pi).sum(),
        objective=score - kl_coef * kl,
    )


def backward_values(tree: Tree, pi: Tensor, rewards: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """V and Q from the last token back to the first (Bellman's equation of a given policy).

        Q(s, a) = R(s, a) + γ·V(s followed by a);  V(s) = Σ_a π(a|s)·Q(s, a)

    Args:
        tree: which answers there are.
        pi: (S, V) probabilities.
        rewards: (S, V) reward units.
        gamma: γ in [0, 1].

    Returns:
        values (S,) and q_values (S, V), reward units.
    """
    values: list[Tensor] = []
    q_values: list[Tensor] = []
    for depth in reversed(range(tree.steps)):
        q = rewards[tree.level(depth)]
        if values:
            q = q + gamma * tree.led_to(values[0])
        q_values.insert(0, q)
        values.insert(0, (pi[tree.level(depth)] * q).sum(dim=1))
    return torch.cat(values), torch.cat(q_values)


def reach_probabilities(tree: Tree, pi: Tensor) -> Tensor:
    """(S,) probability of passing through each state, from pi (S, V)."""
    reach = [torch.ones_like(pi[:1, 0])]
    for depth in range(tree.steps - 1):
        words = pi[tree.level(depth), : tree.words]
        reach.append((reach[-1][:, None] * words).flatten())
    return torch.cat(reach)


def check_tables(tree: Tree, **tables: Tensor) -> None:
    """Refuse tables that are not (S, V).

    Raises:
        ValueError: names the table.
    """
    for name, table in tables.items():
        if tuple(table.shape) != (tree.n_states, tree.n_tokens):
            raise ValueError(
                f"{name} must be (states, tokens) = ({tree.n_states}, {tree.n_tokens}), "
                f"got {tuple(table.shape)}"
            )
