"""Adapters on disk: small checkpoints, bitwise resume, folders that transformers and peft open."""

import json
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from test_lora import IDS, MASK, PROMPTS, RANK, SHAPES, bytes_of, move
from tiny_models import TOKENIZER, same_bits, shaped_actor, weights
from tiny_trainers import TRAINERS, state, tiny_actor, tree
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from typer.testing import CliRunner

from minirlhf import Actor, Critic, Reference, RewardModel
from minirlhf.adapter_files import put_adapter, rank_on_disk, read_adapter, save_adapter
from minirlhf.cli import app, show
from minirlhf.lora import adapter_parameters
from minirlhf.run_folder import RunFolder

STAGES = ("sft", "reward", "ppo", "grpo", "dpo")


def run(folder: Path, stage: str, *, resume: bool = False, stop: int = 99) -> None:
    trainer = TRAINERS[stage](lora_rank=RANK)
    for record in RunFolder(folder, resume=resume).record(trainer):
        if record.step == stop:
            return


@pytest.mark.parametrize("stage", STAGES)
def test_a_stopped_run_ends_with_the_same_bytes(stage: str, tmp_path: Path) -> None:
    run(tmp_path / "whole", stage)
    run(tmp_path / "stopped", stage, stop=4)
    run(tmp_path / "stopped", stage, resume=True)
    assert tree(tmp_path / "stopped") == tree(tmp_path / "whole")


def test_a_checkpoint_holds_adapter_head_and_moments_alone(tmp_path: Path) -> None:
    run(tmp_path, "ppo")
    (*_, newest) = RunFolder(tmp_path, resume=True).checkpoints()
    trainer = TRAINERS["ppo"](lora_rank=RANK)
    for name, role in trainer.roles.items():
        numbers = sum(p.numel() for p in role.trained_parameters().values())
        room = 4096 + 200 * len(role.trained_parameters())  # the header's names
        file = newest / name / "adapter_model.safetensors"
        assert 4 * numbers <= file.stat().st_size <= 4 * numbers + room
        moments = (newest / f"optimizer-{name}.safetensors").stat().st_size
        assert 8 * numbers <= moments <= 8 * numbers + 3 * room
    assert not list(newest.rglob("model.safetensors"))
    assert (tmp_path / "actor" / "model.safetensors").is_file()  # merged, at the end


def test_loading_a_checkpoint_restores_every_number(tmp_path: Path) -> None:
    trained = TRAINERS["reward"](lora_rank=RANK)
    list(RunFolder(tmp_path).record(trained))
    fresh = TRAINERS["reward"](lora_rank=RANK)
    for _ in RunFolder(tmp_path, resume=True).record(fresh):
        raise AssertionError("nothing is left to do")
    now, wanted = state(fresh), state(trained)
    assert now.keys() == wanted.keys() and all(torch.equal(now[k], wanted[k]) for k in wanted)
    assert float(now["reward_model score_shift"]) != 0.0  # the last step standardised


def test_a_run_cannot_go_on_with_another_rank(tmp_path: Path) -> None:
    run(tmp_path, "sft", stop=2)
    with pytest.raises(ValueError, match="lora_rank was 2 and is now 0"):
        list(RunFolder(tmp_path, resume=True).record(TRAINERS["sft"]()))


def test_a_run_from_before_there_was_lora_goes_on(tmp_path: Path) -> None:
    def begin(folder: Path, stop: int) -> None:
        for record in RunFolder(folder, resume=stop > 2).record(TRAINERS["sft"]()):
            if record.step == stop:
                return

    begin(tmp_path, 2)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    del config["settings"]["lora_rank"]
    file.write_text(json.dumps(config))
    begin(tmp_path, 99)
    assert (tmp_path / "actor").is_dir()


# ---------------------------------------------------------------------- what others open


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_actor_opens_with_plain_transformers_and_with_peft(
    shape: str, tmp_path: Path
) -> None:
    actor = shaped_actor(shape).add_adapter(RANK)
    move(actor)
    actor.save(tmp_path)
    wanted = actor.log_probs(PROMPTS, IDS)
    plain, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    opened = peft.PeftModel.from_pretrained(shaped_actor(shape).model, tmp_path / "adapter")
    for model in (plain, opened.base_model.model):
        assert_close(Actor(model, TOKENIZER).log_probs(PROMPTS, IDS), wanted, rtol=0, atol=1e-5)
    assert json.loads((tmp_path / "adapter/adapter_config.json").read_text())["lora_alpha"] == 4


@pytest.mark.parametrize("shape", SHAPES)
def test_a_saved_scorer_opens_with_plain_transformers_and_with_peft(
    shape: str, tmp_path: Path
) -> None:
    reward_model = RewardModel.from_actor(shaped_actor(shape), seed=3, lora_rank=RANK)
    move(reward_model)
    reward_model.standardise(torch.tensor([0.0, 3.0]))
    wanted = reward_model.scores(PROMPTS, IDS, MASK)
    reward_model.save(tmp_path / "whole")
    again = RewardModel.from_pretrained(tmp_path / "whole", device="cpu")
    assert_close(again.scores(PROMPTS, IDS, MASK), wanted, rtol=0, atol=1e-5)
    shaped_actor(shape).save(tmp_path / "trunk")
    with torch.random.fork_rng():
        trunk = AutoModelForSequenceClassification.from_pretrained(tmp_path / "trunk", num_labels=1)
    opened = peft.PeftModel.from_pretrained(trunk, tmp_path / "whole" / "adapter")
    batch = (PROMPTS.prompt_ids, PROMPTS.prompt_mask, IDS, MASK)
    rows = [[*p[m].tolist(), *y[k].tolist()] for p, m, y, k in zip(*batch, strict=True)]
    for row, score in zip(rows, wanted, strict=True):
        logit = opened(torch.tensor([row])).logits[0, 0]
        assert_close(logit - reward_model.score_shift, score, rtol=0, atol=1e-4)


# ---------------------------------------------------------------------- one trunk


def test_the_reward_model_of_stage_2_finds_the_trunk_that_it_was_trained_on(
    tmp_path: Path,
) -> None:
    sft = shaped_actor("llama")
    trained = RewardModel.from_actor(sft, seed=3, lora_rank=RANK)
    move(trained)
    trained.standardise(torch.tensor([0.0, 3.0]))
    trained.save(tmp_path)
    actor = shaped_actor("llama").add_adapter(RANK)
    move(actor)  # an adapter of its own does not make it another trunk
    assert rank_on_disk(tmp_path / "adapter", actor.model) == RANK
    actor = shaped_actor("llama").add_adapter(RANK)
    found = RewardModel.from_adapter(actor, tmp_path)
    wanted = trained.scores(PROMPTS, IDS, MASK)
    assert torch.equal(found.scores(PROMPTS, IDS, MASK), wanted)
    assert not found.trainable and found.score_shift == trained.score_shift
    own = sum(4 * p.numel() for p in adapter_parameters(found.model).values())
    assert bytes_of(actor, found) == bytes_of(actor) + own
    critic = Critic.from_reward_model(found, lora_rank=RANK)
    assert bytes_of(actor, found, critic, Reference.from_actor(actor)) == bytes_of(actor) + 2 * own


def test_another_trunk_is_not_taken_for_it(tmp_path: Path) -> None:
    RewardModel.from_actor(shaped_actor("llama"), lora_rank=RANK).save(tmp_path)
    other = shaped_actor("llama", seed=1)
    assert rank_on_disk(tmp_path / "adapter", other.model) == 0
    assert rank_on_disk(tmp_path, other.model) == 0  # no adapter at all
    with pytest.raises(ValueError, match=r"holds no LoRA adapter that was trained on this Actor"):
        RewardModel.from_adapter(other, tmp_path)


# ---------------------------------------------------------------------- damage


def damaged(folder: Path, change: Callable[[Path], object]) -> str:
    """What resuming says after the newest checkpoint's adapter was changed."""
    run(folder, "sft", stop=3)
    (*_, newest) = RunFolder(folder, resume=True).checkpoints()
    change(newest / "actor" / "adapter_model.safetensors")
    with pytest.raises(ValueError) as caught:
        run(folder, "sft", resume=True)
    return str(caught.value)


def spoil(file: Path) -> None:
    """The same size, one number NaN."""
    data = bytearray(file.read_bytes())
    data[-4:] = b"\x00\x00\xc0\x7f"
    file.write_bytes(bytes(data))


def test_a_damaged_adapter_is_named(tmp_path: Path) -> None:
    assert "adapter_model.safetensors" in damaged(tmp_path / "a", Path.unlink)
    assert "adapter_model.safetensors" in damaged(tmp_path / "b", lambda f: f.write_bytes(b"x"))
    message = damaged(tmp_path / "c", spoil)
    assert "NaN or infinite" in message and "delete the folder" in message


def test_an_adapter_of_another_rank_is_refused(tmp_path: Path) -> None:
    save_adapter(tiny_actor().add_adapter(4).model, tmp_path)
    actor = tiny_actor().add_adapter(RANK)
    before = weights(actor)
    with pytest.raises(ValueError, match="other layers or rank"):
        put_adapter(actor.model, read_adapter(tmp_path, actor.model))
    assert same_bits(before, weights(actor))


# ---------------------------------------------------------------------- the command line


def test_three_stages_by_command_with_lora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.console, "_width", 200)
    tiny_actor().save(tmp_path / "base")
    rows = {
        "sft": [{"prompt": "review the soup :", "completion": "the soup was warm ."}] * 2,
        "pairs": [
            {"prompt": "review the soup :", "chosen": f"the {word} was warm", "rejected": "cold"}
            for word in ("soup", "room", "waiter", "owner")
        ],
        "prompts": [{"prompt": "review the soup :"}],
    }  # fmt: skip
    for name, some in rows.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, some)))

    def call(stage: str, data: str, options: str, **models: Path) -> str:
        words = [stage, "--out", tmp_path / stage, "--data", tmp_path / f"{data}.jsonl"]
        words += ["--device", "cpu", "--lora-rank", 2, *options.split()]
        for name, folder in models.items():
            words += [f"--{name}", folder]
        result = CliRunner().invoke(app, list(map(str, words)))
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    small = "--steps 2 --batch-size 2"
    assert "LoRA of rank 2" in call("sft", "sft", small, model=tmp_path / "base")
    sft = tmp_path / "sft" / "actor"
    said = call("reward", "pairs", f"{small} --max-response-tokens 4", model=sft)
    assert "LoRA of rank 2" in said and "shares the Actor's trunk" in said
    reward = tmp_path / "reward" / "reward_model"
    ppo = "--iterations 2 --batch-size 2 --max-response-tokens 4"
    said = call("ppo", "prompts", ppo, model=sft, reward=reward)
    assert said.count("shares the Actor's trunk") == 3  # one trunk for all four
    said = call("dpo", "pairs", small, model=sft)
    assert said.count("shares the Actor's trunk") == 1
    for stage, role in (("sft", "actor"), ("ppo", "critic"), ("dpo", "actor")):
        assert (tmp_path / stage / role / "adapter" / "trunk.json").is_file()
    (reward / "adapter" / "trunk.json").unlink()  # now it is a model of its own: two trunks
    (tmp_path / "ppo").rename(tmp_path / "ppo-one-trunk")
    said = call("ppo", "prompts", ppo, model=sft, reward=reward)
    assert said.count("shares the Actor's trunk") == 1
    assert said.count("shares the Reward model's trunk") == 1
