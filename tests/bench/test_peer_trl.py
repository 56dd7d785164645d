"""TRL as a peer: the same work, silently, and one line where it cannot be."""

import gc
import os
import sys
import types

import pytest
import torch

from minirlhf.bench.models import new_trainer
from minirlhf.bench.peer_trl import TRLPeer, phases
from minirlhf.bench.trl_setup import load_trl, settings
from minirlhf.config import PPOConfig

CPU = torch.device("cpu")
SMALL = {"batch_size": 4, "minibatch_size": 2, "max_response_tokens": 3, "ppo_epochs": 2}


def trainer(**settings):
    return new_trainer(PPOConfig(**SMALL | settings), 7, CPU)


def test_without_trl_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "trl", None)
    with pytest.raises(ValueError, match=r"not installed: pip install 'minirlhf\[peer\]'"):
        load_trl()


def test_a_release_without_ppo_is_named(monkeypatch):
    later = types.ModuleType("trl")
    later.__version__ = "9.9"
    monkeypatch.setitem(sys.modules, "trl", later)
    monkeypatch.setitem(sys.modules, "trl.experimental.ppo", None)
    with pytest.raises(ValueError, match=r"TRL 9\.9 has no trl\.experimental\.ppo\.PPOTrainer"):
        load_trl()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("verl", {}, "--peer must be one of trl, trl-bf16; got 'verl'"),
        ("trl-bf16", {}, "wants --precision bfloat16"),
        ("trl", {"minibatch_size": 3}, "batch_size 4 is no multiple of minibatch_size 3"),
    ],
)
def test_what_trl_cannot_do_alike_is_refused(name, given, message):
    with pytest.raises(ValueError, match=message):
        TRLPeer(trainer(**given), name, 1)


def test_the_phases_are_cut_at_the_marks():
    marks = {"start": 10.0, "train": 14.0, "trained": 19.0}
    found = phases(marks, 20.0, {"generate": 1.5, "garbage": 0.5})
    assert found == {
        "generate": 1.5,
        "score": 2.0,  # 4 seconds until it learns, without writing and garbage
        "train": 5.0,
        "other": 1.5,
        "total": 10.0,
        "garbage": 0.5,
    }
    parts = sum(found[name] for name in ("generate", "score", "train", "other"))
    assert parts == found["total"]


@pytest.fixture(scope="module")
def ran():
    """Three iterations, and what was seen in between."""
    pytest.importorskip("trl")
    ours = trainer()
    peer = TRLPeer(ours, "trl", 3)
    policy, seen, steps = peer.trainer.model.policy, [], []
    peer.trainer.optimizer.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    passes = []
    hook = peer.trainer.model.register_forward_pre_hook(
        lambda _, __, given: passes.append(given["input_ids"].shape), with_kwargs=True
    )
    start = {name: w.clone() for name, w in policy.state_dict().items()}
    for name, weight in ours.actor.model.state_dict().items():
        assert torch.equal(start[name], weight)
    seconds = peer.run(lambda i: seen.append((i, len(steps))))
    hook.remove()
    return ours, peer, seconds, seen, passes, start


def test_trl_takes_as_many_steps_on_as_many_rows(ran):
    """2 epochs of 2 minibatches of 2 rows; prompts of up to 7 tokens, 3 more each."""
    _, _, seconds, seen, passes, _ = ran
    assert seen == [(0, 4), (1, 8), (2, 12)] and len(seconds) == 3
    assert passes == [(2, 10)] * 12


def test_trl_trains_its_own_copies_of_our_weights(ran):
    ours, peer, _, _, _, start = ran
    moved = peer.trainer.model.policy.state_dict()
    assert any(not torch.equal(moved[name], start[name]) for name in start)
    assert all(torch.equal(w, start[name]) for name, w in ours.actor.model.state_dict().items())
    # what is frozen is held once
    assert peer.trainer.ref_model is ours.reference.model
    assert not any(p.requires_grad for p in peer.trainer.reward_model.parameters())


def test_no_response_of_trls_ends_early(ran):
    _, peer, _, _, _, _ = ran
    tokenizer, outputs = peer.trainer.processing_class, ran[0].actor.model.config.vocab_size
    assert min(tokenizer.eos_token_id, tokenizer.pad_token_id) >= outputs
    assert peer.trainer.state.log_history[-1]["val/num_eos_tokens"] == 0


def test_times_are_whole_and_nothing_stays_behind(ran):
    _, peer, seconds, _, _, _ = ran
    for one in seconds:
        parts = [one[name] for name in ("generate", "score", "train", "other")]
        assert min(parts) >= 0.0 and sum(parts) == pytest.approx(one["total"])
        assert 0.0 < one["garbage"] <= one["other"]
    assert peer.garbage not in gc.callbacks
    assert not os.path.exists(peer.folder.name)
    assert "ACCELERATE_MIXED_PRECISION" not in os.environ


def test_our_settings_are_trls():
    ppo = pytest.importorskip("trl.experimental.ppo")
    config = {"kl_coef": 0.07, "lam": 0.9, "gamma": 0.98, "clip_range": 0.1, "temperature": 0.8}
    ours = trainer(**config, value_clip_range=None, missing_eos_penalty=0.5, actor_lr=2e-4)
    given = settings(ppo, ours, 5, "/tmp/nowhere")
    assert (given.kl_coef, given.lam, given.gamma) == (0.07, 0.9, 0.98)
    assert (given.cliprange, given.temperature, given.learning_rate) == (0.1, 0.8, 2e-4)
    assert given.missing_eos_penalty == 0.5 and given.cliprange_value > 1e6
    assert (given.num_mini_batches, given.num_ppo_epochs, given.total_episodes) == (2, 2, 20)
    assert given.per_device_train_batch_size == 4 and given.gradient_accumulation_steps == 1


@pytest.mark.parametrize("name", ["trl", "trl-bf16"])
def test_bfloat16_is_in_the_passes_or_in_the_weights(name):
    pytest.importorskip("trl")
    peer = TRLPeer(trainer(precision="bfloat16"), name, 1)
    weights = {w.dtype for w in peer.trainer.model.parameters()}
    assert weights == {torch.bfloat16 if name == "trl-bf16" else torch.float32}
    assert peer.trainer.accelerator.mixed_precision == ("bf16" if name == "trl" else "no")
    assert peer.run(lambda _: None)[0]["total"] > 0.0
