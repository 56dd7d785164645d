"""Which four models a command looks at: those of a PPO run, or the café's shipped ones."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from minirlhf import Actor, Critic, Reference, RewardModel


@dataclass(frozen=True)
class FourModels:
    """The four roles, loaded."""

    actor: "Actor"
    reference: "Reference"
    critic: "Critic"
    reward_model: "RewardModel"


def load_four_models(run: Path | None, device: "torch.device") -> FourModels:
    """Load the roles of a finished PPO run; without one, the café's, before any PPO.

    Args:
        run: a folder written by `minirlhf ppo` or `minirlhf demo --out`.
        device: where to put them.

    Raises:
        ValueError: the folder is no finished PPO run, or a model in it cannot be loaded.
    """
    from minirlhf import Actor, Critic, Reference, RewardModel
    from minirlhf.worlds.cafe.recipe import shipped_folder

    if run is None:
        model, reward = shipped_folder() / "sft_actor", shipped_folder() / "reward_model"
        actor = Actor.from_pretrained(model, device=device)
        reward_model = RewardModel.from_pretrained(reward, device=device).freeze()
        critic = Critic.from_reward_model(reward_model)
        return FourModels(actor, Reference.from_actor(actor), critic, reward_model)
    sources = run_sources(run)
    return FourModels(
        Actor.from_pretrained(run / "actor", device=device),
        Reference.from_pretrained(sources["model"], device=device).freeze(),
        Critic.from_pretrained(run / "critic", device=device),
        RewardModel.from_pretrained(sources["reward"], device=device).freeze(),
    )


def run_sources(run: Path) -> dict[str, str]:
    """Where a finished PPO run took its Reference and its Reward model from.

    Raises:
        ValueError: the folder is no finished PPO run.
    """
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        sources = {name: str(config["sources"][name]) for name in ("model", "reward")}
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(
            f"{run} is not the folder of a PPO run (minirlhf ppo --out, minirlhf demo --out)"
        ) from None
    if not (run / "actor").is_dir() or not (run / "critic").is_dir():
        raise ValueError(f"the run in {run} is not finished; go on with: minirlhf ppo --resume")
    return sources
