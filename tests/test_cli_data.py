"""Commands on data with bad rows: what is said and written down, and that a run goes on with it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_tokenizers import CHATML, EOS, PAD, chat_tokenizer
from tiny_trainers import PAIRS, PROMPTS, SFT_ROWS, tiny_actor, tree
from transformers import GPT2Config, GPT2LMHeadModel
from typer.testing import CliRunner

from minirlhf import Actor, RewardModel
from minirlhf.cli import app
from minirlhf.cli.data import DataOptions, data_options

BAD = b'{"prompt": "review the\n\xff\n{"prompt": 3}\n'


def run(command: str, out: Path, *more: object) -> str:
    """The command must succeed; returns what it prints."""
    arguments = [command, "--out", str(out), "--device", "cpu", *map(str, more)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (result.stderr, result.exception)
    assert result.stderr == ""
    return result.stdout


def write(file: Path, rows: list[Any], junk: bytes = b"") -> Path:
    file.write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode() + junk)
    return file


def report_of(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "data_report.json").read_text())
    return report


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_actor().save(folder / "actor")
    RewardModel.from_actor(tiny_actor()).save(folder / "reward")
    return folder


SFT = ("--steps", 3, "--batch-size", 2)
REWARD = ("--steps", 2, "--batch-size", 2, "--max-response-tokens", 2)
PPO = ("--iterations", 1, "--batch-size", 2, "--max-response-tokens", 2)


def test_bad_rows_are_said_and_the_rest_trains(models: Path, tmp_path: Path) -> None:
    """And it trains to the same bytes as without them."""
    data = write(tmp_path / "rows.jsonl", SFT_ROWS, BAD)
    said = run("sft", tmp_path / "out", "--model", models / "actor", "--data", data, *SFT)
    assert said.splitlines()[:4] == [
        f"data          {data}: 3 of 6 rows",
        "  dropped 1: not valid JSON (line 4)",
        "      line 4: not valid JSON (Unterminated string starting at), "
        '\'{"prompt": "review the\'',
        "  dropped 1: not UTF-8 text (line 5)",
    ]
    report = report_of(tmp_path / "out")
    assert report["dropped"]["neither text nor messages"]["rows"] == [6]
    assert (report["rows_read"], report["rows_used"]) == (6, 3)
    assert report["options"] == {
        "split": "train", "max_rows": None, "max_tokens": None, "keep_duplicates": False,
    }  # fmt: skip
    clean = write(tmp_path / "clean.jsonl", SFT_ROWS)
    said = run("sft", tmp_path / "clean", "--model", models / "actor", "--data", clean, *SFT)
    assert said.startswith(f"data          {clean}: 3 rows\n")
    one, other = (tmp_path / name / "actor/model.safetensors" for name in ("out", "clean"))
    assert one.read_bytes() == other.read_bytes()


def test_a_run_goes_on_with_the_rows_that_it_began_with(models: Path, tmp_path: Path) -> None:
    rows = [{"prompt": prompt} for prompt in PROMPTS]
    long = {"prompt": " ".join([PROMPTS[0]] * 5)}
    data = write(tmp_path / "rows.jsonl", [rows[0], rows[0], long, *rows[1:], rows[2]], BAD)
    source = ["--model", models / "actor", "--reward", models / "reward", "--data", data]
    options = ["--max-rows", 5, "--max-tokens", 12, "--keep-duplicates"]
    said = run("ppo", tmp_path / "run", *source, *options, *PPO)
    assert ": 4 of 5 rows" in said and "are more than the 12 that fit" in said
    run("ppo", tmp_path / "run", "--resume", "--iterations", 3)
    run("ppo", tmp_path / "whole", *source, *options, *PPO[2:], "--iterations", 3)
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")
    assert report_of(tmp_path / "run")["options"] == {
        "split": "train", "max_rows": 5, "max_tokens": 12, "keep_duplicates": True,
    }  # fmt: skip
    result = CliRunner().invoke(
        app, ["ppo", "--out", str(tmp_path / "run"), "--resume", "--max-rows", "3"]
    )
    assert result.exit_code == 2 and "resume with the same --data and its options" in result.stderr


def test_options_of_a_run(tmp_path: Path) -> None:
    none = {"split": None, "max_rows": None, "max_tokens": None, "keep_duplicates": None}
    assert data_options(tmp_path, False, **none) == DataOptions()
    # a run that is older than reports used every row that there was
    assert data_options(tmp_path, True, **none) == DataOptions(keep_duplicates=True)
    saved = {"split": "test", "max_rows": 3, "max_tokens": None, "keep_duplicates": False}
    (tmp_path / "data_report.json").write_text(json.dumps({"options": saved}))
    assert data_options(tmp_path, True, **none) == DataOptions("test", 3)
    assert data_options(tmp_path, True, **none | {"max_rows": 4}) == DataOptions("test", 4)
    assert data_options(tmp_path, False, **none) == DataOptions()
    for damaged in ("{", "[]", "{}", '{"options": {"colour": "red"}}'):
        (tmp_path / "data_report.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"cannot read .*data_report\.json"):
            data_options(tmp_path, True, **none)


def test_pairs_in_other_shapes(models: Path, tmp_path: Path) -> None:
    """A shared beginning instead of a prompt, and one pair labelled both ways."""
    joined = [
        {name: f"{row['prompt']} {row[name]}" for name in ("chosen", "rejected")} for row in PAIRS
    ]
    swapped = {"chosen": joined[0]["rejected"], "rejected": joined[0]["chosen"]}
    data = write(tmp_path / "pairs.jsonl", [*joined, swapped])
    source = ["--model", models / "actor", "--data", data]
    said = run("reward", tmp_path / "reward", *source, *REWARD)
    assert "dropped 2: a pair labelled both ways (lines 1, 10)" in said
    said = run("dpo", tmp_path / "dpo", *source, *REWARD[:4], "--keep-duplicates")
    assert f"{data}: 10 rows" in said


def test_a_chat_through_all_three_stages(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer(CHATML)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=96, n_embd=16, n_layer=1, n_head=2,
        bos_token_id=EOS, eos_token_id=EOS, pad_token_id=PAD, attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Actor(GPT2LMHeadModel(config), tokenizer).save(tmp_path / "model")
    ask = [{"role": "user", "content": "Soup?"}]
    chats = [[*ask, {"role": "assistant", "content": word}] for word in ("Hot.", "Mild.", "Raw.")]
    sft = write(tmp_path / "sft.jsonl", [{"messages": chat} for chat in chats])
    pairs = write(
        tmp_path / "pairs.jsonl",
        [{"chosen": chat, "rejected": chats[2]} for chat in chats]
        + [{"chosen": "Soup? Hot.", "rejected": "Soup? Raw."}],
    )
    run("sft", tmp_path / "sft", "--model", tmp_path / "model", "--data", sft, *SFT)
    actor = tmp_path / "sft/actor"
    assert Actor.from_pretrained(actor, device="cpu").tokenizer.chat_template == CHATML
    said = run("reward", tmp_path / "reward", "--model", actor, "--data", pairs, *REWARD)
    assert "2 of 4 rows" in said and "chosen equals rejected (line 3)" in said
    reward = tmp_path / "reward/reward_model"
    run("ppo", tmp_path / "ppo", "--model", actor, "--reward", reward, "--data", sft, *PPO)
    assert report_of(tmp_path / "ppo")["dropped"]["the same as an earlier row"]["rows"] == [2, 3]
