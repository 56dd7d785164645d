"""Monte Carlo truth against the exact truth of the world in which every answer is counted.

At most 4 of 200 states outside 3 standard errors, and mean z² in [0.7, 1.3], all draws independent.
The actor is heated up: where it is nearly sure, n continuations may miss what is rare, and then
their own spread does not tell how wrong they are.
"""

from dataclasses import replace

import torch
from exact_tables import CONFIG, actor_and_reference, random_scores
from torch import Tensor

from minirlhf import Prompts, RewardModel
from minirlhf.monte_carlo import MonteCarloValues, monte_carlo_gold, monte_carlo_values
from minirlhf.worlds import exact
from minirlhf.worlds.exact import WORDS, WORLD

ROWS = 64
HOT = replace(CONFIG, max_response_tokens=5, gamma=0.95, temperature=3.0, score_clip=1.2)


def some_texts() -> tuple[Prompts, Tensor, Tensor]:
    """Answers of 5 words, spread evenly, whoever would write them: prompts, ids, mask."""
    leaves = WORLD.leaves()
    ids = leaves[torch.linspace(0, len(leaves) - 1, ROWS).long()]
    ids = torch.cat([ids, torch.zeros_like(ids[:, :1])], dim=1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    return Prompts(torch.full((ROWS, 1), WORLD.eos), mask[:, :1]), ids, mask


def check_200_states(got: MonteCarloValues, values: Tensor) -> None:
    _, ids, mask = some_texts()
    states = WORLD.states_of(ids, mask)
    z = (got.values - values[states]) / got.errors
    of_state = dict(zip(states.flatten().tolist(), z.flatten().tolist(), strict=True))
    one_each = torch.tensor([of_state[state] for state in sorted(of_state)[:200]])
    assert len(one_each) == 200 and 0 in of_state
    assert (one_each.abs() > 3).sum() <= 4
    assert 0.7 <= one_each.square().mean() <= 1.3
    root = z[:, 0]  # drawn anew in every row
    assert root.mean().abs() < 3 / ROWS**0.5 and 0.5 < root.square().mean() < 1.6


def test_200_states_agree_with_the_exact_values_of_the_shaped_return() -> None:
    actor, reference = actor_and_reference()
    reward_model = RewardModel.from_actor(actor, seed=3)
    reward_model.model.score.weight.data.mul_(3.0)
    truth = exact.truth_of(actor, reference, exact.score_table(reward_model), HOT)
    got = monte_carlo_values(actor, reference, reward_model, *some_texts(), HOT, n=200)
    check_200_states(got, truth.values)


def test_200_states_agree_with_the_exact_values_of_gold_alone() -> None:
    """Gold is a random number for each answer here, another one where the answer was cut."""
    actor, _ = actor_and_reference()
    table = random_scores(WORLD, seed=1)
    plain = replace(HOT, kl_coef=0.0, missing_eos_penalty=0.0, score_clip=None)
    truth = exact.truth_of(actor, actor, table, plain)

    golds, number = table.tolist(), {word: i for i, word in enumerate(WORDS)}

    def judge(_prompt: str, response: str, ended: bool) -> float:
        tokens = [*(number[word] for word in response.split()), *[WORLD.eos] * ended]
        state = 0
        for word in tokens[:-1]:
            state = state * WORLD.words + 1 + word
        return golds[state][tokens[-1]]

    got = monte_carlo_gold(actor, judge, *some_texts(), HOT, n=100)
    check_200_states(got, truth.values)
