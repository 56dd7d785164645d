"""What a setting may be; and the padding token that every tokenizer ends up with."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from tiny_models import EOS, PAD, TOKENIZER, same_bits, shaped_actor, weights
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from minirlhf import (
    Actor,
    Critic,
    DPOConfig,
    GRPOConfig,
    PPOConfig,
    ReinforceConfig,
    RewardModel,
    RewardModelConfig,
    RLOOConfig,
    SFTConfig,
)
from minirlhf.config import as_dict
from minirlhf.data import encode_prompts, pad_prompts
from minirlhf.special_tokens import add_missing_pad

CONFIGS = (
    SFTConfig, RewardModelConfig, PPOConfig, ReinforceConfig, RLOOConfig, GRPOConfig, DPOConfig,
)  # fmt: skip
POSITIVE_INT = [0, -1, 1.0, 2.5, True, "3", None, math.nan]
POSITIVE = [0, -0.1, math.nan, math.inf, True, "1", None]
NOT_NEGATIVE = [-0.1, math.nan, math.inf, True, "0", None]
UNIT = [-0.01, 1.01, math.nan, True, None]
BOOL = [0, 1, None, "no"]
LORA_RANK = [-1, 1.0, True, "8", None]
SEED = [0.5, True, None, "0", 2**63, -(2**63) - 1]


def without_none(values: list[object]) -> list[object]:
    return [value for value in values if value is not None]


ONLINE: dict[str, list[object]] = {
    "iterations": POSITIVE_INT, "batch_size": POSITIVE_INT,
    "minibatch_size": without_none(POSITIVE_INT), "microbatch_size": without_none(POSITIVE_INT),
    "max_response_tokens": POSITIVE_INT, "actor_lr": POSITIVE, "grad_clip": POSITIVE,
    "kl_coef": NOT_NEGATIVE, "kl_estimator": ["k4", "", None], "gamma": UNIT,
    "score_clip": without_none(POSITIVE), "missing_eos_penalty": NOT_NEGATIVE,
    "temperature": POSITIVE, "precision": ["float16", "bf16", None], "seed": SEED,
    "gradient_checkpointing": BOOL, "offload": BOOL,
    "lora_rank": LORA_RANK,
}  # fmt: skip
BAD: dict[type, dict[str, list[object]]] = {
    SFTConfig: {
        "steps": POSITIVE_INT, "batch_size": POSITIVE_INT, "lr": POSITIVE, "grad_clip": POSITIVE,
        "seed": SEED, "gradient_checkpointing": BOOL,
        "lora_rank": LORA_RANK,
    },
    RewardModelConfig: {
        "steps": POSITIVE_INT, "batch_size": POSITIVE_INT, "lr": POSITIVE, "grad_clip": POSITIVE,
        "held_out": [0, 1, *UNIT], "standardise_samples": POSITIVE_INT,
        "max_response_tokens": POSITIVE_INT, "seed": SEED, "gradient_checkpointing": BOOL,
        "lora_rank": LORA_RANK,
    },
    PPOConfig: {
        **ONLINE, "minibatch_size": POSITIVE_INT, "ppo_epochs": POSITIVE_INT,
        "critic_lr": POSITIVE, "kl_target": without_none(POSITIVE), "kl_horizon": POSITIVE_INT,
        "critic_target": ["mc", "", None], "lam": UNIT, "clip_range": POSITIVE,
        "value_clip_range": without_none(POSITIVE), "whiten_advantages": BOOL,
        "target_kl": without_none(POSITIVE),
    },
    ReinforceConfig: {**ONLINE, "baseline_decay": UNIT},
    RLOOConfig: {**ONLINE, "group_size": [1, *POSITIVE_INT], "gamma": [0, 0.99, *UNIT]},
    GRPOConfig: {
        **ONLINE, "group_size": [1, *POSITIVE_INT], "gamma": [0, 0.99, *UNIT],
        "divide_by_std": BOOL, "clip_range": POSITIVE, "epochs": POSITIVE_INT,
    },
    DPOConfig: {
        "steps": POSITIVE_INT, "batch_size": POSITIVE_INT, "lr": POSITIVE, "kl_coef": POSITIVE,
        "grad_clip": POSITIVE, "held_out": [0, 1, *UNIT], "seed": SEED,
        "gradient_checkpointing": BOOL,
        "lora_rank": LORA_RANK,
    },
}  # fmt: skip
CASES = [
    (config, name, value)
    for config, fields in BAD.items()
    for name, values in fields.items()
    for value in values
]


@pytest.mark.parametrize(("config", "name", "value"), CASES)
def test_a_setting_that_cannot_work_is_refused_by_name_and_value(
    config: type, name: str, value: object
) -> None:
    with pytest.raises(ValueError) as caught:
        config(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} must be ") and f"got {value!r}" in message


@pytest.mark.parametrize("config", CONFIGS)
def test_every_setting_is_checked(config: type) -> None:
    assert set(BAD[config]) == {field.name for field in dataclasses.fields(config)}


def test_values_at_the_edge_are_accepted() -> None:
    for change in (
        {"gamma": 0, "lam": 1}, {"gamma": 1.0, "lam": 0.0}, {"kl_coef": 0}, {"kl_target": None},
        {"missing_eos_penalty": 0.0, "score_clip": None, "value_clip_range": None},
        {"target_kl": 1e-9, "microbatch_size": 1000}, {"seed": -(2**63)}, {"seed": 2**63 - 1},
        {"batch_size": 3, "minibatch_size": 3}, {"iterations": 1, "max_response_tokens": 1},
    ):  # fmt: skip
        PPOConfig(**change)
    RewardModelConfig(held_out=0.999, steps=1)


def test_a_minibatch_is_part_of_the_batch() -> None:
    for config in (PPOConfig, ReinforceConfig):
        with pytest.raises(ValueError, match="minibatch_size 4 is larger than batch_size 3"):
            config(batch_size=3, minibatch_size=4)
    assert ReinforceConfig(batch_size=3).minibatch_size is None  # the whole of it


@pytest.mark.parametrize("config", [RLOOConfig, GRPOConfig])
def test_a_batch_is_made_of_whole_groups(config: type) -> None:
    with pytest.raises(ValueError, match="batch_size 10 is no multiple of group_size 4; every"):
        config(batch_size=10, minibatch_size=10, group_size=4)
    assert config(batch_size=12, minibatch_size=5, group_size=4).batch_size == 12


def test_the_defaults_that_were_agreed_on() -> None:
    agreed = {
        "kl_coef": 0.05, "missing_eos_penalty": 1.0, "critic_target": "td", "gamma": 1.0,
        "lam": 0.95, "clip_range": 0.2, "value_clip_range": 0.2, "score_clip": 5.0,
        "target_kl": None, "grad_clip": 1.0, "temperature": 1.0, "kl_target": None,
        "whiten_advantages": True, "kl_estimator": "k1", "precision": "float32",
    }  # fmt: skip
    config = as_dict(PPOConfig())
    assert {name: config[name] for name in agreed} == agreed


@pytest.mark.parametrize("config", CONFIGS)
def test_settings_are_frozen_and_plain_json(config: type) -> None:
    settings = config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1
    assert config(**json.loads(json.dumps(as_dict(settings)))) == settings
    with pytest.raises(ValueError):
        dataclasses.replace(settings, batch_size=0)


# ---------------------------------------------------------------------- padding tokens


def gpt2_like(pad_token: str | None = None) -> PreTrainedTokenizerFast:
    """Bytes, and the end of text as the only special token: no padding token."""
    alphabet = {letter: i for i, letter in enumerate(sorted(ByteLevel.alphabet()))}
    words = Tokenizer(BPE({**alphabet, "<|endoftext|>": 256}, []))
    words.pre_tokenizer = ByteLevel(add_prefix_space=False)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token=end, eos_token=end, unk_token=end, pad_token=pad_token
    )


@pytest.mark.parametrize("pad_token", [None, "<|endoftext|>"])
@pytest.mark.parametrize("spare_rows", [0, 7])
def test_a_missing_pad_becomes_a_token_of_its_own(
    pad_token: str | None, spare_rows: int, tmp_path: Path
) -> None:
    """Where pad is EOS, as is often done with GPT-2, no EOS could be told from padding."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=257 + spare_rows, n_embd=8, n_layer=1, n_head=1))
    model.save_pretrained(tmp_path)
    gpt2_like(pad_token).save_pretrained(tmp_path)
    actor = Actor.from_pretrained(tmp_path, device="cpu")
    tokenizer, config = actor.tokenizer, actor.model.config
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (256, 257)
    assert (config.eos_token_id, config.pad_token_id) == (256, 257)
    rows = actor.model.get_input_embeddings().weight
    assert len(rows) == config.vocab_size == max(258, 257 + spare_rows)
    assert torch.equal(rows[:257], model.transformer.wte.weight[:257])
    assert actor.model.lm_head.weight.data_ptr() == rows.data_ptr()  # still tied
    # it goes on into a reward model, and through another save
    x = pad_prompts(encode_prompts(tokenizer, ["the soup", "hm"]), 257)
    y, mask = torch.tensor([[5, 256], [256, 257]]), torch.tensor([[True, True], [True, False]])
    scorer = RewardModel.from_actor(actor)
    scorer.save(tmp_path / "again")
    again = Critic.from_pretrained(tmp_path / "again", device="cpu")
    assert again.tokenizer.pad_token_id == 257 and again.tokenizer.eos_token_id == 256
    assert torch.equal(again.values(x, y), Critic.from_reward_model(scorer).values(x, y))
    assert scorer.scores(x, y, mask).isfinite().all()


def test_other_tokens_keep_their_numbers() -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<eos>": 0, "<pad>": 1, "the": 2})), eos_token="<eos>"
    )
    model = GPT2LMHeadModel(GPT2Config(vocab_size=3, n_embd=8, n_layer=1, n_head=1))
    add_missing_pad(model, tokenizer)  # the word is there, only its use was not said
    assert (tokenizer.pad_token_id, len(tokenizer)) == (1, 3)
    assert len(model.get_input_embeddings().weight) == 3


def test_a_good_pad_stays() -> None:
    actor = shaped_actor()
    before = weights(actor)
    add_missing_pad(actor.model, actor.tokenizer)
    assert (actor.tokenizer.pad_token_id, len(actor.tokenizer)) == (PAD, len(TOKENIZER))
    assert same_bits(before, weights(actor)) and EOS != PAD
