"""`reinforce`, `rloo`, `grpo` and `dpo`: settings, run folders, resuming, looking at the runs."""

import json
import re
from pathlib import Path

import pytest
from click.testing import Result
from tiny_models import same_bits, weights
from tiny_trainers import CRITIC_FREE, PAIRS, PROMPTS, SFT_ROWS, tiny_actor, tree
from typer.testing import CliRunner

from minirlhf import Actor, DPOConfig, GRPOConfig, ReinforceConfig, RewardModel, RLOOConfig
from minirlhf.cli import app, show
from minirlhf.config import as_dict

SMALL = {
    "reinforce": {"iterations": 2, "batch_size": 4, "max_response_tokens": 4},
    "rloo": {"iterations": 2, "batch_size": 8, "max_response_tokens": 4},
    "grpo": {"iterations": 2, "batch_size": 8, "max_response_tokens": 4},
    "dpo": {"steps": 3, "batch_size": 4},
}
GIVEN = {  # every setting that a command has beside those
    "reinforce": {"seed": 5, "kl_coef": 0.3, "baseline_decay": 0.5, "microbatch_size": 2,
                  "actor_lr": 0.01, "precision": "bfloat16", "gradient_checkpointing": True,
                  "offload": True},
    "rloo": {"seed": 5, "kl_coef": 0.3, "group_size": 2, "microbatch_size": 3, "actor_lr": 0.01,
             "precision": "bfloat16", "offload": True, "gradient_checkpointing": False},
    "grpo": {"seed": 5, "kl_coef": 0.3, "group_size": 4, "divide_by_std": False, "epochs": 3,
             "minibatch_size": 4, "microbatch_size": 3, "actor_lr": 0.01, "precision": "bfloat16",
             "gradient_checkpointing": True, "offload": False},
    "dpo": {"seed": 5, "kl_coef": 0.3, "lr": 0.01, "gradient_checkpointing": True},
}  # fmt: skip
CONFIGS = {
    "reinforce": ReinforceConfig, "rloo": RLOOConfig, "grpo": GRPOConfig, "dpo": DPOConfig,
}  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.console, "_width", 200)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and data, and a finished run of each command in a folder of its name."""
    folder = tmp_path_factory.mktemp("files")
    for name, rows in (("prompts", [{"prompt": p} for p in PROMPTS]), ("pairs", PAIRS)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_actor().save(folder / "model")
    RewardModel.from_actor(tiny_actor(), seed=1).save(folder / "reward")
    for command in SMALL:
        result = CliRunner().invoke(app, [*arguments(files=folder, command=command)])
        assert result.exit_code == 0, result.stderr
    return folder


def arguments(files: Path, command: str, out: str = "", **settings: object) -> list[str]:
    """The command on the small models; settings as options, lists of words for the bools."""
    words = [command, "--out", str(files / (out or command)), "--model", str(files / "model")]
    words += ["--data", str(files / ("pairs.jsonl" if command == "dpo" else "prompts.jsonl"))]
    words += [] if command == "dpo" else ["--reward", str(files / "reward")]
    for name, value in {**SMALL[command], **settings}.items():
        option = name.replace("_", "-")
        words += [f"--{'' if value else 'no-'}{option}"] if isinstance(value, bool) else [
            f"--{option}", str(value)
        ]  # fmt: skip
    return words


def run(*words: object) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2, (result.output, result.exception)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and message in line, line


@pytest.mark.parametrize("command", SMALL)
def test_the_run_has_the_settings_that_were_given_and_else_the_defaults(
    files: Path, command: str
) -> None:
    output = run(*arguments(files, command, f"{command}-given", **GIVEN[command])).output
    config = json.loads((files / f"{command}-given/config.json").read_text())
    assert config["stage"] == command
    wanted = CONFIGS[command](**SMALL[command], **GIVEN[command])
    assert config["settings"] == as_dict(wanted)
    assert f"next: minirlhf chat --run {files}/{command}-given" in output
    assert re.search(r"Actor .*trained", output) and re.search(r"Reference .*frozen", output)
    assert ("RewardModel" in output) == (command != "dpo") and "Critic" not in output
    plain = json.loads((files / command / "config.json").read_text())["settings"]
    minibatch = {"minibatch_size": 8} if command == "grpo" else {}  # 32, or the batch if smaller
    assert plain == as_dict(CONFIGS[command](**SMALL[command], **minibatch))
    assert {p.name for p in (files / command).iterdir()} == {
        ".lock", "config.json", "data_report.json", "history.jsonl", "checkpoints", "actor",
    }  # fmt: skip
    trained = Actor.from_pretrained(files / command / "actor", device="cpu")
    assert not same_bits(weights(trained), weights(tiny_actor()))


def test_the_three_stages_can_save_memory_and_learn_the_same(files: Path) -> None:
    """Blocks computed again give the same bits; so does a Reference that waited on this CPU."""
    (files / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SFT_ROWS))
    model, few = ["--model", files / "model"], ["--batch-size", 2, "--steps", 2]
    ppo = ["--batch-size", 2, "--iterations", 1, "--max-response-tokens", 3, "--offload"]
    stages = {
        "sft": ("actor", [*model, *few, "--data", files / "texts.jsonl"]),
        "reward": ("reward_model", [*model, *few, "--data", files / "pairs.jsonl"]),
        "ppo": ("critic", [
            *model, *ppo, "--data", files / "prompts.jsonl", "--reward", files / "reward",
        ]),
    }  # fmt: skip
    for stage, (role, words) in stages.items():
        plain, saving = files / f"{stage}-plain", files / f"{stage}-saving"
        run(stage, *(word for word in words if word != "--offload"), "--out", plain)
        run(stage, *words, "--gradient-checkpointing", "--out", saving)
        settings = json.loads((saving / "config.json").read_text())["settings"]
        assert settings["gradient_checkpointing"] is True
        assert settings.get("offload", True) is True
        weights = f"{role}/model.safetensors"
        assert (plain / weights).read_bytes() == (saving / weights).read_bytes()


@pytest.mark.parametrize("command", CRITIC_FREE)
def test_resume_needs_no_other_option_and_makes_a_run_longer(files: Path, command: str) -> None:
    run(*arguments(files, command, f"{command}-whole", iterations=3))
    run(*arguments(files, command, f"{command}-parts"))
    again = ["--out", files / f"{command}-parts", "--resume", "--iterations", 3]
    output = run(command, *again, "--device", "cpu").output
    assert f"{command} 3/3  score" in output
    assert tree(files / f"{command}-parts") == tree(files / f"{command}-whole")


def test_a_finished_dpo_run_cannot_be_made_longer(files: Path) -> None:
    before = tree(files / "dpo")
    words = ["dpo", "--out", str(files / "dpo"), "--resume"]
    run(*words)
    refused([*words, "--steps", "4"], "steps was 3 and is now 4. Only the device may change")
    refused([*words, "--kl-coef", "0.2"], "kl_coef was")
    assert tree(files / "dpo") == before


BAD = {
    "groups": ("rloo", {"batch_size": 6}, "batch_size 6 is no multiple of group_size 4"),
    "group of one": ("grpo", {"group_size": 1}, "group_size must be a whole number ≥ 2, got 1"),
    "decay": ("reinforce", {"baseline_decay": 2}, "baseline_decay must be a number in [0, 1]"),
    "β of 0": ("dpo", {"kl_coef": 0}, "kl_coef must be a finite number > 0"),
    "NaN": ("grpo", {"actor_lr": "nan"}, "actor_lr must be a finite number > 0, got nan"),
    "precision": ("rloo", {"precision": "half"}, "precision must be one of float32, bfloat16"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_one_line_and_write_nothing(files: Path, case: str) -> None:
    command, settings, message = BAD[case]
    refused(arguments(files, command, "never", **settings), message)
    assert not (files / "never").exists()


def test_missing_options_and_other_stages_are_named(files: Path) -> None:
    refused(["rloo", "--out", str(files / "never")], "--model and --reward and --data must be")
    refused(["dpo", "--out", str(files / "never")], "--model and --data must be given")
    refused(["grpo", "--out", str(files / "rloo"), "--resume"], "is of stage rloo, not grpo")
    refused(["dpo", "--out", str(files / "never"), "--model", str(files / "model"), "--data",
             str(files / "prompts.jsonl")], "column 'chosen' is missing")  # fmt: skip
    assert not (files / "never").exists()


# -------------------------------------------------------------------- looking at the runs


@pytest.mark.parametrize("command", SMALL)
def test_chat_shows_the_trained_actor(files: Path, command: str) -> None:
    output = run("chat", PROMPTS[0], "--run", files / command, "--device", "cpu").output
    columns = ["answer", "proxy", "gold"] if command != "dpo" else ["answer", "gold"]
    header = next(line for line in output.splitlines() if "answer" in line)
    assert re.findall(r"\w+", header) == columns
    rows = {w: line for line in output.splitlines() for w in ("SFT", "RLHF") if f" {w} " in line}
    for line in rows.values():
        assert len(re.findall(r"[+-]\d+\.\d\d ", line)) == len(columns) - 1
    assert rows.keys() == {"SFT", "RLHF"}


def test_inspect_says_that_there_is_no_critic_or_no_reward_model(files: Path) -> None:
    words = ["inspect", PROMPTS[0], "--device", "cpu", "--max-response-tokens", "6", "--run"]
    output = run(*words, files / "rloo").output
    assert "no Critic here: V_t = 0" in output
    rows = [re.split("[│┃]", line)[1:-1] for line in output.splitlines() if line.startswith("│")]
    assert 1 < len(rows) <= 6
    numbers = [[float(cell) for cell in row[2:]] for row in rows]
    for t, (_, _, _, reward, value, target, advantage) in enumerate(numbers):
        assert value == 0.0 and target == reward
        assert advantage == pytest.approx(sum(row[3] for row in numbers[t:]), abs=0.01)
    refused([*words, str(files / "dpo")], "is of DPO, which has no Reward model to look at")


def test_a_run_that_trained_no_actor_or_is_not_finished_is_refused(
    files: Path, tmp_path: Path
) -> None:
    (tmp_path / "half").mkdir()
    config = (files / "rloo/config.json").read_text()
    (tmp_path / "half/config.json").write_text(config)
    look = ["chat", PROMPTS[0], "--run", str(tmp_path / "half")]
    refused(look, "is not finished; go on with: minirlhf rloo --resume")
    (tmp_path / "half/config.json").write_text(config.replace('"rloo"', '"sft"'))
    refused(look, "is not the folder of a run of ppo, reinforce, rloo, grpo, dpo or demo")
    refused(["chat", PROMPTS[0], "--run", str(files)], "is not the folder of a run of ppo")
