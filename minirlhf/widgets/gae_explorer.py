"""The GAE explorer: what each δ adds to one advantage, while λ moves."""

from dataclasses import replace
from typing import Any

import traitlets

from minirlhf.advantages import gae, td_target
from minirlhf.config import OnlineConfig
from minirlhf.widgets.live import script, style
from minirlhf.widgets.one_response import ResponseWidget
from minirlhf.widgets.picture import Picture, number
from minirlhf.widgets.token_rows import json_numbers
from minirlhf.widgets.token_table import LONGEST_PICTURE, token_figure


class GAEExplorer(ResponseWidget):
    """Â_t as a sum of shares: Â_t = Σ_l (γλ)^l·δ_{t+l}.

    Args:
        rollout: from `collect_rollout`, or a PPO step record; R_t and V_t are taken from it.
        tokenizer: turns ids into words.
        config: γ and λ to start with; None = `PPOConfig()`.
        row: which response.
        language: of the words around the numbers.
        **traits: any of the attributes below, to start with.

    Attributes:
        gamma: γ in [0, 1].
        lam: λ in [0, 1].
        token: t, the token whose advantage is taken apart.

    Raises:
        ValueError: there is no such row.
        traitlets.TraitError: there is no such token, or γ or λ lies outside [0, 1].
    """

    prefix = "gae_explorer"
    _esm = script("formulas", "token_microscope_parts", "token_strip", "gae_explorer")
    _css = style("token_microscope", "token_strip")

    gamma = traitlets.Float(1.0, min=0.0, max=1.0).tag(sync=True)
    lam = traitlets.Float(0.95, min=0.0, max=1.0).tag(sync=True)
    token = traitlets.Int(0).tag(sync=True)

    def _settings(self, config: OnlineConfig) -> dict[str, Any]:
        return {"gamma": config.gamma, "lam": getattr(config, "lam", 1.0)}

    def _data(self) -> dict[str, Any]:
        """With R_t as the rollout has them."""
        rewards = self._one.rewards[0, : int(self._one.lengths[0])]
        return {**super()._data(), "reward": json_numbers(rewards)}

    def picture(self) -> Picture:
        """The response as a table with γ and λ of now, the chosen token framed."""
        one, mask = self._one, self._one.response_mask
        rewards, values = one.rewards.double(), one.old_values.double()
        advantages, returns = gae(rewards, values, mask, gamma=self.gamma, lam=self.lam)
        now = replace(
            one,
            rewards=rewards,
            old_values=values,
            advantages=advantages,
            returns=returns,
            td_target=td_target(rewards, values, mask, gamma=self.gamma),
        )
        length = int(one.lengths[0])
        mark = self.token if self.token < min(length, LONGEST_PICTURE) else None
        picture = token_figure(
            now, 0, self._tokenizer, gamma=self.gamma, mark=mark, longest=LONGEST_PICTURE
        )
        chosen = number(float(advantages[0, self.token])) if length else "none"
        picture.alt = (
            f"GAE explorer with γ {number(self.gamma)}, λ {number(self.lam)}: the advantage of "
            f"token {self.token} is {chosen}. {picture.alt}"
        )
        return picture

    @traitlets.validate("token")
    def _valid_token(self, proposal: Any) -> int:
        token, length = int(proposal["value"]), int(self._one.lengths[0])
        if not -length <= token < max(1, length):
            raise traitlets.TraitError(f"token {token} of a response that has {length} tokens")
        return token % length if length else 0
