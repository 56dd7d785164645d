"""How the café's models are made: shapes, settings, and the three stages as trainers.

Not imported by `minirlhf.worlds.cafe` itself, which knows no model. Sizes and learning rates were
chosen by the time that a learner waits for a gold reward of 2.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from minirlhf.actor import Actor
from minirlhf.config import (
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    ReinforceConfig,
    RewardModelConfig,
    RLOOConfig,
    SFTConfig,
)
from minirlhf.course_files import course_folder
from minirlhf.critic import Critic
from minirlhf.data import Row, decode_responses, encode_prompts, pad_prompts
from minirlhf.dpo_trainer import DPOTrainer
from minirlhf.grpo_trainer import GRPOTrainer
from minirlhf.noise import HEAD_INIT, PROMPT_ORDER, key
from minirlhf.online_trainer import OnlineTrainer
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.reference import Reference
from minirlhf.reinforce_trainer import ReinforceTrainer
from minirlhf.reward_model import RewardModel
from minirlhf.reward_trainer import RewardModelTrainer
from minirlhf.rloo_trainer import RLOOTrainer
from minirlhf.sft_trainer import SFTTrainer
from minirlhf.worlds import cafe

NOISE = 0.5  # of the simulated human's preferences, reward units


@dataclass(frozen=True)
class Recipe:
    """How much data and training stages 1 and 2 get."""

    sft_rows: int  # reviews that the SFT model reads
    pairs: int  # comparisons that the reward model sees
    sft: SFTConfig
    reward: RewardModelConfig


# what `minirlhf demo --from-scratch` trains while somebody waits
QUICK = Recipe(
    sft_rows=4000,
    pairs=8000,
    sft=SFTConfig(steps=220, batch_size=64, lr=5e-3),
    reward=RewardModelConfig(steps=200, batch_size=64, lr=1e-3),
)
# what `minirlhf cafe --train` makes for assets/cafe, once
THOROUGH = Recipe(
    sft_rows=8000,
    pairs=12_000,
    sft=SFTConfig(steps=500, batch_size=64, lr=5e-3),
    reward=RewardModelConfig(steps=400, batch_size=64, lr=1e-3),
)


def new_actor(*, seed: int = 0, device: torch.device | None = None) -> Actor:
    """A GPT-2 shape of 0.4 M parameters with random weights, which knows no word yet."""
    tokenizer = cafe.build_tokenizer()
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=128,
        n_layer=2,
        n_head=4,
        initializer_range=0.05,  # learns in half the steps that the usual 0.02 takes
        activation_function="gelu_pytorch_tanh",  # one fused operation; GPT-2's own takes six
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, HEAD_INIT) % 2**63)
        actor = Actor(GPT2LMHeadModel(config), tokenizer)
    return actor.to(device or torch.device("cpu"))


def sft_trainer(
    recipe: Recipe = QUICK, *, seed: int = 0, device: torch.device | None = None
) -> SFTTrainer:
    """Stage 1 from nothing: a fresh model and reviews that the grammar writes."""
    rows = cafe.sft_rows(recipe.sft_rows, seed=seed)
    config = replace(recipe.sft, seed=seed)
    return SFTTrainer(new_actor(seed=seed, device=device), rows, config)


def reward_trainer(actor: Actor, recipe: Recipe = QUICK, *, seed: int = 0) -> RewardModelTrainer:
    """Stage 2: pairs of the SFT model's own answers, chosen between by the simulated human."""
    rows = compare_samples(actor, recipe.pairs, seed=seed)
    reward_model = RewardModel.from_actor(actor, seed=seed)
    config = replace(recipe.reward, seed=seed)
    return RewardModelTrainer(reward_model, rows, config, sft_actor=actor)


def ppo_trainer(
    actor: Actor, reward_model: RewardModel, config: PPOConfig | None = None
) -> PPOTrainer:
    """Stage 3: the four models, the café's prompts, and gold as the judge that only watches."""
    config = config or PPOConfig()
    actor.add_adapter(config.lora_rank, seed=config.seed)
    return PPOTrainer(
        actor,
        Reference.from_actor(actor),
        Critic.from_reward_model(reward_model, lora_rank=config.lora_rank, seed=config.seed),
        reward_model,
        cafe.PROMPTS,
        config,
        judge=judge,
    )


def critic_free_trainer(
    actor: Actor, reward_model: RewardModel, config: ReinforceConfig | RLOOConfig | GRPOConfig
) -> OnlineTrainer:
    """Stage 3 with the algorithm that the configuration belongs to; else as `ppo_trainer`."""
    algorithms: tuple[type[OnlineTrainer], ...] = (ReinforceTrainer, RLOOTrainer, GRPOTrainer)
    (algorithm,) = (a for a in algorithms if isinstance(config, a.config_class))
    reference = Reference.from_actor(actor.add_adapter(config.lora_rank, seed=config.seed))
    return algorithm(actor, reference, reward_model, cafe.PROMPTS, config, judge=judge)


def dpo_trainer(actor: Actor, pairs: int = 2000, config: DPOConfig | None = None) -> DPOTrainer:
    """DPO on the pairs that would have made a reward model."""
    config = config or DPOConfig()
    rows = compare_samples(actor, pairs, seed=config.seed)
    actor.add_adapter(config.lora_rank, seed=config.seed)
    return DPOTrainer(actor, Reference.from_actor(actor), rows, config)


def judge(prompt: str, response: str, ended: bool) -> float:
    """The gold reward, as trainers and `evaluate` call it."""
    return cafe.gold_reward(prompt, response, ended=ended)


def compare_samples(actor: Actor, pairs: int, *, seed: int = 0, noise: float = NOISE) -> list[Row]:
    """Let the actor answer prompts twice and the simulated human choose: preference rows.

    Pairs with a response that was cut before its end are left out: a row has no place to say so,
    and a reward model would be shown an end that was never written.
    """
    prompts = repeat_prompts(pairs)
    firsts, first_ended = sample(actor, prompts, seed=key(seed, PROMPT_ORDER, 1))
    seconds, second_ended = sample(actor, prompts, seed=key(seed, PROMPT_ORDER, 2))
    both_ended = [i for i in range(pairs) if first_ended[i] and second_ended[i]]
    return cafe.preference_rows(
        [prompts[i] for i in both_ended],
        [firsts[i] for i in both_ended],
        [seconds[i] for i in both_ended],
        seed=seed,
        noise=noise,
    )


def repeat_prompts(n: int) -> list[str]:
    """Take n prompts: all of the café's, over and over."""
    return [cafe.PROMPTS[i % len(cafe.PROMPTS)] for i in range(n)]


def sample(actor: Actor, prompts: Sequence[str], *, seed: int) -> tuple[list[str], list[bool]]:
    """One response to each prompt: the texts, and which ended by themselves."""
    ids = encode_prompts(actor.tokenizer, prompts)
    texts: list[str] = []
    ended: list[bool] = []
    for start in range(0, len(ids), 256):
        batch = pad_prompts(ids[start : start + 256], actor.filler)
        responses = actor.generate(
            batch.to(actor.device),
            max_response_tokens=cafe.MAX_RESPONSE_TOKENS,
            seed=seed,
            iteration=start,
        )
        ids_out, mask = responses.response_ids, responses.response_mask
        texts += decode_responses(actor.tokenizer, ids_out, mask)
        ended += responses.ended.tolist()
    return texts, ended


def shipped_folder() -> Path:
    """Where the shipped checkpoints are: `sft_actor` and `reward_model` inside."""
    return course_folder("assets") / "cafe"


def load_shipped(device: str | None = None) -> tuple[Actor, RewardModel]:
    """The shipped SFT model and reward model, made by `minirlhf cafe --train`."""
    folder = shipped_folder()
    return (
        Actor.from_pretrained(folder / "sft_actor", device=device),
        RewardModel.from_pretrained(folder / "reward_model", device=device).freeze(),
    )
