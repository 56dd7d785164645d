"""Which models a command looks at: those of a run that trained an Actor, or the shipped ones.

Only PPO has all four: REINFORCE, RLOO and GRPO have no Critic, DPO has no Reward model either.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from minirlhf import Actor, Critic, Reference, RewardModel

STAGES = ("ppo", "reinforce", "rloo", "grpo", "dpo")


@dataclass(frozen=True)
class FourModels:
    """The four roles, loaded; None where the algorithm has no such model."""

    actor: "Actor"
    reference: "Reference"
    critic: "Critic | None"
    reward_model: "RewardModel | None"


def load_four_models(run: Path | None, device: "torch.device") -> FourModels:
    """Load the roles of a finished run; without one, the café's, before any PPO.

    Args:
        run: a folder written by `minirlhf ppo` (or `rloo`, …) or `minirlhf demo --out`.
        device: where to put them.

    Raises:
        ValueError: the folder is no finished run of an Actor, or a model in it cannot be loaded.
    """
    from minirlhf import Actor, Critic, Reference, RewardModel
    from minirlhf.worlds.cafe.recipe import shipped_folder

    if run is None:
        model, reward = shipped_folder() / "sft_actor", shipped_folder() / "reward_model"
        actor = Actor.from_pretrained(model, device=device)
        reward_model = RewardModel.from_pretrained(reward, device=device).freeze()
        critic = Critic.from_reward_model(reward_model)
        return FourModels(actor, Reference.from_actor(actor), critic, reward_model)
    stage, sources = run_sources(run)
    return FourModels(
        Actor.from_pretrained(run / "actor", device=device),
        Reference.from_pretrained(sources["model"], device=device).freeze(),
        Critic.from_pretrained(run / "critic", device=device) if stage == "ppo" else None,
        RewardModel.from_pretrained(sources["reward"], device=device).freeze()
        if stage != "dpo"
        else None,
    )


def run_sources(run: Path) -> tuple[str, dict[str, str]]:
    """The stage of a finished run, and where it took its Reference and its Reward model from.

    Raises:
        ValueError: the folder is no finished run of an Actor.
    """
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        stage = STAGES[STAGES.index(config["stage"])]
        wanted = ("model",) if stage == "dpo" else ("model", "reward")
        sources = {name: str(config["sources"][name]) for name in wanted}
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{run} is not the folder of a run of {', '.join(STAGES)} or demo (their --out)"
        ) from None
    trained = ("actor", "critic") if stage == "ppo" else ("actor",)
    if not all((run / name).is_dir() for name in trained):
        raise ValueError(f"the run in {run} is not finished; go on with: minirlhf {stage} --resume")
    return stage, sources
