"""`demo` and `cafe`: what they write, what they show, and that a seed gives the same again."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from tiny_models import TOKENIZER, same_bits, weights
from tiny_trainers import tiny_actor
from typer.testing import CliRunner

from minirlhf import Actor, PPOConfig, RewardModel
from minirlhf.cli import app, show
from minirlhf.cli.four_models import load_four_models
from minirlhf.config import as_dict
from minirlhf.course_files import PACKAGE
from minirlhf.data import PREFERENCE_COLUMNS, PROMPT_COLUMNS, SFT_COLUMNS
from minirlhf.data_rows import read_rows
from minirlhf.evaluation import evaluate
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe

SHIPPED = PACKAGE.parent / "assets" / "cafe"
needs_shipped = pytest.mark.skipif(
    not all(
        (SHIPPED / name / "model.safetensors").is_file() for name in ("sft_actor", "reward_model")
    ),
    reason="assets/cafe holds no trained models yet: minirlhf cafe --train --out assets/cafe",
)
PROMPT = "review the soup and the waiter :"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.console, "_width", 200)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random models in place of the café's."""
    folder = tmp_path_factory.mktemp("assets") / "cafe"
    tiny_actor().save(folder / "sft_actor")
    RewardModel.from_actor(tiny_actor(), seed=1).save(folder / "reward_model")
    return folder


@pytest.fixture
def tiny(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipe, "shipped_folder", lambda: shipped)
    return shipped


def run(*arguments: object, **options: Any) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], **options)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


# -------------------------------------------------------------------------------- demo


def demo(tmp_path: Path, *options: object) -> dict[str, Any]:
    file = tmp_path / "result.json"
    run("demo", "--json", file, "--device", "cpu", *options)
    return json.loads(file.read_text())


@pytest.mark.usefixtures("tiny")
def test_demo_writes_what_happened(tmp_path: Path) -> None:
    out = tmp_path / "run"
    given = ("--seed", 3, "--kl-coef", 0.2, "--iterations", 2, "--critic-target", "gae")
    result = demo(tmp_path, *given, "--out", out)
    assert {"gold_before", "gold_after", "proxy_after", "kl", "seconds", "seed", "kl_coef"} <= (
        result.keys()
    )
    assert (result["seed"], result["kl_coef"], result["iterations"]) == (3, 0.2, 2)
    assert result["from_scratch"] is False and result["critic_target"] == "gae"
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert settings == as_dict(PPOConfig(seed=3, kl_coef=0.2, iterations=2, critic_target="gae"))
    assert all(math.isfinite(x) for x in result.values() if not isinstance(x, str))
    # every number again, from the models that the run left behind
    four = load_four_models(out, CPU)
    prompts = list(cafe.PROMPTS) * 8
    for actor, when in ((Actor(four.reference.model, TOKENIZER), "before"), (four.actor, "after")):
        look = evaluate(
            actor, four.reference, four.reward_model, prompts, max_response_tokens=24, seed=3,
            judge=recipe.judge,
        )  # fmt: skip
        assert result[f"gold_{when}"] == pytest.approx(look.gold, abs=1e-5)
        assert result[f"proxy_{when}"] == pytest.approx(look.score, abs=1e-4)
    assert result["kl"] == pytest.approx(look.kl, abs=1e-3) and look.kl != 0.0
    assert result["eos_rate"] == look.eos_rate
    assert 0 < result["ppo_seconds"] < result["seconds"] < 60


@pytest.mark.usefixtures("tiny")
def test_demo_gives_the_same_again_for_the_same_seed(tmp_path: Path) -> None:
    def numbers(*options: object) -> dict[str, Any]:
        result = demo(tmp_path, "--iterations", 1, *options)
        return {k: v for k, v in result.items() if "seconds" not in k}

    first = numbers()
    assert first == numbers("--seed", 0) and first["kl_coef"] == 0.05
    other = numbers("--seed", 1)
    assert all(first[k] != other[k] for k in ("gold_after", "proxy_after", "kl", "seed"))


@pytest.mark.usefixtures("tiny")
def test_demo_shows_the_four_models_the_samples_and_a_verdict(tmp_path: Path) -> None:
    output = run("demo", "--iterations", 1, "--device", "cpu").output
    words = re.findall(r"(Actor|Reference|Critic|RewardModel) .*(trained|frozen)", output)
    assert words == [
        ("Actor", "trained"), ("Reference", "frozen"), ("Critic", "trained"),
        ("RewardModel", "frozen"),
    ]  # fmt: skip
    assert cafe.PROMPTS[0] in output and "after PPO" in output and "Stage 3, PPO 1/1" in output
    assert re.search(r"gold, the true reward: +[+-]\d+\.\d\d → [+-]\d+\.\d\d", output)
    assert re.search(r"\[[+-]\d+\.\d\]", output)  # gold in brackets is no markup
    assert not list(tmp_path.iterdir())


def small_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stages 1 and 2 in seconds; pairs that need no model that ends; no shipped model."""
    pairs = [
        {"prompt": PROMPT, "chosen": f"the soup was {good} .", "rejected": "the the the ."}
        for good in ("warm", "fresh", "kind", "warm")
    ]
    for name in ("QUICK", "THOROUGH"):
        full = getattr(recipe, name)
        small = dataclasses.replace(
            full,
            sft_rows=32,
            sft=dataclasses.replace(full.sft, steps=20, batch_size=8),
            reward=dataclasses.replace(full.reward, steps=2, batch_size=4, standardise_samples=8),
        )
        monkeypatch.setattr(recipe, name, small)
    for function in (recipe.sft_trainer, recipe.reward_trainer):
        monkeypatch.setattr(function, "__defaults__", (recipe.QUICK,))
    monkeypatch.setattr(recipe, "compare_samples", lambda actor, pairs_wanted, seed: pairs)
    monkeypatch.setattr(recipe, "shipped_folder", lambda: tmp_path / "none")


def test_demo_from_scratch_trains_all_three_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_recipe(monkeypatch, tmp_path)
    out = tmp_path / "run"
    result = demo(tmp_path, "--from-scratch", "--iterations", 1, "--out", out)
    assert result["from_scratch"] is True
    four = load_four_models(out, CPU)
    assert four.reward_model.score_shift != 0.0
    assert not same_bits(weights(four.actor), weights(four.reference))


@needs_shipped
def test_the_shipped_models_are_as_good_as_stage_2_leaves_them(tmp_path: Path) -> None:
    """A short run of the real thing; the claims about gold are tested with the demo's full run."""
    result = demo(tmp_path, "--iterations", 3)
    assert -1.0 < result["gold_before"] < 1.0 and result["gold_after"] > result["gold_before"]
    assert abs(result["proxy_before"]) < 0.3  # standardised over samples of the SFT model
    assert result["kl"] > 0 and result["eos_rate"] > 0.8


# -------------------------------------------------------------------------------- cafe


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines()


@pytest.mark.usefixtures("tiny")
def test_cafe_writes_rows_that_the_three_stages_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def end_at_once(actor: Actor, prompts: list[str], seed: int) -> tuple[list[str], list[bool]]:
        word = ("warm", "cold")[len(calls) % 2]  # the two sides of a pair differ
        calls.append(seed)
        return [f"the soup was {word} ."] * len(prompts), [i % 3 > 0 for i in range(len(prompts))]

    monkeypatch.setattr(recipe, "sample", end_at_once)  # the tiny model hardly ever ends
    out = tmp_path / "new" / "data"
    output = run("cafe", "--out", out, "--rows", 12, "--seed", 5, "--device", "cpu").output
    assert [f"{path}" for path in sorted(out.iterdir())] == output.splitlines()
    sft = read_rows(out / "sft.jsonl", SFT_COLUMNS)
    assert sft == cafe.sft_rows(12, seed=5) and len(sft) == 12
    assert [row["prompt"] for row in read_rows(out / "prompts.jsonl", PROMPT_COLUMNS)] == list(
        cafe.PROMPTS
    )
    pairs = read_rows(out / "preferences.jsonl", PREFERENCE_COLUMNS)
    assert len(pairs) == 8  # of those, both ended
    result = CliRunner().invoke(app, ["cafe", "--out", str(out)])
    assert result.exit_code == 2 and "is not an empty folder" in result.stderr
    assert lines(out / "sft.jsonl") == [json.dumps(row, ensure_ascii=False).encode() for row in sft]


def test_cafe_with_train_makes_the_two_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the shipped ones, which may not be there yet, are not asked for."""
    small_recipe(monkeypatch, tmp_path)
    out = tmp_path / "assets"
    run("cafe", "--train", "--out", out, "--device", "cpu")
    assert sorted(path.name for path in out.iterdir()) == ["reward_model", "sft_actor"]
    actor = Actor.from_pretrained(out / "sft_actor", device="cpu")
    scorer = RewardModel.from_pretrained(out / "reward_model", device="cpu")
    assert set(actor.tokenizer.get_vocab()) == set(cafe.VOCABULARY)
    assert scorer.score_shift != 0.0 and sum(p.numel() for p in actor.parameters()) < 500_000
