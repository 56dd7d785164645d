"""The truth against sums over answers: by hand, in plain Python, and over all 177,156 of them."""

import math
from itertools import product

import pytest
import torch
from exact_tables import (
    CONFIG,
    SMALL,
    largest,
    policy_tables,
    random_log_pi,
    random_scores,
    rollout_for,
    truth_for,
)

from minirlhf import PPOConfig
from minirlhf.worlds.exact import WORLD, Tree, exact_truth, final_scores, gold_table

ESTIMATORS = ["k1", "k2", "k3"]


def test_two_words_and_two_steps_by_hand() -> None:
    """Root, then "a" or "b"; the reference takes each of three tokens equally often."""
    pi = [[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]]
    scores = [[9.0, 9.0, 1.0], [2.0, 3.0, 4.0], [-1.0, 0.0, 5.0]]  # 9 = an answer goes on
    tolls = [[math.log(3 * p) / 10 for p in row] for row in pi]  # β = 0.1
    v_a = sum(p * (r - c) for p, r, c in zip(pi[1], scores[1], tolls[1], strict=True))
    v_b = sum(p * (r - c) for p, r, c in zip(pi[2], scores[2], tolls[2], strict=True))
    q_root = [-tolls[0][0] + 0.9 * v_a, -tolls[0][1] + 0.9 * v_b, 1.0 - tolls[0][2]]
    v_root = sum(p * q for p, q in zip(pi[0], q_root, strict=True))

    truth = exact_truth(
        torch.tensor(pi, dtype=torch.float64).log(),
        torch.full((3, 3), -math.log(3), dtype=torch.float64),
        torch.tensor(scores, dtype=torch.float64),
        Tree(words=2, steps=2),
        kl_coef=0.1,
        gamma=0.9,
    )
    assert truth.reach.tolist() == pytest.approx([1.0, 0.5, 0.3])
    assert truth.values.tolist() == pytest.approx([v_root, v_a, v_b])
    assert truth.q_values[0].tolist() == pytest.approx(q_root)
    assert truth.rewards[0].tolist() == pytest.approx([-tolls[0][0], -tolls[0][1], q_root[2]])
    assert truth.advantages[2, 2].item() == pytest.approx(5.0 - tolls[2][2] - v_b)
    chances = [0.0, 0.0, 0.2, 0.3, 0.15, 0.05, 0.06, 0.15, 0.09]
    assert truth.answer_probability.flatten().tolist() == pytest.approx(chances)
    score = 0.2 * 1 + 0.3 * 2 + 0.15 * 3 + 0.05 * 4 - 0.06 + 0.15 * 0 + 0.09 * 5
    assert truth.score.item() == pytest.approx(score)
    kl = sum(p * 10 * c for p, c in zip(pi[0], tolls[0], strict=True))
    for chance, row in ((0.5, 1), (0.3, 2)):
        kl += chance * sum(p * 10 * c for p, c in zip(pi[row], tolls[row], strict=True))
    assert truth.kl.item() == pytest.approx(kl)
    assert truth.objective.item() == pytest.approx(score - 0.1 * kl)


Prefix = tuple[int, ...]


class Plain:
    """A tree of dictionaries and floats; the reward is written out once more."""

    def __init__(self, tree: Tree, pi: list[list[float]], rewards: list[list[float]]) -> None:
        words = range(tree.words)
        prefixes = [p for depth in range(tree.steps) for p in product(words, repeat=depth)]
        self.tree = tree
        self.pi: dict[Prefix, list[float]] = dict(zip(prefixes, pi, strict=True))
        self.rewards: dict[Prefix, list[float]] = dict(zip(prefixes, rewards, strict=True))

    def endings(self, prefix: Prefix) -> list[Prefix]:
        """Every way to finish an answer that began so."""
        if len(prefix) == self.tree.steps or self.tree.eos in prefix:
            return [()]
        tokens = range(self.tree.n_tokens)
        return [(v, *rest) for v in tokens for rest in self.endings((*prefix, v))]

    def value(self, prefix: Prefix, gamma: float) -> float:
        """Σ over endings of their probability times their discounted rewards."""
        total = 0.0
        for ending in self.endings(prefix):
            chance, gain = 1.0, 0.0
            for t, token in enumerate(ending):
                state = prefix + ending[:t]
                chance *= self.pi[state][token]
                gain += gamma**t * self.rewards[state][token]
            total += chance * gain
        return total


def toll(lp: float, ref: float, estimator: str) -> float:
    ratio = math.exp(ref - lp)
    return {"k1": lp - ref, "k2": (lp - ref) ** 2 / 2, "k3": ratio - 1 - math.log(ratio)}[estimator]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_rewards_v_q_and_a_are_sums_over_answers(estimator: str, gamma: float) -> None:
    tree = Tree(words=3, steps=3)
    log_pi, ref, scores = random_log_pi(tree, 1), random_log_pi(tree, 2), random_scores(tree, 3)
    settings = {"kl_coef": 0.3, "gamma": gamma, "missing_eos_penalty": 0.5, "score_clip": 1.2}
    truth = exact_truth(log_pi, ref, scores, tree, kl_estimator=estimator, **settings)
    rewards = []
    for s in range(tree.n_states):
        tolls = [toll(float(log_pi[s, v]), float(ref[s, v]), estimator) for v in range(4)]
        deepest = s >= 1 + 3
        finals = [float(scores[s, v]) - 0.5 * (deepest and v != 3) for v in range(4)]
        finals = [min(max(x, -1.2), 1.2) if deepest or v == 3 else 0 for v, x in enumerate(finals)]
        rewards.append([x - 0.3 * c for x, c in zip(finals, tolls, strict=True)])
    assert largest(truth.rewards - torch.tensor(rewards, dtype=torch.float64)) < 1e-12

    plain = Plain(tree, log_pi.exp().tolist(), truth.rewards.tolist())
    for s, prefix in enumerate(plain.pi):
        value = plain.value(prefix, gamma)
        assert truth.values[s].item() == pytest.approx(value, abs=1e-12)
        for v in range(tree.n_tokens):
            q = plain.rewards[prefix][v]
            if (*prefix, v) in plain.pi:  # else the answer ends here
                q += gamma * plain.value((*prefix, v), gamma)
            assert truth.q_values[s, v].item() == pytest.approx(q, abs=1e-12)
            assert truth.advantages[s, v].item() == pytest.approx(q - value, abs=1e-12)


def test_penalty_comes_before_the_clip_and_where_an_answer_goes_on_there_is_no_score() -> None:
    final = final_scores(random_scores(SMALL, 0) * 0 + 1.5, SMALL, missing_eos_penalty=1.0)
    assert final.tolist() == [[0.0, 0.0, 1.5]] * 3 + [[0.5, 0.5, 1.5]] * 4
    clipped = final_scores(torch.full((7, 3), 1.5), SMALL, missing_eos_penalty=1.0, score_clip=0.7)
    assert clipped[6].tolist() == pytest.approx([0.5, 0.5, 0.7])  # 0.7 − 1 if clipped first


def test_the_probabilities_of_all_answers_sum_to_one() -> None:
    truth, (_, probabilities) = truth_for(CONFIG), rollout_for(CONFIG)
    assert float(truth.answer_probability.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-12)
    assert largest(truth.answer_probability[WORLD.is_last] - probabilities) < 1e-15
    ref_log_pi = policy_tables()[1]
    assert float(truth_for(CONFIG, ref_log_pi).answer_probability.sum()) == pytest.approx(
        1.0, abs=1e-12
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_advantages_average_to_zero_in_every_state(estimator: str, gamma: float) -> None:
    truth = truth_for(PPOConfig(kl_coef=0.1, gamma=gamma, kl_estimator=estimator))
    assert largest((truth.log_pi.exp() * truth.advantages).sum(dim=1)) < 1e-12


def test_kl_entropy_and_score_are_sums_over_whole_answers() -> None:
    config = PPOConfig(kl_coef=0.1, score_clip=1.5)
    (log_pi, ref_log_pi), truth = policy_tables(), truth_for(config)
    ids, mask = WORLD.answers()
    states = WORLD.states_of(ids, mask)
    log_p = log_pi[states, ids].where(mask, 0.0).sum(dim=1)
    log_ref = ref_log_pi[states, ids].where(mask, 0.0).sum(dim=1)
    final = gold_table()[WORLD.is_last] - (ids[:, -1] != WORLD.eos).double()  # cut: penalty 1
    expected = {
        "kl": log_p.exp() * (log_p - log_ref),
        "reverse_kl": log_ref.exp() * (log_ref - log_p),
        "entropy": -log_p.exp() * log_p,
        "score": log_p.exp() * final.clamp(-1.5, 1.5),
    }
    for name, terms in expected.items():
        assert getattr(truth, name).item() == pytest.approx(float(terms.sum()), abs=1e-12)
    assert truth.objective.item() == pytest.approx(float(truth.score - 0.1 * truth.kl), abs=1e-15)
    assert truth.kl > 0.5 and truth.reverse_kl > 0.2  # the actor has moved


def test_without_discount_the_root_s_value_is_the_objective_except_with_k2() -> None:
    """k1 and k3 have the KL as their mean, k2 has not."""
    gaps = {}
    for estimator in ESTIMATORS:
        truth = truth_for(PPOConfig(kl_coef=0.1, kl_estimator=estimator, score_clip=None))
        gaps[estimator] = float(truth.values[0] - truth.objective)
    assert gaps["k1"] == pytest.approx(0.0, abs=1e-12)
    assert gaps["k3"] == pytest.approx(0.0, abs=1e-12)
    assert abs(gaps["k2"]) > 0.01


def test_float32_tables_give_a_float32_truth_and_gradients_pass() -> None:
    log_pi = random_log_pi(SMALL, 0).float().requires_grad_()
    ref_log_pi, scores = random_log_pi(SMALL, 1).float(), random_scores(SMALL, 2).float()
    truth = exact_truth(log_pi, ref_log_pi, scores, SMALL, kl_coef=0.1)
    assert truth.values.dtype == truth.kl.dtype == torch.float32
    truth.objective.backward()
    assert log_pi.grad is not None and log_pi.grad.any()


@pytest.mark.parametrize("wrong", range(3))
def test_a_table_of_the_wrong_shape_is_refused_by_name(wrong: int) -> None:
    tables = [random_scores(SMALL, i) for i in range(3)]
    tables[wrong] = tables[wrong][:, :2]
    name = ("log_pi", "ref_log_pi", "scores")[wrong]
    with pytest.raises(ValueError, match=rf"^{name} must be \(states, tokens\) = \(7, 3\), got"):
        exact_truth(*tables, SMALL, kl_coef=0.1)


@pytest.mark.parametrize("wrong", [{"gamma": 1.5}, {"gamma": -0.1}, {"kl_coef": -1.0}])
def test_a_discount_or_a_toll_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    table = random_log_pi(SMALL, 0)
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} must"):
        exact_truth(table, table, table, SMALL, **{"kl_coef": 0.1, **wrong})
