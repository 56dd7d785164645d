"""The models that are timed: the four roles in a named shape with random weights, or of a folder.

For speed, weights do not matter; shapes do. No response may end early, or two programs would not do
the same work: the end of text is a token that the model has no output for.
"""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from minirlhf.actor import Actor
from minirlhf.config import PPOConfig
from minirlhf.critic import Critic
from minirlhf.data import TextOrIds
from minirlhf.noise import HEAD_INIT, key
from minirlhf.ppo_trainer import PPOTrainer
from minirlhf.reference import Reference
from minirlhf.reward_model import RewardModel
from minirlhf.worlds.cafe import VOCABULARY, recipe

NEVER_DRAWN = "<never drawn>"  # the end of text here
CAFE = "cafe"


def shapes() -> dict[str, PreTrainedConfig]:
    """Shapes by name, besides the café's; each with its family's own options."""
    return {
        "gpt2-small": GPT2Config(),  # 12 × 768, 12 heads, 50,257 tokens
        "qwen2.5-0.5b": Qwen2Config(
            vocab_size=151_936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            max_position_embeddings=32_768,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            tie_word_embeddings=True,
        ),
    }


def new_actor(model: str, *, seed: int, device: torch.device) -> Actor:
    """An Actor whose responses never end.

    Args:
        model: "cafe", a name in `shapes()`, a folder, or a name on the Hub.
        seed: of random weights.
        device: where it runs.

    Raises:
        ValueError: there is no such shape, folder or model.
    """
    if model == CAFE:
        actor = recipe.new_actor(seed=seed, device=device)
    elif model in (known := shapes()):
        actor = random_actor(known[model], seed=seed, device=device)
    else:
        try:
            actor = Actor.from_pretrained(model, device=device)
        except ValueError as error:
            names = ", ".join([CAFE, *known])
            raise ValueError(f"{error}; --model also takes the shapes {names}") from error
    never_end(actor)
    return actor


def random_actor(config: PreTrainedConfig, *, seed: int, device: torch.device) -> Actor:
    """Random weights of a shape, and a tokenizer with as many words as it has tokens."""
    ids = {f"w{i}": i for i in range(config.vocab_size)}
    words = Tokenizer(WordLevel(ids, unk_token="w0"))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="w0", eos_token="w1", padding_side="left"
    )
    config.pad_token_id, config.eos_token_id, config.bos_token_id = 0, 1, 1
    # as `Role.from_pretrained` chooses it
    attention = "eager" if device.type == "cpu" else "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, HEAD_INIT) % 2**63)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return Actor(model.to(device), tokenizer)


def never_end(actor: Actor) -> None:
    """Let the end of text be a token that the model has no output for, so it is never sampled."""
    tokenizer, outputs = actor.tokenizer, actor.model.config.vocab_size
    # a model may have more outputs than its tokenizer has tokens
    spare = [f"<spare {i}>" for i in range(outputs - len(tokenizer))]
    tokenizer.add_tokens(spare)
    tokenizer.add_special_tokens({"eos_token": NEVER_DRAWN})


def new_trainer(
    config: PPOConfig, prompt_tokens: int, device: torch.device, model: str = CAFE
) -> PPOTrainer:
    """The four roles with the same weights, and prompts of half of `prompt_tokens` to all of it.

    Args:
        config: sizes and seed.
        prompt_tokens: P, the longest prompt.
        device: where it runs.
        model: see `new_actor`.
    """
    actor = new_actor(model, seed=config.seed, device=device)
    reward_model = RewardModel.from_actor(actor, seed=config.seed)
    shortest = (prompt_tokens + 1) // 2
    lengths = [prompt_tokens - i % (prompt_tokens - shortest + 1) for i in range(config.batch_size)]
    prompts: Sequence[TextOrIds]
    if model == CAFE:
        words = VOCABULARY[3:]  # without <pad>, <eos> and <unk>
        prompts = [
            " ".join(words[(7 * row + i) % len(words)] for i in range(length))
            for row, length in enumerate(lengths)
        ]
    else:
        # token ids instead of texts, which a prompt may also be: their number is what counts
        tokens = actor.model.config.vocab_size
        prompts = [
            [(101 * row + 7 * i) % tokens for i in range(n)] for row, n in enumerate(lengths)
        ]
    return PPOTrainer(
        actor,
        Reference.from_actor(actor),
        Critic.from_reward_model(reward_model),
        reward_model,
        prompts,
        config,
    )
