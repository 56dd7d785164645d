"""The floor computes what our code computes: the same tokens, numbers and weights."""

import pytest
import torch
from tiny_models import shaped_actor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from minirlhf.batch import Prompts
from minirlhf.bench.attention import attention_bias
from minirlhf.bench.floor import Floor, plain
from minirlhf.bench.models import NEVER_DRAWN, new_trainer
from minirlhf.bench.plain_gpt2 import PlainGPT2
from minirlhf.bench.plain_llama import PlainLlama
from minirlhf.bench.stopwatch import Stopwatch
from minirlhf.bench.turns import run_floor, run_ours, watch_parts
from minirlhf.config import PPOConfig
from minirlhf.noise import SAMPLING, uniform_noise

CPU = torch.device("cpu")
CPU_DTYPE = torch.float32
ROWS, WIDTH = 6, 5
SMALL = {"batch_size": ROWS, "minibatch_size": ROWS, "max_response_tokens": WIDTH, "ppo_epochs": 2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny model of each family, saved; GPT-2 in the café's shape."""
    found = {"gpt2": "cafe"}
    for family in ("llama", "qwen2"):
        found[family] = str(tmp_path_factory.mktemp(family))
        shaped_actor(family).save(found[family])
    return found


def make_trainer(model="cafe", dtype=torch.float32, **settings):
    """Four roles that differ, with weights large enough for a wrong position to show."""
    trainer = new_trainer(PPOConfig(**SMALL | settings), 7, CPU, model)
    roles = (trainer.actor, trainer.reference, trainer.critic, trainer.reward_model)
    with torch.no_grad():
        for number, role in enumerate(roles):
            role.to(dtype)
            for weight in role.model.parameters():
                if weight.dim() == 2:
                    weight.mul_((3.0 if model == "cafe" else 1.0) + 0.1 * number)
                else:  # biases, and the weights of norms
                    weight.add_(0.1 * torch.arange(len(weight)).cos())
    for role in roles[2:]:
        role.model.config.score_shift = 0.7
    return trainer


@pytest.fixture(scope="module", params=["gpt2", "llama", "qwen2"])
def read(request, folders):
    """Our rollout on six prompts of 4 to 7 tokens, and what the floor makes of the same."""
    trainer = make_trainer(folders[request.param])
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


@pytest.mark.parametrize(
    ("family", "settings"),
    [("gpt2", {}), ("gpt2", {"minibatch_size": 4, "temperature": 0.8}), ("qwen2", {})],
)
def test_an_iteration_of_the_floor_leaves_our_weights(folders, family, settings):
    # the floor clips no gradient; float64, because AdamW's first steps magnify rounding, but for
    # Qwen2, which rounds to float32 inside whatever its weights are
    dtype, near = (torch.float64, 1e-4) if family == "gpt2" else (torch.float32, 2e-2)
    trainer = make_trainer(folders[family], dtype, grad_clip=1e9, **settings)
    floor, watch = Floor(trainer), Stopwatch(CPU)
    pairs = [(trainer.actor, floor.actor), (trainer.critic, floor.critic)]
    before = [[w.detach().clone() for w in bare.parameters] for _, bare in pairs]
    watch_parts(trainer, watch)
    for step in range(2):
        ours, _ = run_ours(trainer, watch)
        tokens, _ = run_floor(floor, trainer, step, watch)
        assert torch.equal(tokens, ours)
    for (role, bare), old in zip(pairs, before, strict=True):
        ours = plain(role.model, trained=False).parameters  # some matrices stand in one there
        assert sum(w.numel() for w in ours) == sum(p.numel() for p in role.model.parameters())
        for theirs, weight, first in zip(bare.parameters, ours, old, strict=True):
            moved = (weight - first).norm()
            assert moved > 0.0 and (theirs - weight).norm() < near * moved


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_writing_with_fixed_shapes_gives_the_same_tokens(folders, family, precision):
    """What a GPU captures as a graph, run call by call; the weights are read anew each time."""
    trainer = make_trainer(folders[family], precision=precision)
    floor, fixed = Floor(trainer), Floor(trainer, fixed_shapes=True)
    for step in range(2):
        for weight in (*floor.actor.parameters, *fixed.actor.parameters):
            weight.data.mul_(1.0 + 0.5 * step)
        runs = [run_floor(f, trainer, step, Stopwatch(CPU))[0] for f in (floor, fixed)]
        same = float((runs[0] == runs[1]).double().mean())
        assert same == 1.0 if precision == "float32" else same > 0.8
    assert fixed.decoding == "fixed shapes, no CUDA graph" and floor.decoding == "plain"
    twin = fixed.decode_graph.model
    assert (twin is fixed.actor) == (precision == "float32")
    assert {w.dtype for w in twin.blocks[0] if w.dim() == 2} == {twin.head.dtype}


@pytest.mark.parametrize("response", [1, 2])
def test_the_shortest_responses_can_be_written_with_fixed_shapes(response):
    trainer = make_trainer(max_response_tokens=response)
    floors = Floor(trainer), Floor(trainer, fixed_shapes=True)
    ours, fixed = (run_floor(floor, trainer, 0, Stopwatch(CPU))[0] for floor in floors)
    assert torch.equal(ours, fixed) and ours.shape == (ROWS, response)


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
    assert torch.isfinite(attention_bias(torch.tensor([[False]]), 2, CPU_DTYPE).bfloat16()).all()
    assert (bias[0, 0] == 0).tolist() == [
        [False, False, False],
        [False, True, False],
        [False, True, True],
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation_function": "relu"}, "got 'relu'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse"),
    ],
)
def test_other_kinds_of_gpt2_are_refused(options, message):
    config = GPT2Config(vocab_size=11, n_positions=8, n_embd=8, n_layer=1, n_head=2, **options)
    with pytest.raises(ValueError, match=message):
        PlainGPT2(GPT2LMHeadModel(config), trained=False)


def tiny_llama(**options):
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    return LlamaConfig(vocab_size=11, num_attention_heads=2, **sizes, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act=silu, got relu"),
        ({"attention_bias": True}, "attention_bias=False, got True"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "dynam"),
    ],
)
def test_other_kinds_of_llama_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PlainLlama(LlamaForCausalLM(tiny_llama(**options)), trained=False)


def test_other_families_are_refused():
    config = MistralConfig(**tiny_llama().to_diff_dict() | {"model_type": "mistral"})
    model = MistralForCausalLM(config)
    with pytest.raises(ValueError, match="gpt2, llama, qwen2; got a mistral model"):
        plain(model, trained=False)
    for kind in (PlainGPT2, PlainLlama):
        with pytest.raises(ValueError, match="got a mistral model"):
            kind(model, trained=False)
