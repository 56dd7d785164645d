"""What the three stages changed, measured on held-out sentences."""

from pathlib import Path
from typing import Any

import torch
from reviews import Reviews, Row

from minirlhf import Actor, Reference, RewardModel, RewardModelTrainer, sft_loss
from minirlhf.data import encode_prompts, encode_responses, pad_prompts, pad_responses
from minirlhf.evaluation import Evaluation, evaluate

AT_A_TIME = 64
SAMPLES = 12  # texts to look at


def measure(
    model: Path,
    runs: Path,
    rows: Reviews,
    *,
    actors: tuple[str, ...],
    responses: int,
    max_response_tokens: int,
) -> dict[str, Any]:
    """Read the models of all stages from their folders, and compare them.

    Args:
        model: folder of the pretrained model.
        runs: folder of the runs `sft`, `reward` and those of stage 3.
        rows: the held-out ones are used.
        actors: names of the runs of stage 3. All are measured by the same reward model and
            Reference on the same prompts, so their numbers have one unit.
        responses: to held-out prompts, before and after PPO; as many rows for the SFT loss.
        max_response_tokens: longest response, EOS included.
    """
    base, sft = map(Actor.from_pretrained, (model, runs / "sft/actor"))
    reward_model = RewardModel.from_pretrained(runs / "reward/reward_model")
    pairs, sentences = rows.pairs_held_out, rows.sft_held_out[:responses]
    right = right_pairs(reward_model, pairs)
    low, high = wilson(right, len(pairs))
    prompts = [row["prompt"] for row in rows.prompts_held_out[:responses]]
    reference = Reference.from_actor(sft)

    def look(actor: Actor) -> Evaluation:
        return evaluate(
            actor, reference, reward_model, prompts, max_response_tokens=max_response_tokens
        )

    before = look(sft)
    return {
        "sft_loss": [held_out_loss(base, sentences), held_out_loss(sft, sentences)],
        "pairs": len(pairs),
        "accuracy": right / len(pairs),
        "accuracy_interval": [low, high],
        **{
            name: compare(prompts, before, look(Actor.from_pretrained(runs / name / "actor")))
            for name in actors
        },
    }


def compare(prompts: list[str], before: Evaluation, after: Evaluation) -> dict[str, Any]:
    """What stage 3 changed."""
    texts = zip(prompts, before.responses, after.responses, strict=True)
    return {
        "score": [before.score, after.score],
        "score_error": [before.score_error, after.score_error],
        "kl": after.kl,
        "eos_rate": [before.eos_rate, after.eos_rate],
        "words": [words(before), words(after)],
        "distinct": [distinct(before), distinct(after)],
        "samples": [dict(zip(("prompt", "sft", "ppo"), x, strict=True)) for x in texts][:SAMPLES],
    }


@torch.no_grad()
def held_out_loss(actor: Actor, rows: list[Row]) -> float:
    """Nats per completion token."""
    tokenizer, total, count = actor.tokenizer, 0.0, 0
    for start in range(0, len(rows), AT_A_TIME):
        some = rows[start : start + AT_A_TIME]
        asked = encode_prompts(tokenizer, [row["prompt"] for row in some])
        written = encode_responses(tokenizer, [row["completion"] for row in some])
        prompts = pad_prompts(asked, tokenizer.pad_token_id).to(actor.device)
        ids, mask = pad_responses(written, tokenizer.pad_token_id)
        ids, mask = ids.to(actor.device), mask.to(actor.device)
        tokens = int(mask.sum())
        total += float(sft_loss(actor.logits(prompts, ids), ids, mask)) * tokens
        count += tokens
    return total / count


@torch.no_grad()
def right_pairs(reward_model: RewardModel, pairs: list[Row]) -> int:
    """How many of the pairs have a higher score for the chosen sentence."""
    reader, right = RewardModelTrainer(reward_model, pairs), 0
    for start in range(0, len(pairs), AT_A_TIME):
        numbers = range(start, min(start + AT_A_TIME, len(pairs)))
        chosen, rejected = reader.pair_scores(numbers)
        right += int((chosen > rejected).sum())
    return right


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share that was measured on n independent cases (Wilson 1927).

    Example:
        >>> [round(x, 3) for x in wilson(60, 100)]
        [0.502, 0.691]
    """
    share, extra = right / n, z * z / n
    middle = (share + extra / 2) / (1 + extra)
    half = z * (share * (1 - share) / n + extra / (4 * n)) ** 0.5 / (1 + extra)
    return middle - half, middle + half


def words(seen: Evaluation) -> float:
    """Mean number of words in a response."""
    return sum(len(text.split()) for text in seen.responses) / len(seen.responses)


def distinct(seen: Evaluation) -> float:
    """Share of the responses that are different texts; low = the Actor says one thing always."""
    return len(set(seen.responses)) / len(seen.responses)
