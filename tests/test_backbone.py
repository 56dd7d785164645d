"""What all roles share: positions, devices, folders, vocabularies; and what they refuse."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import TOKENIZER, four_roles, ragged, shaped_actor
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
)  # fmt: skip

from minirlhf import Actor, Critic, RewardModel
from minirlhf.backbone import (
    attention_inputs,
    check_same_vocabulary,
    pick_device,
)  # fmt: skip
from minirlhf.special_tokens import check_tokenizer


def test_positions_begin_at_the_first_real_token_and_go_on_into_the_response() -> None:
    x = ragged()[0]
    inputs = attention_inputs(x.prompt_mask, 9)
    assert inputs["position_ids"].tolist() == [
        [0, 0, 0, 0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0, 0, 1, 2],
        [0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0, 0, 0, 0, 1, 2, 3],
    ]  # fmt: skip
    assert inputs["attention_mask"].tolist()[1] == [0, 0, 0, 0, 0, 0, 1, 1, 1]
    clamped = attention_inputs(x.prompt_mask, 9, context=7)["position_ids"].tolist()
    assert clamped[2] == [0, 1, 2, 3, 4, 5, 6, 6, 6]  # no model has a place beyond its last
    assert clamped[:2] + clamped[3:] == [inputs["position_ids"].tolist()[i] for i in (0, 1, 3)]


def test_a_summary_says_how_large_and_trained_or_frozen() -> None:
    four = four_roles()
    parameters = sum(p.numel() for p in four.actor.parameters())
    lines = [role.summary() for role in four]
    assert [line.split()[0] for line in lines] == ["Actor", "Reference", "Critic", "RewardModel"]
    assert [word for line in lines for word in ("trained", "frozen") if word in line] == [
        "trained", "frozen", "trained", "trained",
    ]  # fmt: skip
    assert "frozen" in four.reward_model.freeze().summary()
    assert f"{parameters / 1e6:.3f} M parameters" in lines[0] and " cpu " in lines[0]
    assert f"{4 * parameters / 2**20:.1f} MiB" in lines[0] and "\n" not in lines[0]
    double = four.actor.double().summary()
    assert f"{8 * parameters / 2**20:.1f} MiB" in double


def test_roles_that_read_ids_differently_are_refused() -> None:
    four, stranger = four_roles(), shaped_actor()
    check_same_vocabulary(*four)
    other = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<eos>": 1, "<pad>": 0})), eos_token="<eos>",
        pad_token="<pad>",
    )  # fmt: skip
    with pytest.raises(ValueError, match="Actor and Critic have different vocabularies"):
        check_same_vocabulary(stranger, four.actor, Critic(four.critic.model, other))


def test_a_head_that_is_no_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="GPT2LMHeadModel has no linear `score` head"):
        RewardModel(shaped_actor().model, TOKENIZER)
    bert = BertConfig(vocab_size=90, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                      intermediate_size=8, num_labels=1)  # fmt: skip
    with pytest.raises(ValueError, match="has no linear `score` head on a causal trunk"):
        Critic(BertForSequenceClassification(bert), TOKENIZER)
    two = GPT2Config(vocab_size=90, n_embd=8, n_layer=1, n_head=1, num_labels=2)
    with pytest.raises(ValueError, match="the score head gives 2 numbers, wanted 1"):
        RewardModel(GPT2ForSequenceClassification(two), TOKENIZER)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device() == torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ValueError, match="device 'abacus' cannot be used"):
        pick_device("abacus")
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used"):
        pick_device("cuda:99")


@pytest.mark.parametrize("role", [Actor, RewardModel])
def test_a_broken_folder_is_refused_by_name(role: type[Actor], tmp_path: Path) -> None:
    good = tmp_path / "good"
    (shaped_actor() if role is Actor else four_roles().reward_model).save(good)
    role.from_pretrained(good, device="cpu")
    with pytest.raises(ValueError, match="nowhere does not exist"):
        role.from_pretrained(tmp_path / "nowhere")
    for name, change in {"no-eos": "eos_token", "no-model": "config.json"}.items():
        shutil.copytree(good, tmp_path / name)
        if change == "config.json":
            (tmp_path / name / change).unlink()
        else:
            file = tmp_path / name / "tokenizer_config.json"
            settings = json.loads(file.read_text())
            del settings[change]
            file.write_text(json.dumps(settings))
    with pytest.raises(ValueError, match="no EOS token"):
        role.from_pretrained(tmp_path / "no-eos")
    with pytest.raises(ValueError, match=r"has no config\.json"):
        role.from_pretrained(tmp_path / "no-model")
    check_tokenizer(TOKENIZER, good)
