"""Every setting has a line, every line is an option that exists there, and the models load.

The options are facts read from the packages themselves, one file each: OpenRLHF's from its
`add_argument` calls, verl's from its generated table of all keys (without profilers and Megatron).
"""

import argparse
import dataclasses
import json
import shlex
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import shaped_actor
from transformers import AutoConfig, AutoModel
from typer.testing import CliRunner

from minirlhf import PPOConfig, Prompts, RewardModel
from minirlhf.cli import app
from minirlhf.handover import NO_LIMIT, PROGRAMS, Job, command, remarks
from minirlhf.handover_openrlhf import openrlhf
from minirlhf.handover_verl import verl

HERE = Path(__file__).parent
JOB = Job("runs/sft actor", "reward_model", "prompts.jsonl", "trained", gpus=4, prompt_tokens=9)
TARGETS = {"openrlhf": openrlhf, "verl": verl}


def options(file: str) -> dict[str, str]:
    rows = (HERE / file).read_text(encoding="utf-8").splitlines()
    return dict(row.split("\t") for row in rows)


def openrlhf_parser() -> argparse.ArgumentParser:
    """Their parser, as far as names, types, choices and numbers of words go."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, kind in options("openrlhf-0.11.2.tsv").items():
        words = kind.split()
        if kind == "flag":
            parser.add_argument(name, action="store_true")
        elif kind.startswith("one of"):
            parser.add_argument(name, choices=words[2:])
        else:
            count = words[1].removeprefix("nargs=") if len(words) > 1 else None
            nargs = int(count) if count and count.isdecimal() else count
            parser.add_argument(
                name, type={"int": int, "float": float, "str": str}[words[0]], nargs=nargs
            )
    return parser


def words(to: str, config: PPOConfig) -> list[str]:
    text = command(to, TARGETS[to](config, JOB))
    program = shlex.split(PROGRAMS[to][0])
    found = shlex.split(text.replace("\\\n", " "))
    assert found[: len(program)] == program
    return found[len(program) :]


configs = st.builds(
    PPOConfig,
    kl_coef=st.floats(0, 2),
    actor_lr=st.floats(1e-8, 1),
    batch_size=st.just(64),
    minibatch_size=st.integers(1, 64),
    microbatch_size=st.none() | st.integers(1, 8),
    score_clip=st.none() | st.floats(1e-6, 50),
    value_clip_range=st.none() | st.floats(0.01, 5),
    clip_range=st.floats(0.01, 0.9),
    kl_estimator=st.sampled_from(["k1", "k2", "k3"]),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
    critic_target=st.sampled_from(["td", "gae"]),
    whiten_advantages=st.booleans(),
    gradient_checkpointing=st.booleans(),
    offload=st.booleans(),
    lora_rank=st.integers(0, 64),
)


@pytest.mark.parametrize("to", TARGETS)
def test_every_setting_is_mapped_or_said_to_be_missing(to):
    lines = TARGETS[to](PPOConfig(), JOB)
    assert {field.name for field in dataclasses.fields(PPOConfig)} <= {
        line.setting for line in lines
    }


@given(configs)
def test_openrlhf_would_read_every_option(config):
    found = vars(openrlhf_parser().parse_args(words("openrlhf", config)))
    assert found["actor.model_name_or_path"] == "runs/sft actor"
    assert found["algo.kl.init_coef"] == pytest.approx(config.kl_coef, rel=1e-5)
    assert found["actor.eps_clip"] == pytest.approx(config.clip_range, rel=1e-5)
    clip = NO_LIMIT if config.score_clip is None else config.score_clip
    assert found["reward.clip_range"] == pytest.approx([-clip, clip], rel=1e-5)
    assert found["train.batch_size"] == config.minibatch_size
    assert found["ds.lora.rank"] == config.lora_rank
    assert found["ref.offload"] == config.offload


@given(configs)
def test_verl_has_every_key_once(config):
    known = options("verl-0.9.1.tsv")
    found = dict(word.split("=", 1) for word in words("verl", config))
    assert len(found) == len(words("verl", config))
    assert set(found) <= set(known), set(found) - set(known)
    assert float(found["algorithm.lam"]) == pytest.approx(config.lam, rel=1e-5)
    assert found["algorithm.use_kl_in_reward"] == "True"
    for key, value in found.items():
        kind = known[key]
        if kind == "bool":
            assert value in ("True", "False"), key
        elif kind == "int":
            assert int(value) >= 0, key
        elif kind == "float":
            float(value)


@pytest.mark.parametrize("to", TARGETS)
def test_what_differs_is_said_only_where_it_matters(to):
    plain = "\n".join(remarks(TARGETS[to](PPOConfig(critic_target="gae"), JOB)))
    special = PPOConfig(critic_target="td", kl_target=3.0, whiten_advantages=False, target_kl=0.1)
    said = "\n".join(remarks(TARGETS[to](special, JOB)))
    for setting in ("critic_target", "kl_target", "whiten_advantages", "target_kl"):
        assert f"{setting}:" not in plain and f"{setting}:" in said


def their_reward(folder: Path, input_ids: torch.Tensor) -> torch.Tensor:
    """As OpenRLHF reads a reward model: bare trunk, `score`, last token, (r − mean) / std."""
    config = AutoConfig.from_pretrained(folder)
    trunk_class = AutoModel._model_mapping[type(config)]

    class Theirs(trunk_class.__base__):
        def __init__(self, config):
            super().__init__(config)
            setattr(self, self.base_model_prefix, trunk_class(config))
            self.score = torch.nn.Linear(config.hidden_size, 1, bias=False)
            self.post_init()

    model, report = Theirs.from_pretrained(folder, config=config, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    hidden = getattr(model, model.base_model_prefix)(input_ids).last_hidden_state
    return (model.score(hidden)[:, -1, 0] - config.mean) / config.std


@pytest.fixture
def run(tmp_path):
    """A finished run of PPO on tiny models."""
    actor = shaped_actor("llama")
    reward_model = RewardModel.from_actor(actor)
    reward_model.standardise(torch.tensor([1.0, 2.0, 4.0]))
    actor.save(tmp_path / "sft")
    reward_model.save(tmp_path / "reward")
    data = tmp_path / "prompts.jsonl"
    vocabulary = [t for t in actor.tokenizer.get_vocab() if t.isalpha()][:3]
    data.write_text("".join(json.dumps({"prompt": word}) + "\n" for word in vocabulary))
    arguments = ["ppo", "--model", tmp_path / "sft", "--reward", tmp_path / "reward"]
    arguments += ["--data", data, "--out", tmp_path / "run", "--iterations", "2"]
    arguments += ["--batch-size", "4", "--max-response-tokens", "3", "--device", "cpu"]
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return tmp_path / "run"


@pytest.mark.parametrize("to", TARGETS)
def test_the_folder_has_all_that_the_job_needs(run, tmp_path, to):
    out = tmp_path / "handed"
    arguments = ["handover", "--run", str(run), "--to", to, "--out", str(out), "--gpus", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert PROGRAMS[to][0] in (out / "run.sh").read_text()
    assert "missing_eos_penalty" in (out / "NOTES.md").read_text()
    rows = [json.loads(line) for line in (out / "prompts.jsonl").read_text().splitlines()]
    assert len(rows) == 2 * 4
    assert isinstance(rows[0]["prompt"], str if to == "openrlhf" else list)
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2


def test_openrlhf_gives_the_scores_that_we_give(run, tmp_path):
    out = tmp_path / "handed"
    CliRunner().invoke(app, ["handover", "--run", str(run), "--to", "openrlhf", "--out", str(out)])
    ours = RewardModel.from_pretrained(tmp_path / "reward", device="cpu")
    ids = torch.tensor([[3, 4, 5, 6]])
    prompts = Prompts(ids[:, :2], torch.ones(1, 2, dtype=torch.bool))
    with torch.no_grad():
        expected = ours.scores(prompts, ids[:, 2:], torch.ones(1, 2, dtype=torch.bool))
        theirs = their_reward(out / "reward_model", ids)
    assert ours.score_shift != 0
    torch.testing.assert_close(theirs, expected, rtol=1e-5, atol=1e-5)
