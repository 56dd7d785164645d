"""DPO: from preference pairs straight to the Actor; no Reward model, no Critic and no sampling.

One step:
    1. Actor and Reference read both responses of a batch of pairs
    2. implicit reward of a response = β·log(π(y)/π_ref(y))
    3. loss −log σ(implicit reward of the chosen − implicit reward of the rejected) → step
"""

from collections.abc import Sequence

from torch import Tensor

from minirlhf.actor import Actor
from minirlhf.backbone import check_same_vocabulary
from minirlhf.config import DPOConfig
from minirlhf.data import EncodableRow
from minirlhf.dpo_loss import dpo_loss, implicit_rewards
from minirlhf.pair_trainer import PairTrainer
from minirlhf.reference import Reference


class DPOTrainer(PairTrainer):
    """Iterate to train an Actor on prompt/chosen/rejected rows; the Reference stays as it is.

    Args:
        actor: the SFT model; trained.
        reference: `Reference.from_actor(actor)`, made before training; frozen.
        rows: dicts with `prompt`, `chosen` and `rejected`, as texts or as token ids.
        config: steps, sizes, learning rate, β, share of held-out pairs, seed.

    Raises:
        ValueError: fewer than 2 pairs, one is too long for the model's context, or roles whose
            vocabularies differ.
    """

    stage = "dpo"
    loss_name = "dpo_loss"
    config: DPOConfig

    def __init__(
        self,
        actor: Actor,
        reference: Reference,
        rows: Sequence[EncodableRow],
        config: DPOConfig | None = None,
    ) -> None:
        check_same_vocabulary(actor, reference)
        super().__init__("actor", actor, rows, config or DPOConfig())
        self.actor, self.reference = actor, reference.freeze()

    def pair_scores(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Implicit rewards (n,) of the chosen and of the rejected responses of some pairs."""
        prompts, ids, mask = self.read_pairs(numbers)
        rewards = implicit_rewards(
            self.learner("actor")(prompts, ids),
            self.reference.log_probs(prompts, ids),
            mask,
            kl_coef=self.config.kl_coef,
        )
        chosen, rejected = rewards.chunk(2)
        return chosen, rejected

    def loss(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """DPO's loss, a scalar."""
        return dpo_loss(chosen, rejected)

    def more_metrics(self, chosen: Tensor, rejected: Tensor) -> dict[str, float]:
        """The implicit rewards: their lead, and each side's own way from the Reference."""
        return {
            "reward_margin": float((chosen - rejected).mean()),
            "chosen_reward": float(chosen.mean()),
            "rejected_reward": float(rejected.mean()),
        }
