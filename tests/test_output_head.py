"""The head that says log-probs: every role and trainer reads the same as from whole logits."""

from collections.abc import Iterator

import pytest
import torch
from tiny_models import (
    PAD,
    PROMPT_IDS,
    SHAPES,
    TOKENIZER,
    four_roles,
    four_trainer,
    ragged,
    shaped_actor,
    weights,
)  # fmt: skip
from tiny_trainers import dpo_trainer, sft_trainer
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPTJConfig,
    GraniteConfig,
    PreTrainedConfig,
)

from minirlhf import Actor, PPOConfig, collect_rollout, gather_log_probs
from minirlhf.data import pad_prompts
from minirlhf.log_probs import entropy
from minirlhf.output_head import linear_head, speaking

V = len(TOKENIZER)
SIZES = {
    "vocab_size": V, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip


@pytest.fixture
def in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits of more than 6 tokens count as too large; a chunk is 3 then."""
    for module in ("actor", "chunked_log_probs"):
        monkeypatch.setattr(f"minirlhf.{module}.most_bytes", lambda device: 4 * V * 6)


@pytest.fixture
def head_outputs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The last width of everything that a head of these models gives: V, or 1 or 2 numbers."""
    seen: list[int] = []

    def note(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        if getattr(module, "out_features", 0) == V:
            seen.append(output.shape[-1])

    with torch.nn.modules.module.register_module_forward_hook(note):
        yield seen


@pytest.mark.usefixtures("in_chunks")
@pytest.mark.parametrize("shape", SHAPES)  # GPT-2's and Qwen2's heads are their input tables
def test_chunks_give_every_weight_the_gradient_of_whole_logits(
    shape: str, head_outputs: list[int]
) -> None:
    actor, (x, y, mask) = shaped_actor(shape).double(), ragged()
    # transformers' Llama gives NaN for left padding in float64, where its mask overflows float32
    x = x if shape == "gpt2" else pad_prompts([PROMPT_IDS[0]] * len(y), PAD)
    whole = gather_log_probs(actor.logits(x, y), y, temperature=0.7)
    linear_head(actor.model)
    head_outputs.clear()
    ours = actor.log_probs(x, y, temperature=0.7)
    both = actor.log_probs_and_entropy(x, y, temperature=0.7)
    assert head_outputs == [1, 2]  # never V logits
    assert_close(ours, whole, rtol=0, atol=1e-12)
    assert torch.equal(both[0], ours) and not both[0].requires_grad
    assert_close(both[1], entropy(actor.logits(x, y), temperature=0.7).detach(), rtol=0, atol=1e-12)
    parameters = list(actor.parameters())
    wanted = torch.autograd.grad(whole[mask].sum(), parameters)
    for mine, right in zip(torch.autograd.grad(ours[mask].sum(), parameters), wanted, strict=True):
        assert_close(mine, right, rtol=0, atol=1e-10 * max(1.0, float(right.abs().max())))


BENT: dict[str, PreTrainedConfig] = {
    "gemma2": Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=30.0),
    "cohere": CohereConfig(**SIZES, logit_scale=0.0625),  # a power of two keeps all digits
    "granite": GraniteConfig(**SIZES, logits_scaling=2.0),
}


@pytest.mark.usefixtures("in_chunks")
@pytest.mark.parametrize("name", BENT)
def test_a_model_that_does_more_to_its_logits_is_read_whole(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(BENT[name], attn_implementation="eager")
    actor, (x, y, _) = Actor(model, TOKENIZER), ragged()
    assert linear_head(model) is None and actor.head_for_chunks(y) is None
    assert torch.equal(actor.log_probs(x, y), gather_log_probs(actor.logits(x, y), y))


@pytest.mark.usefixtures("in_chunks")
def test_a_head_with_a_bias_is_read_in_chunks() -> None:
    config = GPTJConfig(vocab_size=V, n_positions=64, n_embd=16, n_layer=1, n_head=2, rotary_dim=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double()
    model.lm_head.bias.data.normal_(generator=torch.Generator().manual_seed(0))
    actor, (x, y, _) = Actor(model, TOKENIZER), ragged()
    assert actor.head_for_chunks(y) is model.lm_head
    whole, ours = gather_log_probs(actor.logits(x, y), y), actor.log_probs(x, y)
    assert_close(ours, whole, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(one.sum(), model.lm_head.bias) for one in (ours, whole)]
    assert_close(*gradients, rtol=0, atol=1e-12)


def test_a_head_of_another_kind_is_not_taken_for_a_linear_one() -> None:
    class Doubled(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(hidden)

    model = shaped_actor("llama").model
    assert linear_head(model) is model.lm_head
    model.lm_head = Doubled(16, V, bias=False)
    assert linear_head(model) is None


def test_the_head_is_itself_again_after_the_block_and_after_an_error() -> None:
    actor, (x, y, _) = shaped_actor(), ragged()
    before = actor.logits(x, y)
    with pytest.raises(ZeroDivisionError), speaking(actor.model.lm_head, lambda h: h / 0):
        assert torch.equal(actor.model.lm_head.forward(4), 1 / 0)
    assert "forward" not in vars(actor.model.lm_head)
    assert torch.equal(actor.logits(x, y), before)


def test_small_logits_are_read_whole_as_ever(head_outputs: list[int]) -> None:
    actor, (x, y, _) = shaped_actor(), ragged()
    assert actor.head_for_chunks(y) is None
    assert torch.equal(actor.log_probs(x, y), gather_log_probs(actor.logits(x, y), y))
    log_probs, entropies = actor.log_probs_and_entropy(x, y)
    assert torch.equal(log_probs, actor.log_probs(x, y))
    assert torch.equal(entropies, entropy(actor.logits(x, y)))
    assert set(head_outputs) == {V}


# ------------------------------------------------------------------------ rollouts and trainers

SETTINGS = PPOConfig(temperature=0.8, max_response_tokens=8, seed=33)


def test_a_rollout_in_chunks_is_the_same_rollout(request: pytest.FixtureRequest) -> None:
    four, x = four_roles(dtype=torch.float64), ragged()[0]
    whole = collect_rollout(*four, x, SETTINGS)
    request.getfixturevalue("in_chunks")
    ours = collect_rollout(*four, x, SETTINGS)
    assert torch.equal(ours.response_ids, whole.response_ids)
    for name in ("old_log_probs", "ref_log_probs", "entropy", "advantages"):
        assert_close(getattr(ours, name), getattr(whole, name), rtol=0, atol=1e-12)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_first_ratio_is_1_where_a_microbatch_is_small_enough_to_be_read_whole(
    precision: str, request: pytest.FixtureRequest
) -> None:
    """A rollout is read in chunks, one row of it whole; both are the same sums."""
    four = four_roles()
    request.getfixturevalue("in_chunks")
    config = PPOConfig(max_response_tokens=8, seed=33, precision=precision)
    rollout = collect_rollout(*four, ragged()[0], config)
    assert rollout.entropy.dtype == rollout.old_log_probs.dtype == torch.float32
    request.getfixturevalue("monkeypatch").undo()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        now = four.actor.log_probs(ragged()[0], rollout.response_ids)
    assert now.dtype == torch.float32
    ratio = (now - rollout.old_log_probs)[rollout.response_mask].exp()
    assert (ratio - 1).abs().max() <= 1e-5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_microbatches_in_chunks_add_up_to_one_batch_of_whole_logits(
    precision: str, request: pytest.FixtureRequest
) -> None:
    dtype = torch.float32 if precision == "bfloat16" else torch.float64
    after = []
    for microbatch in (None, 3):
        trainer = four_trainer(
            four_roles(dtype=dtype), microbatch_size=microbatch, precision=precision,
            batch_size=8, minibatch_size=8, actor_lr=1e-3,
        )  # fmt: skip
        seen = []
        loss = trainer.backward
        trainer.backward = lambda *a, loss=loss, seen=seen: (seen.append(a[1].dtype), loss(*a))
        next(iter(trainer))
        assert set(seen) == {dtype} and len(seen) == (2 if microbatch is None else 6)
        after.append(weights(trainer.actor))
        request.getfixturevalue("in_chunks")
    # AdamW's first step is ±lr wherever a gradient is far from 0: near 0 half precision shows
    close = 1e-9 if dtype == torch.float64 else 3e-3
    for one, other in zip(*after, strict=True):
        assert_close(one, other, rtol=0, atol=close)


@pytest.mark.parametrize("make", [sft_trainer, dpo_trainer])
def test_sft_and_dpo_learn_the_same_in_chunks(make: object, request: pytest.FixtureRequest) -> None:
    losses, after = [], []
    for chunked in (False, True):
        if chunked:
            request.getfixturevalue("in_chunks")
        trainer = make()
        trainer.roles["actor"].double()
        getattr(trainer, "reference", trainer.roles["actor"]).double()
        assert (trainer.actor.head_for_chunks(torch.zeros(4, 2)) is not None) == chunked
        records = list(trainer)
        losses.append([record.metrics[f"{trainer.stage}_loss"] for record in records])
        after.append(weights(trainer.roles["actor"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    for one, other in zip(*after, strict=True):
        assert_close(one, other, rtol=0, atol=1e-6)
