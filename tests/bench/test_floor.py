"""The floor computes what our code computes: the same tokens, numbers and weights."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from minirlhf.batch import Prompts
from minirlhf.bench.floor import Floor
from minirlhf.bench.measure import (
    NEVER_DRAWN,
    new_trainer,
    run_floor,
    run_ours,
    watch_parts,
)
from minirlhf.bench.plain_gpt2 import PlainGPT2, attention_bias
from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.config import PPOConfig
from minirlhf.noise import SAMPLING, uniform_noise

CPU = torch.device("cpu")
ROWS, WIDTH = 6, 5
SMALL = {"batch_size": ROWS, "minibatch_size": ROWS, "max_response_tokens": WIDTH, "ppo_epochs": 2}


def make_trainer(dtype=torch.float32, **settings):
    """Four roles that differ, with weights large enough for a wrong position to show."""
    trainer = new_trainer(PPOConfig(**SMALL | settings), 7, CPU)
    roles = (trainer.actor, trainer.reference, trainer.critic, trainer.reward_model)
    with torch.no_grad():
        for number, role in enumerate(roles):
            role.to(dtype)
            for name, weight in role.model.named_parameters():
                if weight.dim() == 2:
                    weight.mul_(3.0 + 0.1 * number)
                elif name.endswith("bias"):
                    weight.add_(0.1 * torch.arange(len(weight)).cos())
    for role in roles[2:]:
        role.model.config.score_shift = 0.7
    return trainer


@pytest.fixture(scope="module")
def read():
    """Our rollout on six prompts of 4 to 7 tokens, and what the floor makes of the same."""
    trainer = make_trainer()
    rollout = trainer.collect(range(ROWS))
    floor = Floor(trainer)
    noise = uniform_noise(0, SAMPLING, 0, rows=ROWS, steps=WIDTH)
    return trainer, rollout, floor, floor.generate(rollout.prompt_ids, rollout.prompt_mask, noise)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def test_prompts_are_of_unequal_length_and_no_response_ends(read):
    trainer, rollout, _, _ = read
    assert sorted(rollout.prompt_mask.sum(dim=1).unique().tolist()) == [4, 5, 6, 7]
    assert rollout.response_mask.all()
    assert trainer.actor.tokenizer.eos_token == NEVER_DRAWN
    assert trainer.actor.tokenizer.eos_token_id >= trainer.actor.model.config.vocab_size


def test_the_floor_samples_our_tokens_on_the_same_noise(read):
    _, rollout, _, texts = read
    assert torch.equal(texts.ids[:, -WIDTH:], rollout.response_ids)
    assert len(rollout.response_ids.unique()) > 5


def test_the_floors_logits_are_ours(read):
    trainer, rollout, floor, texts = read
    with torch.no_grad():
        hidden = floor.before_each_token(floor.actor, texts, WIDTH)
        prompts = Prompts(rollout.prompt_ids, rollout.prompt_mask)
        ours = trainer.actor.logits(prompts, rollout.response_ids)
        close(floor.actor.read(hidden).view(ours.shape), ours)
    assert ours.std() > 0.3


def test_the_floors_log_probs_and_values_are_ours(read):
    _, rollout, floor, texts = read
    with torch.no_grad():
        close(floor.log_probs(floor.actor, texts, WIDTH), rollout.old_log_probs)
        close(floor.log_probs(floor.reference, texts, WIDTH), rollout.ref_log_probs)
        close(floor.values(texts, WIDTH), rollout.old_values)


@pytest.mark.parametrize("critic_target", ["td", "gae"])
def test_the_floors_lessons_are_ours(critic_target):
    trainer = make_trainer(
        critic_target=critic_target, lam=0.9, gamma=0.99, whiten_advantages=False
    )
    rollout, floor = trainer.collect(range(ROWS)), Floor(trainer)
    noise = uniform_noise(0, SAMPLING, 0, rows=ROWS, steps=WIDTH)
    lessons = floor.score(floor.generate(rollout.prompt_ids, rollout.prompt_mask, noise), WIDTH)
    close(lessons.advantages, rollout.advantages)
    close(lessons.targets, rollout.td_target if critic_target == "td" else rollout.returns)


@pytest.mark.parametrize("settings", [{}, {"minibatch_size": 4, "temperature": 0.8}])
def test_an_iteration_of_the_floor_leaves_our_weights(settings):
    # the floor clips no gradient; float64, because AdamW's first steps magnify rounding
    trainer = make_trainer(torch.float64, grad_clip=1e9, **settings)
    floor, watch = Floor(trainer), Stopwatch(CPU)
    before = [weight.detach().clone() for weight in floor.actor.parameters]
    watch_parts(trainer, watch)
    for step in range(2):
        ours, _ = run_ours(trainer, watch)
        tokens, _ = run_floor(floor, trainer, step, watch)
        assert torch.equal(tokens, ours)
    for role, plain in ((trainer.actor, floor.actor), (trainer.critic, floor.critic)):
        for weight, bare in zip(role.model.parameters(), plain.parameters, strict=True):
            torch.testing.assert_close(bare, weight, rtol=0, atol=1e-6)
    moved = [(a - b).abs().max() for a, b in zip(before, floor.actor.parameters, strict=True)]
    assert max(moved) > 1e-4


def test_gpt2s_own_gelu_and_untied_heads_are_read_right():
    config = GPT2Config(
        vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, tie_word_embeddings=False
    )
    model = GPT2LMHeadModel(config).eval()
    plain = PlainGPT2(model, trained=False)
    ids, mask = torch.arange(6).view(2, 3), torch.ones(2, 3, dtype=torch.bool)
    positions = torch.arange(3).expand(2, 3)
    bias = attention_bias(mask, 3, torch.float32)
    with torch.no_grad():
        close(
            plain.read(plain.hidden_states(ids, positions, bias)).view(2, 3, 11), model(ids).logits
        )


def test_padding_that_sees_nothing_gives_no_nan():
    bias = attention_bias(torch.tensor([[False, True]]), 3, torch.bfloat16)
    assert torch.isfinite(bias).all()
    assert (bias[0, 0] == 0).tolist() == [
        [False, False, False],
        [False, True, False],
        [False, True, True],
    ]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=11,
                    hidden_size=8,
                    intermediate_size=8,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                )
            ),
            "GPT-2 shapes only, got a llama",
        ),
        (lambda: tiny_gpt2(activation_function="relu"), "got 'relu'"),
        (lambda: tiny_gpt2(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse"),
    ],
)
def test_other_shapes_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        PlainGPT2(model(), trained=False)


def tiny_gpt2(**options):
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, **options)
    return GPT2LMHeadModel(config)
