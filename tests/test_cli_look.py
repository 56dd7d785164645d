"""`inspect` and `chat`: the numbers they show are those of the models, and text is only text."""

import json
import re
from pathlib import Path

import pytest
import torch
from click.testing import Result
from tiny_models import TOKENIZER, four_roles, same_bits, weights
from tiny_trainers import tiny_actor
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from minirlhf import Actor, PPOConfig, RewardModel, collect_rollout
from minirlhf.cli import app, chat, inspect, show
from minirlhf.cli.four_models import FourModels, load_four_models
from minirlhf.data import encode_prompts, pad_prompts
from minirlhf.evaluation import Evaluation
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe

PROMPT = "review the soup and the waiter :"
CPU = torch.device("cpu")
SIGNS = ["[bold]", "[/red]", "[link=x]", ":smile:", "\x1b[2J", "a\nb", "[/]"]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show.console, "_width", 200)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PPO run of one iteration whose models have moved a little."""
    folder = tmp_path_factory.mktemp("files")
    tiny_actor().save(folder / "sft_actor")
    RewardModel.from_actor(tiny_actor(), seed=1).save(folder / "reward_model")
    prompts = folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": PROMPT}) + "\n")
    run("ppo", "--model", folder / "sft_actor", "--reward", folder / "reward_model", "--data",
        prompts, "--out", folder / "run", "--iterations", 1, "--batch-size", 4, "--device", "cpu",
        "--actor-lr", 0.01, "--max-response-tokens", 8)  # fmt: skip
    return folder / "run"


def run(*arguments: object, text: str | None = None) -> Result:
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=text)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def cells(output: str, first: str) -> list[list[str]]:
    """The cells of the table's lines whose first cell matches."""
    rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in output.splitlines()]
    return [row for row in rows if row and re.fullmatch(first, row[0])]


def test_the_four_models_of_a_run_come_each_from_its_own_folder(finished: Path) -> None:
    """And the two that are not trained stay so."""
    four = load_four_models(finished, CPU)
    folders = {
        "actor": finished / "actor", "reference": finished.parent / "sft_actor",
        "critic": finished / "critic", "reward_model": finished.parent / "reward_model",
    }  # fmt: skip
    for name, folder in folders.items():
        role = getattr(four, name)
        again = type(role).from_pretrained(folder, device="cpu")
        assert same_bits(weights(role), weights(again)), name
        assert role.trainable == (name in ("actor", "critic"))
    assert not same_bits(weights(four.actor), weights(four.reference))
    assert not same_bits(weights(four.critic), weights(four.reward_model))


# ------------------------------------------------------------------------------ inspect


def test_inspect_shows_the_numbers_of_the_rollout(finished: Path) -> None:
    options = {"kl_coef": 0.3, "gamma": 0.9, "lam": 0.5, "max_response_tokens": 9, "seed": 8}
    words = [word for k, v in options.items() for word in (f"--{k.replace('_', '-')}", v)]
    output = run("inspect", PROMPT, "--run", finished, "--device", "cpu", *words).output
    four = load_four_models(finished, CPU)
    prompts = pad_prompts(encode_prompts(TOKENIZER, [PROMPT]), 0)
    r = collect_rollout(
        four.actor, four.reference, four.critic, four.reward_model, prompts, PPOConfig(**options)
    )
    columns = {
        "log π": r.old_log_probs, "log π_ref": r.ref_log_probs, "kl_t": r.kl, "R_t": r.rewards,
        "V_t": r.old_values, "R_t + γV_{t+1}": r.td_target, "Â_t": r.advantages,
    }  # fmt: skip
    (header,) = cells(output, "t")
    assert header == ["t", "token", *columns]
    table = cells(output, r"\d+")
    assert len(table) == int(r.lengths[0]) == 9
    for t, (number, token, *numbers) in enumerate(table):
        assert number == str(t) and token == TOKENIZER.decode([int(r.response_ids[0, t])])
        assert numbers == [f"{float(column[0, t]):+z.3f}" for column in columns.values()]
    total, score, kl = float(r.rewards.sum()), float(r.scores[0]), float(r.kl.sum())
    assert f"score {score:+.3f} (cut off: 1 less), KL {kl:+.3f} nats" in output
    assert f"= {score:+.3f} − 0.3 × {kl:+.3f} = {total:+.3f}" in output
    assert abs(kl) > 0.01 and output.splitlines()[0] == PROMPT
    show.console.width = 80  # a usual terminal cuts nothing off
    narrow = run("inspect", PROMPT, "--run", finished, "--device", "cpu", *words).output
    assert cells(narrow, r"\d+") == table and max(map(len, narrow.splitlines())) <= 80


def test_inspect_of_the_cafe_is_before_any_ppo(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe, "shipped_folder", lambda: finished.parent)
    output = run("inspect", "--device", "cpu").output
    assert output.splitlines()[0] == PROMPT
    table = cells(output, r"\d+")
    assert table and all(row[2] == row[3] and row[4] == "+0.000" for row in table)


def test_inspect_explains_a_score_that_was_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "load_four_models", lambda *_: FourModels(*four_roles(spread=60)))
    outputs = [run("inspect", "--seed", s, "--device", "cpu").output for s in range(4)]
    found = [
        re.search(r"score ([+-]\S+?)[ ,].*clip\(score, ±5\) .* = ([+-]\S+) −", o) for o in outputs
    ]
    pairs = [(float(m[1]), float(m[2])) for m in found if m]
    assert len(pairs) == 4 and any(abs(score) > 5 for score, _ in pairs)
    assert all(clipped == max(-5.0, min(5.0, score)) for score, clipped in pairs)


# --------------------------------------------------------------------------------- chat


def test_chat_shows_both_answers_to_the_same_noise(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gold, asked = recipe.judge, []
    monkeypatch.setattr(recipe, "judge", lambda *of: asked.append(of) or gold(*of))
    settings = ["--temperature", 0.8, "--seed", 5, "--max-response-tokens", 7, "--device", "cpu"]
    output = run("chat", PROMPT, "--run", finished, *settings).output
    four = load_four_models(finished, CPU)
    x = pad_prompts(encode_prompts(TOKENIZER, [PROMPT]), 0)
    answers = []
    for name, actor in (("SFT", Actor(four.reference.model, TOKENIZER)), ("RLHF", four.actor)):
        y = actor.generate(x, max_response_tokens=7, temperature=0.8, seed=5)
        text = TOKENIZER.decode(y.response_ids[0][y.response_mask[0]], skip_special_tokens=True)
        score = float(four.reward_model.scores(x, y.response_ids, y.response_mask))
        assert asked[len(answers)] == (PROMPT, text, False) and not y.ended[0]
        value = cafe.gold_reward(PROMPT, text, ended=False)
        answers.append([name, text, f"{score:+.2f}", f"{value:+.2f}"])
    assert answers[0][1] != answers[1][1]
    assert cells(output, "SFT|RLHF") == answers
    assert cells(output, "") == [["", "answer", "proxy", "gold"]]


def test_chat_goes_on_until_an_empty_line(finished: Path) -> None:
    long = "the " * 60
    output = run(
        "chat",
        "--run",
        finished,
        "--device",
        "cpu",
        text=f"{PROMPT}\n{long}\n{PROMPT}\n\n{PROMPT}\n",
    ).output
    answers = cells(output, "SFT|RLHF")
    assert len(answers) == 4 and answers[0][1] != answers[2][1]  # other noise each time
    assert "Error: prompt 1 has 60 tokens" in output and "an empty line ends" in output
    assert (
        len(cells(run("chat", "--run", finished, text=PROMPT).output, "SFT")) == 1
    )  # end of input


@pytest.mark.parametrize("bad", [["--temperature", "0"], ["--max-response-tokens", "0"]])
def test_chat_refuses_what_cannot_be(finished: Path, bad: list[str]) -> None:
    result = CliRunner().invoke(app, ["chat", PROMPT, "--run", str(finished), *bad])
    assert result.exit_code == 2 and bad[0] in result.stderr


def test_a_prompt_that_is_no_review_is_answered_or_refused_in_one_line(finished: Path) -> None:
    """Gold is defined for the café's prompts; people type other things."""
    result = CliRunner().invoke(app, ["chat", "hello you", "--run", str(finished)])
    assert result.exit_code in (0, 2) and "Traceback" not in result.output
    if result.exit_code == 2:
        assert len(result.stderr.splitlines()) == 1


# ------------------------------------------------------------------------ text, no markup


def four_of_markup() -> FourModels:
    """Models whose every word looks like rich's markup, or moves the cursor."""
    words = [f"{SIGNS[i % len(SIGNS)]}{i}" for i in range(2, 82)]
    ids = {word: i for i, word in enumerate(["<pad>", "<eos>", *words])}
    tokenizer = Tokenizer(WordLevel(ids, unk_token=words[0]))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")
    four = four_roles()
    for role in four:
        role.tokenizer = fast
    four.reward_model.freeze()
    return FourModels(*four)


def test_markup_in_tokens_and_prompts_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, "load_four_models", lambda *_: four_of_markup())
    monkeypatch.setattr(chat, "load_four_models", lambda *_: four_of_markup())
    shown, answers = set(), ""
    for seed in range(8):
        output = run("inspect", "[bold] [/red]", "--seed", seed, "--device", "cpu").output
        assert output.splitlines()[0] == "[bold] [/red]" and "\x1b" not in output
        shown |= {row[1] for row in cells(output, r"\d+")}
        answers += run("chat", "[bold] [/red]", "--run", "x", "--seed", seed).output
    for sign in SIGNS:
        wanted = sign if sign.isprintable() else repr(sign)[:-1]
        assert any(token.startswith(wanted) for token in shown), (sign, shown)
        if sign.isprintable():
            assert re.search(re.escape(sign) + r"\d", answers), sign
    assert "\x1b" not in answers


def test_samples_side_by_side_are_text_too() -> None:
    wild = "[bold]\x1b[2J\x9b\r:smile: é\u200d\n"
    assert show.as_text(wild).plain == "[bold]\\x1b[2J\\x9b\\r:smile: é\u200d\n"
    look = Evaluation(0.0, 0.0, 0.0, 1.0, None, [wild], [])
    with show.console.capture() as captured:
        show.console.print(show.side_by_side(["[/red]\x1b"], look, look))
    output = captured.get()
    assert "\x1b" not in output and "[/red]\\x1b" in output
    assert output.count("[bold]\\x1b[2J\\x9b\\r:smile:") == 2
