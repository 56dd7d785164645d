"""Several Reward models read as one: by their mean, or by whichever of them is least pleased.

    RewardEnsemble([first, second, third], reduce="min")

Each was trained on other pairs, or from another seed, so each has mistakes of its own. An Actor
that finds the mistake of one still has to please the others. Coste et al. 2023 (arXiv 2310.02743).
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor, nn

from minirlhf.actor import Actor
from minirlhf.backbone import check_same_vocabulary
from minirlhf.batch import Prompts
from minirlhf.config_rules import check_choice
from minirlhf.reward_model import RewardModel

Reduce = Literal["mean", "min"]
NOT_ONE_MODEL = (
    "an ensemble is not one model: make or open each RewardModel, then put them together"
)


class RewardEnsemble(RewardModel):
    """r(x, y) = mean or minimum over K frozen Reward models; usable wherever one of them is.

    A Critic made from it is a copy of the first member, since V has to begin somewhere.

    Args:
        members: K ≥ 1 reward models of one vocabulary, each standardised after its stage 2. They
            are copied: what happens to the ensemble does not reach them.
        reduce: "mean", or "min" for the most sceptical member of each response.

    Raises:
        ValueError: no members, different vocabularies, or an unknown `reduce`.
    """

    def __init__(self, members: Sequence[RewardModel], reduce: Reduce = "mean") -> None:
        if not members:
            raise ValueError("an ensemble has at least one reward model, got none")
        check_choice("reduce", reduce, ("mean", "min"))
        check_same_vocabulary(*members)
        copies = [copy.deepcopy(member) for member in members]
        super().__init__(copies[0].model, members[0].tokenizer)
        self.members, self.reduce = nn.ModuleList(copies), reduce
        self.freeze()

    def member_scores(
        self, prompts: Prompts, response_ids: Tensor, response_mask: Tensor
    ) -> Tensor:
        """(K, B) reward units: what each member says; where they differ, somebody is wrong.

        Args:
            prompts: (B, P) ids and mask, left-padded.
            response_ids: (B, R) int, right-padded.
            response_mask: (B, R) bool.
        """
        each = [one.scores(prompts, response_ids, response_mask) for one in self._members()]
        return torch.stack(each)

    def scores(self, prompts: Prompts, response_ids: Tensor, response_mask: Tensor) -> Tensor:
        """Mean or minimum over the members, for each response; arguments as `member_scores`.

        Returns:
            (B,) reward units.
        """
        each = self.member_scores(prompts, response_ids, response_mask)
        return each.mean(dim=0) if self.reduce == "mean" else each.amin(dim=0)

    @torch.no_grad()
    def standardise(self, scores: Tensor) -> None:
        """Make these scores of the ensemble mean 0 and std 1 from now on, so that β keeps meaning.

        Members that disagree have a mean of less spread, and a minimum below 0, though each of
        them is standardised. One shift and one scale for all members does it, for
        min (r_k − m)/s = (min r_k − m)/s, and likewise for the mean.

        Args:
            scores: (N,) this ensemble's scores of SFT samples, N ≥ 2.

        Raises:
            ValueError: fewer than 2 scores, or all the same.
        """
        for member in self._members():
            member.standardise(scores)

    def save(self, folder: str | Path) -> None:
        """Write each member to a folder of its own: member_1, member_2 and so on."""
        for number, member in enumerate(self._members(), start=1):
            member.save(Path(folder) / f"member_{number}")

    @classmethod
    def from_actor(cls, actor: Actor, *, seed: int = 0, lora_rank: int = 0) -> "RewardEnsemble":
        """Refuse: stage 2 trains each member for itself."""
        raise ValueError(NOT_ONE_MODEL)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, device: str | torch.device | None = None
    ) -> "RewardEnsemble":
        """Refuse: open each member with `RewardModel.from_pretrained`."""
        raise ValueError(NOT_ONE_MODEL)

    def _members(self) -> list[RewardModel]:
        return cast(list[RewardModel], list(self.members))
