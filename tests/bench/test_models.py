"""The models that are timed have the shapes they are named after, and never end a response."""

import pytest
import torch
from tiny_models import shaped_actor
from transformers import AutoModelForCausalLM, GPT2Config

from minirlhf import shapes as known
from minirlhf.bench import models
from minirlhf.bench.models import NEVER_DRAWN, new_actor, new_trainer, random_actor, shapes
from minirlhf.config import PPOConfig

CPU = torch.device("cpu")
SMALL = PPOConfig(batch_size=5, minibatch_size=5, max_response_tokens=3, ppo_epochs=1)


@pytest.mark.parametrize(
    ("name", "shape"), [("gpt2-small", "GPT-2 124 M"), ("qwen2.5-0.5b", "Qwen2.5 0.5 B")]
)
def test_named_shapes_have_as_many_weights_as_the_models(name, shape):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shapes()[name])
    assert sum(p.numel() for p in model.parameters()) == known.SHAPES[shape].parameters


def test_a_named_shape_runs(monkeypatch):
    config = GPT2Config(vocab_size=30, n_positions=16, n_embd=8, n_layer=1, n_head=2)
    monkeypatch.setattr(models, "shapes", lambda: {"small": config})
    trainer = new_trainer(SMALL, 4, CPU, "small")
    rollout = trainer.train_step().rollout
    assert rollout.response_mask.all() and rollout.response_ids.shape == (5, 3)
    assert rollout.prompt_mask.sum(dim=1).unique().tolist() == [2, 3, 4]
    assert not torch.equal(rollout.prompt_ids[0], rollout.prompt_ids[1])
    again = new_trainer(SMALL, 4, CPU, "small").collect(range(5))
    assert torch.equal(again.prompt_mask.sum(), rollout.prompt_mask.sum())


def test_a_folder_with_spare_outputs_cannot_end_either(tmp_path):
    """Its model has more outputs than its tokenizer has tokens, as Qwen's have."""
    actor = shaped_actor("qwen2")
    actor.model.resize_token_embeddings(len(actor.tokenizer) + 5, mean_resizing=False)
    actor.save(tmp_path)
    ours = new_actor(str(tmp_path), seed=0, device=CPU)
    assert ours.model.config.vocab_size == len(actor.tokenizer) + 5
    assert ours.tokenizer.eos_token == NEVER_DRAWN
    assert ours.tokenizer.eos_token_id >= ours.model.config.vocab_size


def test_what_is_neither_shape_nor_folder_is_refused_with_the_shapes(tmp_path):
    with pytest.raises(ValueError, match=r"does not exist.*shapes cafe, gpt2-small, qwen2.5-0.5b"):
        new_actor(str(tmp_path / "nowhere"), seed=0, device=CPU)


def test_weights_follow_the_seed_and_disturb_no_generator():
    def weights(seed):
        config = GPT2Config(vocab_size=30, n_positions=16, n_embd=8, n_layer=1, n_head=2)
        return random_actor(config, seed=seed, device=CPU).model.transformer.wte.weight

    state = torch.random.get_rng_state()
    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))
    assert torch.equal(state, torch.random.get_rng_state())
