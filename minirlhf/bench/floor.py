"""The floor: one PPO iteration with nothing but the work that cannot be avoided.

Same weights, same prompts, same noise, same tokens as ours, on a GPT-2, Llama or Qwen2 written by
hand: decoding over a cache whose memory is taken once, on a GPU as one captured graph; one forward
pass for each role; forward, backward and a fused AdamW step for each minibatch of each epoch, Actor
and Critic. Left out is what makes a trainer usable: checks, metrics, gradient clipping, masks
(every response has its full length), every other model.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from minirlhf.bench.decode import Texts, write
from minirlhf.bench.decode_graph import DecodeGraph
from minirlhf.bench.plain_gpt2 import PlainGPT2
from minirlhf.bench.plain_llama import FAMILIES, PlainLlama
from minirlhf.bench.plain_model import PlainModel
from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.masks import at_least_float32
from minirlhf.noise import MINIBATCH_ORDER, permutation
from minirlhf.ppo_trainer import PPOTrainer


class Lessons(NamedTuple):
    """What the update reads, (B, R) each."""

    old_log_probs: Tensor
    old_values: Tensor
    advantages: Tensor  # whitened
    targets: Tensor


class Floor:
    """Actor, Reference, Critic and Reward model as bare tensors, and one PPO iteration on them.

    Args:
        trainer: ours; weights and settings are copied from it.
        fixed_shapes: decode as a CUDA graph needs it; None = on a GPU.

    Raises:
        ValueError: a role is not a plain GPT-2, Llama or Qwen2.
    """

    def __init__(self, trainer: PPOTrainer, *, fixed_shapes: bool | None = None) -> None:
        self.config = trainer.config
        self.actor = plain(trainer.actor.model, trained=True)
        self.critic = plain(trainer.critic.model, trained=True)
        self.reference = plain(trainer.reference.model, trained=False)
        self.reward_model = plain(trainer.reward_model.model, trained=False)
        on_gpu = self.actor.tokens.is_cuda
        self.fixed_shapes = on_gpu if fixed_shapes is None else fixed_shapes
        self.decode_graph: DecodeGraph | None = None
        self.score_shift = trainer.reward_model.score_shift
        rates = {self.actor: self.config.actor_lr, self.critic: self.config.critic_lr}
        self.optimizers = [
            torch.optim.AdamW(
                model.parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True
            )
            for model, lr in rates.items()
        ]

    def iterate(
        self, prompt_ids: Tensor, prompt_mask: Tensor, noise: Tensor, step: int, watch: Stopwatch
    ) -> Tensor:
        """One iteration.

        Args:
            prompt_ids: (B, P) int, left-padded.
            prompt_mask: (B, P) bool.
            noise: (B, R) in [0, 1); decides the tokens.
            step: number of the iteration; decides the minibatches.
            watch: takes the times of "generate", "score" and "train".

        Returns:
            (B, R) int: the tokens that were sampled.
        """
        with watch("generate"), self.autocast():
            texts = self.generate(prompt_ids, prompt_mask, noise)
        with watch("score"), self.autocast():
            lessons = self.score(texts, noise.shape[1])
        with watch("train"):
            for rows in self.minibatches(len(noise), step):
                self.update(Texts(*(t[rows] for t in texts)), Lessons(*(t[rows] for t in lessons)))
        return texts.ids[:, -noise.shape[1] :]

    def autocast(self) -> torch.autocast:
        """Bfloat16 where the configuration asks for it."""
        bfloat16 = self.config.precision == "bfloat16"
        # one context never outlives a step: it keeps bfloat16 copies of the weights
        return torch.autocast(self.actor.tokens.device.type, torch.bfloat16, enabled=bfloat16)

    def generate(self, prompt_ids: Tensor, prompt_mask: Tensor, noise: Tensor) -> Texts:
        """Sample R tokens after each prompt."""
        if not self.fixed_shapes:
            return write(self.actor, prompt_ids, prompt_mask, noise, self.config.temperature)
        (rows, response), prompt = noise.shape, prompt_ids.shape[1]
        graph = self.decode_graph
        if graph is None or graph.texts.ids.shape != (rows, prompt + response):
            bfloat16 = self.config.precision == "bfloat16"
            graph = self.decode_graph = DecodeGraph(
                self.actor,
                rows=rows,
                prompt=prompt,
                response=response,
                temperature=self.config.temperature,
                dtype=torch.bfloat16 if bfloat16 else self.actor.tokens.dtype,
            )
        return graph.write(prompt_ids, prompt_mask, noise)

    @property
    def decoding(self) -> str:
        """How tokens were written, for the report."""
        if self.decode_graph is None:
            return "plain"
        if self.decode_graph.captured:
            return "CUDA graph"
        return f"fixed shapes, no CUDA graph {self.decode_graph.refused}".strip()

    @torch.no_grad()
    def score(self, texts: Texts, response: int) -> Lessons:
        """One forward pass of each role, then R_t, Â_t and the critic's targets."""
        config = self.config
        old_log_probs = self.log_probs(self.actor, texts, response)
        ref_log_probs = self.log_probs(self.reference, texts, response)
        values = self.values(texts, response)
        last = self.reward_model.hidden_states(*texts)[:, -1:]
        scores = at_least_float32(self.reward_model.read(last)[:, 0]) - self.score_shift
        scores = scores - config.missing_eos_penalty  # no response ends by itself here
        rewards = -config.kl_coef * (old_log_probs - ref_log_probs)
        limit = float("inf") if config.score_clip is None else config.score_clip
        rewards[:, -1] += scores.clamp(-limit, limit)
        next_values = F.pad(values[:, 1:], (0, 1))
        td_target = rewards + config.gamma * next_values
        delta, advantages = td_target - values, torch.empty_like(values)
        running = torch.zeros_like(values[:, 0])
        for t in reversed(range(response)):
            running = delta[:, t] + config.gamma * config.lam * running
            advantages[:, t] = running
        targets = td_target if config.critic_target == "td" else advantages + values
        if config.whiten_advantages:
            variance, mean = torch.var_mean(advantages, correction=0)
            advantages = (advantages - mean) * torch.rsqrt(variance + 1e-8)
        return Lessons(old_log_probs, values, advantages, targets)

    def update(self, texts: Texts, lessons: Lessons) -> None:
        """Forward, backward and step, Actor and Critic, on one minibatch."""
        config, response = self.config, lessons.targets.shape[1]
        with self.autocast():
            log_probs = self.log_probs(self.actor, texts, response)
        ratio = (log_probs - lessons.old_log_probs).exp()
        clipped = ratio.clamp(1.0 - config.clip_range, 1.0 + config.clip_range)
        gain = torch.minimum(lessons.advantages * ratio, lessons.advantages * clipped)
        gain.mean().neg().backward()
        with self.autocast():
            values = self.values(texts, response)
        squared = (values - lessons.targets) ** 2
        if (limit := config.value_clip_range) is not None:
            moved = (values - lessons.old_values).clamp(-limit, limit)
            squared = torch.maximum(squared, (lessons.old_values + moved - lessons.targets) ** 2)
        (0.5 * squared.mean()).backward()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def log_probs(self, model: PlainModel, texts: Texts, response: int) -> Tensor:
        """(B, R) nats: log-prob of each response token; the last one is never an input."""
        hidden = self.before_each_token(model, texts, response)
        logits = at_least_float32(model.read(hidden))
        if self.config.temperature != 1.0:
            logits = logits / self.config.temperature
        targets = texts.ids[:, -response:]
        return -F.cross_entropy(logits, targets.flatten(), reduction="none").view(targets.shape)

    def values(self, texts: Texts, response: int) -> Tensor:
        """(B, R) reward units: V before each response token."""
        hidden = self.before_each_token(self.critic, texts, response)
        values = self.critic.read(hidden).view(len(hidden), response)
        return at_least_float32(values) - self.score_shift

    def before_each_token(self, model: PlainModel, texts: Texts, response: int) -> Tensor:
        """(B, R, C): what the trunk knows before each response token."""
        ids, positions, bias = texts
        hidden = model.hidden_states(ids[:, :-1], positions[:, :-1], bias[:, :, :-1, :-1])
        return hidden[:, -response:]

    def minibatches(self, n: int, step: int) -> Iterator[slice | Tensor]:
        """Rows of each step, as our trainer picks them; a whole batch is not copied."""
        size = self.config.minibatch_size
        for epoch in range(self.config.ppo_epochs):
            if size == n:
                yield slice(None)
            else:
                order = permutation(n, self.config.seed, MINIBATCH_ORDER, step, epoch)
                yield from torch.tensor(order, device=self.actor.tokens.device).split(size)


def plain(model: PreTrainedModel, *, trained: bool) -> PlainModel:
    """A model written by hand, with the weights of this one.

    Raises:
        ValueError: none is written for its family.
    """
    family = model.config.model_type
    if family == "gpt2":
        return PlainGPT2(model, trained=trained)
    if family in FAMILIES:
        return PlainLlama(model, trained=trained)
    raise ValueError(
        f"the floor is written for gpt2, {', '.join(FAMILIES)}; got a {family} model; "
        "run the bench on one of those"
    )
