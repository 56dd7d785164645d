"""Many ways in which one text may go on, sampled from copies of what was read of it once.

    prompt ▶ A_0 ▶ A_1 ▶ A_2 ▶ …      one text; each model reads it once, into its cache
      └n▶ …   └n▶ …  └n▶ …            n continuations of each prefix, until EOS or cut

A continuation costs only its own tokens, and nothing after it has ended.
"""

import copy
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from minirlhf.actor import Actor
from minirlhf.backbone import Role
from minirlhf.batch import Prompts
from minirlhf.generation import generate
from minirlhf.log_probs import gather_log_probs
from minirlhf.masks import at_least_float32
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel

STRETCH = 4  # tokens between two looks at which continuations have ended and are dropped


@dataclass(frozen=True)
class Continuations:
    """n ways in which the Actor went on from one prefix, and what was said of them."""

    ids: Tensor  # (n, W) int     anything after the end
    mask: Tensor  # (n, W) bool    counted tokens, EOS included; one at least in each row
    ended: Tensor  # (n,)   bool    True where an EOS was sampled
    log_probs: Tensor  # (n, W) nats    log π, from the cached decode
    ref_log_probs: Tensor  # (n, W) nats    log π_ref; 0 without a Reference
    scores: Tensor  # (n,)   reward  of prefix and continuation, raw; 0 without a Reward model

    @classmethod
    def blank(cls, n: int, width: int, like: Tensor) -> Self:
        """Nothing counted yet; float type and device are those of `like`."""
        table = at_least_float32(like).new_zeros(n, width)
        return cls(
            ids=table.long(),
            mask=table.bool(),
            ended=table[:, 0].bool(),
            log_probs=table.clone(),
            ref_log_probs=table.clone(),
            scores=table[:, 0].clone(),
        )

    def after(self, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Whole responses: prefix (t,) and continuation, as ids and mask (n, t + W) each."""
        before = prefix.expand(len(self.ids), -1)
        counted = torch.ones_like(before, dtype=torch.bool)
        return torch.cat([before, self.ids], dim=1), torch.cat([counted, self.mask], dim=1)

    def write(self, rows: Tensor, column: int, stretch: "Continuations") -> None:
        """Fill in the next few tokens of some rows, from `column` on."""
        columns = slice(column, column + stretch.ids.shape[1])
        for field in fields(self):
            whole, part = getattr(self, field.name), getattr(stretch, field.name)
            place = (rows, columns) if whole.dim() == 2 else rows
            whole[place] = part.to(whole.dtype)


class Text:
    """A prompt with a response, read on and on by up to three models; each has its cache."""

    def __init__(
        self,
        ids: Tensor,
        actor: Actor,
        reference: Reference | None = None,
        reward_model: RewardModel | None = None,
    ) -> None:
        self.ids = ids  # (P + L,) int, without padding
        self.actor, self.reference, self.reward_model = actor, reference, reward_model
        roles = {"actor": actor, "reference": reference, "reward model": reward_model}
        self.roles: dict[str, Role] = {name: role for name, role in roles.items() if role}
        self.caches = {
            name: DynamicCache(config=role.model.config) for name, role in self.roles.items()
        }

    @torch.no_grad()
    def go_on(self, slots: int, noise: Tensor, *, temperature: float = 1.0) -> Continuations:
        """Sample how the first `slots` tokens may go on.

        Args:
            slots: of prompt and prefix, 1 or more; not fewer than in the call before.
            noise: (n, W) in [0, 1); entry [i, k] decides token k of continuation i.
            temperature: T > 0, of sampling and of both log-probs.
        """
        n, width = noise.shape
        caches = {name: self._copies(name, slots, n) for name in self.roles}
        texts = self.ids[:slots].expand(n, -1)
        rows = torch.arange(n, device=texts.device)  # that have not ended
        noise = noise.to(texts.device)
        whole = Continuations.blank(n, width, next(self.actor.parameters()))
        for column in range(0, width, STRETCH):
            now = noise[rows, column : column + STRETCH]
            stretch = self._stretch(texts, now, caches, temperature)
            whole.write(rows, column, stretch)
            going = (~stretch.ended).nonzero()[:, 0]
            if len(going) == 0:
                break
            texts, rows = torch.cat([texts, stretch.ids], dim=1)[going], rows[going]
            if len(going) < len(stretch.ended):
                for cache in caches.values():
                    cache.batch_select_indices(going)
        return whole

    def _copies(self, name: str, slots: int, n: int) -> DynamicCache:
        """What a model knows of the text before the continuation, n times.

        A language model's last slot is left for the continuation, whose first token it is to
        predict; the Reward model's is not, as it says nothing before the end.
        """
        cache = self.caches[name]
        until = slots if name == "reward model" else slots - 1
        if cache.get_seq_length() < until:
            unread = self.ids[None, cache.get_seq_length() : until]
            read_on(self.roles[name].model.base_model, unread, cache)
        copies = copy.deepcopy(cache)
        copies.batch_repeat_interleave(n)
        return copies

    def _stretch(
        self, texts: Tensor, noise: Tensor, caches: dict[str, DynamicCache], temperature: float
    ) -> Continuations:
        """A few more tokens of every text, (rows, slots); all caches move on."""
        actor, reference, reward_model = self.actor, self.reference, self.reward_model
        new = generate(
            actor.model,
            Prompts(texts, torch.ones_like(texts, dtype=torch.bool)),
            noise=noise,
            eos_token_id=int(actor.tokenizer.eos_token_id),
            pad_token_id=actor.filler,
            temperature=temperature,
            cache=caches["actor"],
        )
        ids, mask = new.response_ids, new.response_mask
        ref_log_probs, scores = torch.zeros_like(new.log_probs), new.log_probs.new_zeros(len(ids))
        if reference is not None:
            before = torch.cat([texts[:, -1:], ids[:, :-1]], dim=1)
            logits = read_on(reference.model, before, caches["reference"])
            ref_log_probs = gather_log_probs(logits, ids, temperature=temperature)
        if reward_model is not None:
            hidden = read_on(reward_model.model.base_model, ids, caches["reward model"])
            rows = torch.arange(len(ids), device=ids.device)
            scores = reward_model.read_head(hidden[rows, mask.sum(dim=1) - 1])
        return Continuations(ids, mask, new.ended, new.log_probs, ref_log_probs, scores)


def read_on(model: PreTrainedModel, ids: Tensor, cache: DynamicCache) -> Tensor:
    """Read more of texts without padding, of which the cache holds the beginning.

    Args:
        model: a causal language model, or its trunk.
        ids: (rows, width) int, the tokens that come next.
        cache: of what was read before; it moves on.

    Returns:
        (rows, width, …) what the model says at each of these slots: logits, or hidden states.
    """
    slots = cache.get_seq_length() + ids.shape[1]
    attended = ids.new_ones(len(ids), slots)
    output = model(ids, attention_mask=attended, past_key_values=cache, use_cache=True)
    return output[0]  # type: ignore[no-any-return]
