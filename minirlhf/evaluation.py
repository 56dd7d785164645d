"""How good is an Actor? Fresh samples, scored; never those that it was trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from minirlhf.actor import Actor
from minirlhf.data import decode_responses, encode_prompts, pad_prompts
from minirlhf.kl import per_token_kl
from minirlhf.masks import masked
from minirlhf.offload import visiting
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel

# the true reward of (prompt, response, ended by itself), where a world has one
Judge = Callable[[str, str, bool], float]

EVALUATION_ITERATION = 1_000_000_007  # a noise key that training never reaches


@dataclass(frozen=True)
class Evaluation:
    """Means over fresh responses, and the responses themselves."""

    score: float  # reward model's mean score, no penalty: the proxy
    score_error: float  # its standard error
    kl: float  # mean KL(actor‖reference) of a whole response, nats
    eos_rate: float  # share that ended by itself
    gold: float | None  # mean true reward, where there is a judge
    responses: list[str]  # the texts, in the order of the prompts
    golds: list[float]  # one for each text; empty without a judge


@torch.no_grad()
def evaluate(
    actor: Actor,
    reference: Reference,
    reward_model: RewardModel,
    prompts: Sequence[str],
    *,
    max_response_tokens: int,
    seed: int = 0,
    batch_size: int = 256,
    judge: Judge | None = None,
) -> Evaluation:
    """Answer every prompt once and score the answers.

    Args:
        actor: π, which samples.
        reference: π_ref, for the KL.
        reward_model: the proxy.
        prompts: texts; repeat some for a smaller error.
        max_response_tokens: longest response, EOS included.
        seed: the same seed gives two actors the same noise, so their answers can be compared.
        batch_size: rows at a time.
        judge: the gold reward, where there is one.
    """
    tokenizer = actor.tokenizer
    ids = encode_prompts(tokenizer, prompts)
    scores, kls, ended, texts = [], [], [], []
    for start in range(0, len(ids), batch_size):
        batch = pad_prompts(ids[start : start + batch_size], actor.filler)
        batch = batch.to(actor.device)
        responses = actor.generate(
            batch,
            max_response_tokens=max_response_tokens,
            seed=seed,
            iteration=EVALUATION_ITERATION + start,
        )
        y, mask = responses.response_ids, responses.response_mask
        with visiting(reference, actor.device):
            kl = per_token_kl(responses.log_probs, reference.log_probs(batch, y))
        kls.append(masked(kl, mask).sum(dim=1))
        with visiting(reward_model, actor.device):
            scores.append(reward_model.scores(batch, y, mask))
        ended.append(responses.ended)
        texts += decode_responses(tokenizer, y, mask)
    score, ends = torch.cat(scores), torch.cat(ended)
    golds = (
        [judge(*one) for one in zip(prompts, texts, ends.tolist(), strict=True)] if judge else []
    )
    return Evaluation(
        score=float(score.mean()),
        score_error=float(score.std(correction=0)) / len(score) ** 0.5,
        kl=float(torch.cat(kls).mean()),
        eos_rate=float(ends.float().mean()),
        gold=sum(golds) / len(golds) if golds else None,
        responses=texts,
        golds=golds,
    )
