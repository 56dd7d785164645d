"""LoRA: the roles on shared weights start equal, train alone, and are never taken for another."""

import copy
import importlib.util
from itertools import pairwise

import pytest
import torch
from tiny_models import (
    SHAPES,
    TOKENIZER,
    Four,
    four_trainer,
    ragged,
    same_bits,
    shaped_actor,
    weights,
)
from tiny_trainers import dpo_trainer, tiny_actor
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from minirlhf import Actor, Critic, PPOConfig, PPOTrainer, Reference, RewardModel, SFTConfig
from minirlhf.backbone import Role, autocast
from minirlhf.lora import adapter_parameters, lora_layers, merged
from minirlhf.memory import plan
from minirlhf.rollout import collect_rollout
from minirlhf.sft_trainer import SFTTrainer
from minirlhf.shapes import Shape
from minirlhf.special_tokens import add_missing_pad

RANK = 2
PROMPTS, IDS, MASK = ragged()


def pairs(shape: str, **settings: object) -> PPOTrainer:
    """PPO with LoRA: two trunks, one for Actor and Reference, one for Reward model and Critic."""
    actor = shaped_actor(shape).add_adapter(RANK)
    reward_model = RewardModel.from_actor(shaped_actor(shape, seed=1), seed=1)
    reward_model.model.config.score_shift = 0.25
    critic = Critic.from_reward_model(reward_model, lora_rank=RANK)
    four = Four(actor, Reference.from_actor(actor), critic, reward_model)
    return four_trainer(four, lora_rank=RANK, **settings)


def one_trunk(shape: str) -> PPOTrainer:
    """All four on the Actor's trunk, after a stage 2 that gave the Reward model an adapter."""
    actor = shaped_actor(shape)
    reward_model = RewardModel.from_actor(actor, seed=1, lora_rank=RANK)
    move(reward_model)
    actor.add_adapter(RANK)
    critic = Critic.from_reward_model(reward_model, lora_rank=RANK)
    four = Four(actor, Reference.from_actor(actor), critic, reward_model)
    return four_trainer(four, lora_rank=RANK)


def move(role: Role) -> None:
    """Give an adapter's B values that are not 0, as training does."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in adapter_parameters(role.model).items():
            if ".lora_B." in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))


def four_of(trainer: PPOTrainer) -> Four:
    return Four(trainer.actor, trainer.reference, trainer.critic, trainer.reward_model)


def bytes_of(*roles: Role) -> int:
    """Of all weights that these roles hold, each storage once."""
    storages = {
        p.untyped_storage().data_ptr(): p.untyped_storage().nbytes()
        for role in roles
        for p in role.parameters()
    }
    return sum(storages.values())


# ------------------------------------------------------------------------------- the start


@pytest.mark.parametrize("make", [pairs, one_trunk])
@pytest.mark.parametrize("shape", SHAPES)
def test_at_the_start_actor_is_reference_and_critic_is_reward_model(shape: str, make) -> None:
    actor, reference, critic, reward_model = four_of(make(shape))
    plain = shaped_actor(shape)
    expected = plain.log_probs(PROMPTS, IDS)
    assert torch.equal(actor.log_probs(PROMPTS, IDS), expected)
    assert torch.equal(reference.log_probs(PROMPTS, IDS), expected)
    as_reward_model = RewardModel(critic.model, critic.tokenizer)
    scores = reward_model.scores(PROMPTS, IDS, MASK)
    assert torch.equal(as_reward_model.scores(PROMPTS, IDS, MASK), scores)
    # V before one more token, read after the last counted one, is the score
    for row, length in enumerate(MASK.sum(dim=1).tolist()):
        some = type(PROMPTS)(PROMPTS.prompt_ids[[row]], PROMPTS.prompt_mask[[row]])
        values = critic.values(some, IDS[[row]][:, : length + 1])
        if values.shape[1] > length:
            assert_close(values[0, length], scores[row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_b_and_the_head_are_trained_and_nothing_else(shape: str) -> None:
    actor, reference, critic, reward_model = four_of(pairs(shape))
    linear = 4 if shape == "gpt2" else 7  # in each of two blocks
    assert len(actor.trained_parameters()) == 2 * 2 * linear
    assert len(critic.trained_parameters()) == 2 * 2 * linear + 1
    assert not reference.trainable and not reward_model.trainable
    assert "model.score.weight" in critic.trained_parameters()
    assert all(
        ".lora_A." in name or ".lora_B." in name or name == "model.score.weight"
        for role in (actor, critic)
        for name in role.trained_parameters()
    )
    assert actor.lora_rank == critic.lora_rank == RANK and reference.lora_rank == 0


def test_gradients_reach_only_the_own_adapter_and_head() -> None:
    actor, reference, critic, reward_model = four_of(pairs("llama"))
    move(actor)
    actor.log_probs(PROMPTS, IDS).sum().backward()
    assert all(p.grad is None for p in critic.parameters())
    critic.values(PROMPTS, IDS).sum().backward()
    for role in (actor, critic):
        for name, parameter in role.named_parameters():
            assert (parameter.grad is not None) == (name in role.trained_parameters()), name
    assert all(float(p.grad.norm()) > 0 for p in actor.trained_parameters().values())
    assert all(p.grad is None for p in [*reference.parameters(), *reward_model.parameters()])


def test_freezing_one_role_leaves_the_other_that_shares_its_trunk() -> None:
    actor, reference, critic, reward_model = four_of(one_trunk("gpt2"))
    reference.freeze()
    reward_model.freeze()
    assert actor.trainable and critic.trainable
    actor.freeze()
    assert critic.trainable and not actor.trainable


def test_a_has_the_noise_of_its_seed_and_no_shared_generator_moves() -> None:
    before = torch.get_rng_state()
    first, again, other = (shaped_actor().add_adapter(RANK, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert same_bits(weights(first), weights(again)) and not same_bits(
        weights(first), weights(other)
    )
    for one, two in pairwise(lora_layers(first.model).values()):
        a = one.lora_A["default"].weight.detach()
        most = a.shape[1] ** -0.5
        assert float(a.abs().max()) <= most and float(a.std()) > 0.3 * most
        same_shape = a.shape == two.lora_A["default"].weight.shape
        assert not (same_shape and torch.equal(a, two.lora_A["default"].weight))


# ------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("shape", SHAPES)
def test_an_adapted_layer_by_hand(shape: str) -> None:
    """y = x·W + (α/r)·x·A·B with α/r = 2, for GPT-2's (in, out) and the others' (out, in)."""
    actor = shaped_actor(shape).add_adapter(RANK)
    move(actor)
    for layer in lora_layers(actor.model).values():
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        x = torch.randn(3, a.shape[1], generator=torch.Generator().manual_seed(1))
        w = layer.base_layer.weight if shape == "gpt2" else layer.base_layer.weight.T
        bias = layer.base_layer.bias if layer.base_layer.bias is not None else 0.0
        assert_close(layer(x), x @ w + bias + 2 * x @ a.T @ b.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_merged_weights_compute_the_same_and_are_their_own(shape: str) -> None:
    trainer = pairs(shape)
    actor, _, critic, _ = four_of(trainer)
    plain = weights(actor)
    for role in (actor, critic):
        move(role)
    whole = Actor(merged(actor.model), TOKENIZER)
    difference = whole.log_probs(PROMPTS, IDS) - actor.log_probs(PROMPTS, IDS)
    assert float(difference.abs().max()) < 1e-5
    moved = actor.log_probs(PROMPTS, IDS) - shaped_actor(shape).log_probs(PROMPTS, IDS)
    assert float(moved.abs().max()) > 1e-2, "the adapter did nothing"
    values = Critic(merged(critic.model), TOKENIZER).values(PROMPTS, IDS)
    assert_close(values, critic.values(PROMPTS, IDS), rtol=1e-5, atol=1e-5)
    names = {name for name, _ in shaped_actor(shape).named_parameters()}
    assert {name for name, _ in whole.named_parameters()} == names and whole.lora_rank == 0
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.zero_()
    assert not same_bits(plain, [torch.zeros_like(p) for p in plain])
    assert bytes_of(whole, actor) == bytes_of(whole) + bytes_of(actor)


# ------------------------------------------------------------------------------- training


@pytest.mark.parametrize("make", [pairs, one_trunk])
def test_steps_move_adapters_and_head_and_no_other_bit(make) -> None:
    trainer = make("qwen2")
    four = four_of(trainer)
    frozen = {
        id(p): (p, p.detach().clone())
        for role in four
        for p in role.parameters()
        if not p.requires_grad
    }
    trained = [
        (p, p.detach().clone()) for r in (four.actor, four.critic)
        for p in r.trained_parameters().values()
    ]  # fmt: skip
    reference = four.reference.log_probs(PROMPTS, IDS)
    scores = four.reward_model.scores(PROMPTS, IDS, MASK)
    list(trainer)
    assert all(torch.equal(now, before) for now, before in frozen.values())
    assert not any(torch.equal(now, before) for now, before in trained[1::2])  # B, and the head
    assert torch.equal(four.reference.log_probs(PROMPTS, IDS), reference)
    assert torch.equal(four.reward_model.scores(PROMPTS, IDS, MASK), scores)
    assert not torch.equal(four.actor.log_probs(PROMPTS, IDS), reference)


def test_microbatches_change_nothing_but_the_last_digits() -> None:
    whole, parts = (pairs("llama", microbatch_size=size, ppo_epochs=2) for size in (None, 1))
    for trainer in (whole, parts):
        list(trainer)
    for role in ("actor", "critic"):
        one, two = whole.roles[role], parts.roles[role]
        for a, b in zip(weights(one), weights(two), strict=True):
            assert_close(a, b, rtol=1e-3, atol=2e-5)


def test_the_first_ratio_is_1_in_bfloat16_too() -> None:
    trainer = pairs("llama", precision="bfloat16", microbatch_size=2)
    move(trainer.actor)
    rollout = trainer.collect([0, 1, 2, 0])
    with autocast(torch.device("cpu"), "bfloat16"):
        now = trainer.actor.log_probs(
            type(PROMPTS)(rollout.prompt_ids, rollout.prompt_mask), rollout.response_ids
        )
    assert now.dtype == torch.float32 and torch.equal(now.detach(), rollout.old_log_probs)
    before = weights(trainer.actor)
    list(trainer)
    assert not same_bits(before, weights(trainer.actor))


def test_a_forward_pass_that_backward_repeats_reads_with_its_own_adapter() -> None:
    """The Reference reads in between; a switch on shared layers would be left on it."""

    def gradients(*, again: bool) -> list[Tensor]:
        actor, reference, critic, reward_model = four_of(one_trunk("llama"))
        for role in (actor, critic):
            move(role)
        read, value = actor.log_probs, critic.values
        if again:
            log_probs = checkpoint(read, PROMPTS, IDS, use_reentrant=False)
            values = checkpoint(value, PROMPTS, IDS, use_reentrant=False)
        else:
            log_probs, values = read(PROMPTS, IDS), value(PROMPTS, IDS)
        reference.log_probs(PROMPTS, IDS)
        reward_model.scores(PROMPTS, IDS, MASK)
        (log_probs.sum() + values.sum()).backward()
        trained = [*actor.trained_parameters().values(), *critic.trained_parameters().values()]
        return [p.grad for p in trained]

    assert same_bits(gradients(again=False), gradients(again=True))


def test_the_models_of_dpo_share_one_trunk() -> None:
    trainer = dpo_trainer(lora_rank=RANK, lr=5e-2, steps=12, batch_size=8)
    assert bytes_of(trainer.actor, trainer.reference) == bytes_of(trainer.actor)
    before = trainer.reference.log_probs(PROMPTS, IDS)
    losses = [record.metrics["dpo_loss"] for record in trainer]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)  # log 2: Actor and Reference are equal
    assert losses[-1] < 0.5
    assert torch.equal(trainer.reference.log_probs(PROMPTS, IDS), before)


# ------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("make", "sharing"), [(pairs, "pairs"), (one_trunk, "one trunk")])
def test_four_models_take_what_the_planner_says(shape: str, make, sharing: str) -> None:
    """Two trunks or one, two adapters more (three), two heads; each storage counted once."""
    four = four_of(make(shape))
    size = {
        "gpt2": Shape(2, 16, 2, len(TOKENIZER), 64),
        "llama": Shape(2, 16, 4, len(TOKENIZER), 64, "llama", 24, 2, tied=False),
        "qwen2": Shape(2, 16, 4, len(TOKENIZER), 64, "qwen2", 24, 2),
    }[shape]
    parts = plan(size, size, lora_rank=RANK, sharing=sharing)
    assert bytes_of(*four) == sum(part.weights for part in parts.values())
    names = dict(zip(parts, four, strict=True))
    for name, part in parts.items():
        own = names[name].own_parameters().values()
        assert sum(p.numel() * p.element_size() for p in own) == part.weights, name


def test_the_summary_says_what_is_shared() -> None:
    actor, reference, critic, reward_model = (role.summary() for role in four_of(pairs("gpt2")))
    assert "LoRA of rank 2" in actor and "trained" in actor and "shares" not in actor
    assert "0.000 M parameters   frozen" in reference and "0.0 MiB" in reference
    assert reference.endswith("shares the Actor's trunk")
    assert "LoRA of rank 2" in critic and critic.endswith("shares the Reward model's trunk")
    assert "LoRA" not in reward_model and "shares" not in reward_model
    for role in four_of(one_trunk("gpt2"))[1:]:
        assert role.summary().endswith("shares the Actor's trunk")


def test_a_deep_copy_and_a_move_keep_what_is_shared() -> None:
    actor, reference, *_ = four_of(pairs("gpt2"))
    before = reference.log_probs(PROMPTS, IDS)
    actor.to(torch.float64)
    assert next(reference.parameters()).dtype == torch.float64
    assert_close(reference.log_probs(PROMPTS, IDS), before.double(), rtol=1e-4, atol=1e-5)
    assert bytes_of(actor, reference) == bytes_of(actor)
    twin = copy.deepcopy(actor)
    assert bytes_of(twin, actor) == 2 * bytes_of(actor)


def test_a_padding_token_that_was_missing_is_shared_too() -> None:
    actor = shaped_actor("llama")
    tokenizer = copy.deepcopy(TOKENIZER)
    tokenizer.pad_token = None
    add_missing_pad(actor.model, tokenizer)
    actor = Actor(actor.model, tokenizer).add_adapter(RANK)
    reference = Reference.from_actor(actor)
    assert torch.equal(actor.log_probs(PROMPTS, IDS), reference.log_probs(PROMPTS, IDS))
    assert bytes_of(actor, reference) == bytes_of(actor)
    embedding = merged(actor.model).get_input_embeddings().weight
    assert embedding.shape[0] == actor.model.config.vocab_size >= len(tokenizer)


# ------------------------------------------------------------------------------- refusals


def test_a_trained_adapter_is_no_place_to_begin_a_reference_or_a_stage() -> None:
    actor = tiny_actor().add_adapter(RANK)
    move(actor)
    for begin in (Reference.from_actor, RewardModel.from_actor):
        with pytest.raises(ValueError, match=r"adapter.*merged\(actor\.model\)"):
            begin(actor)
    whole = Actor(merged(actor.model), actor.tokenizer)
    assert not Reference.from_actor(whole).trainable
    assert RewardModel.from_actor(whole).trainable
    with pytest.raises(ValueError, match="has a LoRA adapter already"):
        actor.add_adapter(RANK)


def test_the_critic_of_an_adapted_reward_model() -> None:
    reward_model = RewardModel.from_actor(tiny_actor(), lora_rank=RANK)
    move(reward_model)
    with pytest.raises(ValueError, match=r"adapter has rank 2.*lora_rank was 4"):
        Critic.from_reward_model(reward_model, lora_rank=4)
    whole = Critic.from_reward_model(reward_model)  # every weight, copied and merged
    assert whole.lora_rank == 0 and all(p.requires_grad for p in whole.parameters())
    scores = RewardModel(whole.model, TOKENIZER).scores(PROMPTS, IDS, MASK)
    assert_close(scores, reward_model.scores(PROMPTS, IDS, MASK), rtol=1e-5, atol=1e-5)


def test_settings_and_roles_must_agree() -> None:
    adapted, rows = tiny_actor().add_adapter(RANK), [{"prompt": "the", "completion": "soup"}]
    with pytest.raises(ValueError, match=r"lora_rank is 0, but the Actor has an adapter of rank 2"):
        SFTTrainer(adapted, rows, SFTConfig())
    with pytest.raises(ValueError, match=r"lora_rank is 3, but the Actor has an adapter of rank 2"):
        SFTTrainer(adapted, rows, SFTConfig(lora_rank=3))
    with pytest.raises(ValueError, match=r"lora_rank is 2, but the Critic has no adapter"):
        reward_model = RewardModel.from_actor(tiny_actor())
        PPOTrainer(
            adapted, Reference.from_actor(adapted), Critic.from_reward_model(reward_model),
            reward_model, ["the"], PPOConfig(lora_rank=RANK),
        )  # fmt: skip


def test_without_peft_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "peft" else find(name, *a)
    )
    with pytest.raises(ValueError, match=r"^LoRA needs the package peft: pip install 'minirlhf"):
        tiny_actor().add_adapter(RANK)
    assert tiny_actor().add_adapter(0).lora_rank == 0


def test_a_model_without_linear_layers_is_refused() -> None:
    actor = tiny_actor()
    actor.model.transformer.h = nn.ModuleList()
    with pytest.raises(ValueError, match="no linear layer"):
        actor.add_adapter(RANK)


def test_a_rollout_reads_each_role_with_its_own_weights() -> None:
    trainer = one_trunk("gpt2")
    four = four_of(trainer)
    for role in (four.actor, four.critic):
        move(role)
    whole = Four(
        Actor(merged(four.actor.model), TOKENIZER),
        Reference.from_actor(shaped_actor("gpt2")),
        Critic(merged(four.critic.model), TOKENIZER),
        RewardModel(merged(four.reward_model.model), TOKENIZER),
    )
    mine, plain = (collect_rollout(*roles, PROMPTS, trainer.config) for roles in (four, whole))
    for name in ("response_ids", "response_mask"):
        assert torch.equal(getattr(mine, name), getattr(plain, name))
    for name in ("old_log_probs", "ref_log_probs", "old_values", "scores"):
        assert_close(getattr(mine, name), getattr(plain, name), rtol=1e-4, atol=1e-4)
    assert float((mine.old_log_probs - mine.ref_log_probs).abs().max()) > 1e-3
