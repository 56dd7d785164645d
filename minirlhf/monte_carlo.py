"""The true value of a state, by playing on: Monte Carlo, with error bars.

V(S_t) = E[Σ_{k≥t} γ^{k−t}·R_k given S_t] is a mean over all ways in which the Actor may go on from
S_t, the prompt and the first t tokens of a response. In training nobody knows it and the Critic has
to guess. Here the Actor goes on n times from each prefix; the mean of the n returns is V, give or
take its standard error. Nothing is learned, so nothing is learned wrongly.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.backbone import autocast
from minirlhf.batch import Prompts
from minirlhf.config import OnlineConfig
from minirlhf.continuations import Continuations, Text
from minirlhf.data import decode_responses
from minirlhf.evaluation import Judge
from minirlhf.kl import per_token_kl
from minirlhf.masks import at_least_float32, check_response_mask, check_same_shape
from minirlhf.noise import MONTE_CARLO, key, uniform_noise
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.rewards import per_token_rewards

AT_ONCE = 1024  # continuations; bounds the memory


@dataclass(frozen=True)
class MonteCarloValues:
    """V at every prefix of given responses, as well as n continuations of each tell it."""

    values: Tensor  # (B, R) reward  mean return from S_t on; 0 where masked
    errors: Tensor  # (B, R) reward  standard error of that mean; 0 where masked
    n: int  # continuations of each prefix


@torch.no_grad()
def monte_carlo_values(
    actor: Actor,
    reference: Reference,
    reward_model: RewardModel,
    prompts: Prompts,
    response_ids: Tensor,
    response_mask: Tensor,
    config: OnlineConfig,
    *,
    n: int = 256,
    seed: int = 0,
    kl_coef: float | None = None,
) -> MonteCarloValues:
    """V(S_t) of the shaped return: what the Critic should say before each token.

        V(S_t) = E[Σ_{k≥t} γ^{k−t}·R_k given S_t]

    R_k is the reward of `collect_rollout`: −β·kl_k on each token, and on the last one the score,
    less the missing-EOS penalty, clipped.

    Args:
        actor: π, as it is now; it samples the continuations.
        reference: π_ref, for the KL toll.
        reward_model: r, read once, at the end of prefix and continuation.
        prompts: (B, P) ids and mask, left-padded.
        response_ids: (B, R) int, right-padded; any text, also that of another policy.
        response_mask: (B, R) bool; a response of length 0 has no state and gives zeros.
        config: temperature, β, γ, clip, penalty, precision, and the longest response.
        n: continuations of each prefix, 2 or more; errors shrink as 1/√n.
        seed: of the noise, which differs from prefix to prefix and is never that of training.
        kl_coef: β where it differs from the config's (an adapting β).

    Returns:
        Values and standard errors, without gradient. An error is an estimate, too: it is 0 where
        all n continuations earn the same, which does not exclude a rare other one.

    Raises:
        ValueError: n < 2, shapes differ, a mask has a gap, a response is longer than
            `config.max_response_tokens`, a token is counted after EOS, or a prompt has none.

    Reference: Sutton & Barto 2018, section 5.1 (Monte Carlo prediction).
    """
    beta = config.kl_coef if kl_coef is None else kl_coef

    # a reward model with a way of its own to score, a table say, is shown whole texts
    reads_on = type(reward_model).scores is RewardModel.scores

    def read(text: Tensor) -> Text:
        return Text(text, actor, reference, reward_model if reads_on else None)

    def earn(prompt: Tensor, prefix: Tensor, one: Continuations) -> Tensor:
        scores = one.scores
        if not reads_on:
            x = prompt.expand(len(scores), -1)
            unpadded = Prompts(x, torch.ones_like(x, dtype=torch.bool))
            scores = reward_model.scores(unpadded, *one.after(prefix))
        scores = torch.where(one.ended, scores, scores - config.missing_eos_penalty)
        kl = per_token_kl(one.log_probs, one.ref_log_probs, estimator=config.kl_estimator)
        return per_token_rewards(scores, kl, one.mask, kl_coef=beta, score_clip=config.score_clip)

    return _walk(actor, read, earn, prompts, response_ids, response_mask, config, n, seed)


@torch.no_grad()
def monte_carlo_gold(
    actor: Actor,
    judge: Judge,
    prompts: Prompts,
    response_ids: Tensor,
    response_mask: Tensor,
    config: OnlineConfig,
    *,
    n: int = 256,
    seed: int = 0,
) -> MonteCarloValues:
    """V(S_t) of the gold reward alone: how good a human will find what comes of this prefix.

        V(S_t) = E[γ^{L−1−t}·gold(x, y, ended) given S_t]      L = tokens of the whole response

    There is no KL toll, no clip and no penalty: the judge is told whether the response ended.

    Args:
        actor: π, as it is now.
        judge: the true reward of (prompt, response, ended); its texts have no special tokens.
        prompts: as the arguments that follow, see `monte_carlo_values`.
        response_ids: (B, R) int.
        response_mask: (B, R) bool.
        config: temperature, γ, precision, and the longest response; the rest is not used.
        n: continuations of each prefix, 2 or more.
        seed: the same seed gives the same continuations as in `monte_carlo_values`.

    Returns:
        Values and standard errors, in units of the judge.

    Raises:
        ValueError: as `monte_carlo_values`.
    """

    def read(text: Tensor) -> Text:
        return Text(text, actor)

    def earn(prompt: Tensor, prefix: Tensor, one: Continuations) -> Tensor:
        question = str(actor.tokenizer.decode(prompt, skip_special_tokens=True))
        answers = decode_responses(actor.tokenizer, *one.after(prefix))
        both = zip(answers, one.ended.tolist(), strict=True)
        golds = one.scores.new_tensor([judge(question, answer, ended) for answer, ended in both])
        return per_token_rewards(golds, torch.zeros_like(one.log_probs), one.mask, kl_coef=0.0)

    return _walk(actor, read, earn, prompts, response_ids, response_mask, config, n, seed)


# R_k of every token of the continuations, (n, W), from prompt, prefix and continuations
Earn = Callable[[Tensor, Tensor, Continuations], Tensor]


def _walk(
    actor: Actor,
    read: Callable[[Tensor], Text],
    earn: Earn,
    prompts: Prompts,
    response_ids: Tensor,
    response_mask: Tensor,
    config: OnlineConfig,
    n: int,
    seed: int,
) -> MonteCarloValues:
    """From every prefix of every row, go on n times: mean and standard error of the returns."""
    longest = config.max_response_tokens
    _check(prompts, response_ids, response_mask, n, longest, int(actor.tokenizer.eos_token_id))
    prompts, mask = prompts.to(actor.device), response_mask.to(actor.device)
    ids = response_ids.to(actor.device)
    values = at_least_float32(next(actor.parameters())).new_zeros(mask.shape)
    errors = torch.zeros_like(values)
    powers = torch.arange(longest, dtype=torch.float64, device=actor.device)
    discounts = config.gamma**powers  # γ^k
    with autocast(actor.device, config.precision):
        for row in range(len(ids)):
            x, y = prompts.prompt_ids[row][prompts.prompt_mask[row]], ids[row][mask[row]]
            text = read(torch.cat([x, y]))
            for t in range(len(y)):
                left = longest - t
                noise = uniform_noise(seed, MONTE_CARLO, key(row, t), rows=n, steps=left)
                returns = []
                for some in noise.split(AT_ONCE):
                    one = text.go_on(len(x) + t, some, temperature=config.temperature)
                    returns.append((discounts[:left] * earn(x, y[:t], one)).sum(dim=1))
                values[row, t] = torch.cat(returns).mean()
                errors[row, t] = torch.cat(returns).std() / n**0.5  # std divides by n − 1
    return MonteCarloValues(values, errors, n)


def _check(
    prompts: Prompts, ids: Tensor, mask: Tensor, n: int, longest: int, eos_token_id: int
) -> None:
    """Refuse what has no standard error, and texts with a prefix that training never meets.

    Raises:
        ValueError: says what it got.
    """
    check_response_mask(mask)
    check_same_shape(mask, response_ids=ids)
    if len(prompts.prompt_ids) != len(ids):
        raise ValueError(f"got {len(prompts.prompt_ids)} prompts for {len(ids)} responses")
    if not bool(prompts.prompt_mask.any(dim=1).all()):
        raise ValueError("a prompt has no token: nothing would say how a response begins")
    if n < 2:
        raise ValueError(f"n must be 2 or more for a standard error, got {n}")
    if int(mask.sum(dim=1).max()) > longest:
        raise ValueError(
            f"a response has {int(mask.sum(dim=1).max())} counted tokens, more than "
            f"max_response_tokens = {longest}: what follows such a prefix is never sampled"
        )
    after_eos = mask[:, 1:] & (ids[:, :-1] == eos_token_id)
    if bool(after_eos.any()):
        row = int(after_eos.nonzero()[0, 0])
        raise ValueError(f"response {row} has a counted token after its EOS, where nothing follows")
