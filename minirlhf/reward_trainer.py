"""Stage 2, the reward model: learn to score from pairs of which people preferred one.

After the last step the scores are standardised to mean 0 and standard deviation 1 over samples of
the SFT model, so that β means the same from one reward model to the next.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.batch import Prompts, StepRecord
from minirlhf.config import RewardModelConfig
from minirlhf.data import (
    EncodableRow,
    batch_rows,
    check_lengths,
    encode_prompts,
    encode_responses,
    pad_prompts,
    pad_responses,
)
from minirlhf.losses import preference_loss
from minirlhf.noise import PROMPT_ORDER, permutation
from minirlhf.reward_model import RewardModel
from minirlhf.trainer import (
    Trainer,
    adamw,
    clip_and_step,
    refuse_non_finite,
    set_lr,
    warmup_cosine,
)


class RewardModelTrainer(Trainer):
    """Iterate to train a RewardModel on prompt/chosen/rejected rows.

    Args:
        reward_model: usually `RewardModel.from_actor(sft_actor)`.
        rows: dicts with `prompt`, `chosen` and `rejected`, as texts or as token ids.
        config: steps, sizes, learning rate, share of held-out pairs, seed.
        sft_actor: writes the samples over which scores are standardised at the end; None leaves
            the scores as they are.

    Raises:
        ValueError: fewer than 2 pairs, or one is too long for the model's context.
    """

    stage = "reward"

    def __init__(
        self,
        reward_model: RewardModel,
        rows: Sequence[EncodableRow],
        config: RewardModelConfig | None = None,
        *,
        sft_actor: Actor | None = None,
    ) -> None:
        super().__init__()
        self.config: RewardModelConfig = config or RewardModelConfig()
        self.total = self.config.steps
        self.reward_model, self.sft_actor = reward_model, sft_actor
        if len(rows) < 2:
            raise ValueError(f"got {len(rows)} pairs, wanted at least 2 (one is held out)")
        tokenizer = reward_model.tokenizer
        self._prompts = encode_prompts(tokenizer, [row["prompt"] for row in rows])
        self._chosen = encode_responses(tokenizer, [row["chosen"] for row in rows])
        self._rejected = encode_responses(tokenizer, [row["rejected"] for row in rows])
        longest = max(map(len, self._chosen + self._rejected))
        check_lengths(reward_model.model, self._prompts, longest)
        if sft_actor is not None:  # its samples have to fit, too
            for model in (sft_actor.model, reward_model.model):
                check_lengths(model, self._prompts, self.config.max_response_tokens)
        order = permutation(len(rows), self.config.seed, PROMPT_ORDER)
        held_out = max(1, round(self.config.held_out * len(rows)))
        self._held_out, self._train = order[:held_out], order[held_out:]
        self.roles = {"reward_model": reward_model}
        self.optimizers = {"reward_model": adamw(reward_model, self.config.lr)}

    def pair_scores(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Scores (n,) of the chosen and of the rejected responses of some pairs."""
        pad = self.reward_model.filler
        device = self.reward_model.device
        one = pad_prompts([self._prompts[i] for i in numbers], pad)
        prompts = Prompts(one.prompt_ids.repeat(2, 1), one.prompt_mask.repeat(2, 1)).to(device)
        responses = [self._chosen[i] for i in numbers] + [self._rejected[i] for i in numbers]
        ids, mask = pad_responses(responses, pad)
        chosen, rejected = self.reward_model.scores(prompts, ids.to(device), mask.to(device)).chunk(
            2
        )
        return chosen, rejected

    def train_step(self) -> StepRecord:
        """One optimiser step on one batch of pairs."""
        config, optimizer = self.config, self.optimizers["reward_model"]
        rows = batch_rows(len(self._train), config.batch_size, seed=config.seed, batch=self.step)
        chosen, rejected = self.pair_scores([self._train[i] for i in rows])
        loss = preference_loss(chosen, rejected)
        refuse_non_finite("preference_loss", loss, self.step + 1)
        loss.backward()
        lr = warmup_cosine(self.step, self.total, config.lr)
        set_lr(optimizer, lr)
        norm = clip_and_step(optimizer, self.reward_model, config.grad_clip, self.step + 1)
        self.step += 1
        metrics = {
            "preference_loss": loss.item(),
            "accuracy": float((chosen > rejected).float().mean()),
            "grad_norm": norm,
            "lr": lr,
        }
        if self.step == self.total:
            metrics["held_out_accuracy"] = self.held_out_accuracy()
            if self.sft_actor is not None:
                self.reward_model.standardise(self.sft_scores(self.sft_actor))
        return StepRecord(self.stage, self.step, self.total, metrics)

    @torch.no_grad()
    def held_out_accuracy(self) -> float:
        """Share of the held-out pairs whose chosen response scores higher."""
        right = 0
        for start in range(0, len(self._held_out), self.config.batch_size):
            chosen, rejected = self.pair_scores(
                self._held_out[start : start + self.config.batch_size]
            )
            right += int((chosen > rejected).sum())
        return right / len(self._held_out)

    @torch.no_grad()
    def sft_scores(self, actor: Actor) -> Tensor:
        """Scores (N,) of fresh samples of the SFT model, N = `standardise_samples`."""
        config = self.config
        scores = []
        for batch, start in enumerate(range(0, config.standardise_samples, config.batch_size)):
            size = min(config.batch_size, config.standardise_samples - start)
            rows = batch_rows(len(self._prompts), size, seed=config.seed, batch=batch)
            prompts = pad_prompts([self._prompts[i] for i in rows], actor.filler).to(actor.device)
            responses = actor.generate(
                prompts,
                max_response_tokens=config.max_response_tokens,
                seed=config.seed,
                iteration=batch,
            )
            scores.append(
                self.reward_model.scores(prompts, responses.response_ids, responses.response_mask)
            )
        return torch.cat(scores)
