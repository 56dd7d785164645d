"""Stage 2, the reward model: learn to score from pairs of which people preferred one.

After the last step the scores are standardised to mean 0 and standard deviation 1 over samples of
the SFT model, so that β means the same from one reward model to the next.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.config import RewardModelConfig
from minirlhf.data import EncodableRow, batch_rows, check_lengths, pad_prompts
from minirlhf.pair_trainer import PairTrainer
from minirlhf.processes import here
from minirlhf.reward_model import RewardModel
from minirlhf.sharding import unsharded


class RewardModelTrainer(PairTrainer):
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
    loss_name = "preference_loss"
    config: RewardModelConfig

    def __init__(
        self,
        reward_model: RewardModel,
        rows: Sequence[EncodableRow],
        config: RewardModelConfig | None = None,
        *,
        sft_actor: Actor | None = None,
    ) -> None:
        super().__init__("reward_model", reward_model, rows, config or RewardModelConfig())
        self.reward_model, self.sft_actor = reward_model, sft_actor
        if sft_actor is not None:  # its samples have to fit, too
            for model in (sft_actor.model, reward_model.model):
                check_lengths(model, self._prompts, self.config.max_response_tokens)

    def pair_scores(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Scores (n,) of the chosen and of the rejected responses of some pairs."""
        chosen, rejected = self.learner("reward_model")(*self.read_pairs(numbers)).chunk(2)
        return chosen, rejected

    def finish(self) -> None:
        """Standardise the scores, where there is a model to sample from."""
        if self.sft_actor is not None:
            self.reward_model.standardise(self.sft_scores(self.sft_actor))

    @torch.no_grad()
    def sft_scores(self, actor: Actor) -> Tensor:
        """Scores (N,) of fresh samples of the SFT model, N = `standardise_samples`."""
        config = self.config
        scores = []
        for batch, start in enumerate(range(0, config.standardise_samples, config.batch_size)):
            size = min(config.batch_size, config.standardise_samples - start)
            rows = batch_rows(len(self._prompts), size, seed=config.seed, batch=batch)
            part = here().rows(size)
            own = [self._prompts[rows[i]] for i in part]
            prompts = pad_prompts(own, actor.filler).to(actor.device)
            with unsharded(actor) if here().sharded else nullcontext():
                responses = actor.generate(
                    prompts,
                    max_response_tokens=config.max_response_tokens,
                    seed=config.seed,
                    iteration=batch,
                    first_row=part[0],
                )
            ids, mask = responses.response_ids, responses.response_mask
            scores.append(here().gather(self.reward_model.scores(prompts, ids, mask), size))
        return torch.cat(scores)
