"""The exact world: 177,156 answers, every one of which is counted.

Twelve tokens, at most five of them in an answer. So the true V, Q and A, the true KL, the true
gradient and the best policy are sums that a laptop does in a second, and every estimate can be
held against its truth.

    actor = exact.sft_actor()
    reference = Reference.from_actor(actor)
    truth = exact.truth_of(actor, reference, exact.gold_table(), PPOConfig())
    truth.values[state], truth.kl, truth.objective
"""

from .all_answers import every_answer
from .gold import gold_reward, gold_table
from .models import (
    KnownReward,
    new_actor,
    policy_table,
    score_table,
    sft_actor,
    sft_trainer,
    truth_of,
    value_table,
)
from .optimum import Optimum, kl_coef_for, optimal_policy
from .tree import WORLD, Tree
from .truth import Truth, exact_truth, final_scores
from .words import EOS, PROMPT, STEPS, WORDS, build_tokenizer, sft_rows

__all__ = [
    "EOS",
    "PROMPT",
    "STEPS",
    "WORDS",
    "WORLD",
    "KnownReward",
    "Optimum",
    "Tree",
    "Truth",
    "build_tokenizer",
    "every_answer",
    "exact_truth",
    "final_scores",
    "gold_reward",
    "gold_table",
    "kl_coef_for",
    "new_actor",
    "optimal_policy",
    "policy_table",
    "score_table",
    "sft_actor",
    "sft_rows",
    "sft_trainer",
    "truth_of",
    "value_table",
]
