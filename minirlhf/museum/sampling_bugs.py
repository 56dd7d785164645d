"""Four mistakes made while the Actor writes and the others read.

Each function is called with the right one first, so that it can do everything else as it should.
"""

from typing import Any

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.batch import Prompts
from minirlhf.critic import Critic
from minirlhf.museum.bug import Bug, Wrong

K = 3


def top_k_sampling(right: Wrong, log_pi: Tensor, noise: Tensor) -> Any:
    """Draw from the K likeliest tokens only."""
    likeliest = log_pi.topk(min(K, log_pi.shape[1])).indices  # exactly K, also among equals
    unlikely = torch.ones_like(log_pi, dtype=torch.bool).scatter(1, likeliest, False)
    log_pi = log_pi.masked_fill(unlikely, -torch.inf)  # WRONG
    # right: no such line; what is sampled from is what is scored
    return right(log_pi, noise)


TOP_K_SAMPLING = Bug(
    name="top_k_sampling",
    title="top-k sampling, full-softmax scoring",
    story=(
        f"Tokens were drawn from the {K} likeliest (many libraries filter by default), but "
        "log-probs, ratios and KL are those of the full softmax. The sampled KL estimates "
        "KL(actor‖reference) only if the Actor itself drew the tokens. Here nobody ever draws from "
        "the tail. When the few sampled tokens are pushed down, their probability leaks there and "
        "nothing brings it back: every token that is drawn is now less likely than under the "
        "Reference, and −β·kl even pays for that. Draw from the full softmax."
    ),
    symptom=(
        "With the settings below (every response is cut and penalised, advantages are not "
        "whitened, small steps) nearly all advantages are negative, and kl is below 0 in every "
        "iteration after the first; rightly sampled it stays at 0 within 0.02. Ratios and losses "
        "look healthy. With the café's default settings kl does not turn negative: it grows faster "
        "than it should, together with the score."
    ),
    watch=("kl", "reward", "eos_rate"),
    sources=(
        "https://github.com/huggingface/trl/issues/736",
        "https://github.com/huggingface/trl/issues/235",
        "https://github.com/huggingface/trl/issues/925",
        "https://github.com/shibing624/MedicalGPT/issues/374",
    ),
    replaces={"minirlhf.generation:draw": top_k_sampling},
    settings={
        "actor_lr": 1e-5,
        "max_response_tokens": 10,
        "missing_eos_penalty": 3.0,
        "whiten_advantages": False,
    },
)


def eos_suppressed(
    right: Wrong, model: Any, prompts: Prompts, *, eos_token_id: int, **options: Any
) -> Any:
    """Decode with the end of a response forbidden."""

    def forbid(module: Any, inputs: Any, output: Any) -> None:
        output.logits[..., eos_token_id] = -torch.inf  # WRONG
        # right: no such hook; the Actor may end whenever it likes

    with model.register_forward_hook(forbid):
        return right(model, prompts, eos_token_id=eos_token_id, **options)


EOS_SUPPRESSED = Bug(
    name="eos_suppressed",
    title="EOS suppressed",
    story=(
        "Generation ran with min_length = max_length (so that every batch has one width), which "
        "sets the logit of EOS to −∞ until the cap is reached. Every response is cut, and the "
        "Reward model scores what it never saw in training. The Actor's log-probs still include "
        "EOS, so it learns to want the end more and more where it is never allowed to have it. "
        "Let generation end; make widths equal by padding."
    ),
    symptom=(
        "eos_rate is 0 and length is the cap, in every iteration; the score pays the missing-EOS "
        "penalty throughout. kl turns negative as well: what is sampled is not what is scored."
    ),
    watch=("eos_rate", "length", "score", "kl"),
    sources=(
        "https://github.com/deepspeedai/DeepSpeedExamples/issues/539",
        "https://github.com/deepspeedai/DeepSpeedExamples/pull/470",
        "https://github.com/huggingface/trl/issues/2387",
    ),
    replaces={"minirlhf.generation:generate": eos_suppressed},
)


def unfrozen_reference(
    right: Wrong, actor: Actor, reference: Any, *others: Any, **options: Any
) -> Any:
    """Collect a rollout whose Reference is the Actor itself."""
    reference = actor  # WRONG
    # right: no such line; the Reference is a copy, made before training
    return right(actor, reference, *others, **options)


UNFROZEN_REFERENCE = Bug(
    name="unfrozen_reference",
    title="unfrozen Reference",
    story=(
        "One model was handed over twice, as policy and as reference, without a copy. Whatever the "
        "Actor learns, the Reference has learned too, so there is nothing to keep the Actor from "
        "going astray: β might as well be 0. Copy the Actor before training and freeze the copy."
    ),
    symptom=(
        "kl is exactly 0 for ever although the weights move; reward equals score to the last "
        "digit. The score rises as nicely as ever, and the texts drift."
    ),
    watch=("kl", "reward", "score"),
    sources=(
        "https://github.com/huggingface/trl/issues/2046",
        "https://github.com/hiyouga/ChatGLM-Efficient-Tuning/issues/380",
    ),
    replaces={"minirlhf.rollout:collect_rollout": unfrozen_reference},
)


def value_one_token_late(
    right: Wrong, critic: Critic, prompts: Prompts, response_ids: Tensor
) -> Tensor:
    """Read V after token A_t instead of before it."""
    input_ids = torch.cat([prompts.prompt_ids, response_ids], dim=1)
    hidden = critic.hidden_states(input_ids, prompts.prompt_mask)
    width = response_ids.shape[1]
    return critic.read_head(hidden[:, -width:])  # WRONG: slots P … P+R−1
    # right: critic.read_head(hidden[:, -width - 1 : -1]), slots P−1 … P+R−2


VALUE_ONE_TOKEN_LATE = Bug(
    name="value_one_token_late",
    title="value read one token late",
    story=(
        "The values of the response were taken as values[:, -R:], where the tokens themselves "
        "stand. But token A_t is chosen in state S_t, and V(S_t) stands one slot earlier: "
        "values[:, -R-1:-1]. Read late, V already knows the token it should be a baseline for. "
        "What a token earned goes to the token before it; the last one, whose value equals the "
        "score, earns nothing. The first threads below read late; in the last one the shift was "
        "made twice, so that values were read one token early."
    ),
    symptom=(
        "Nothing looks broken. The Critic explains a little more than it should from the first "
        "iteration on, and the score rises clearly more slowly. In the rollout: as long as the "
        "Critic is still a copy of the Reward model, the advantage of the last token is −β·kl."
    ),
    watch=("score", "gold", "explained_variance"),
    sources=(
        "https://github.com/wyf3/llm_related/issues/36",
        "https://github.com/alibaba/ROLL/issues/3",
        "https://github.com/huggingface/trl/issues/44",
    ),
    replaces={"minirlhf.critic:Critic.values": value_one_token_late},
)
