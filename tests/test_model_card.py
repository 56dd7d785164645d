"""The card says what was run, and no text of the run can become Markdown."""

import yaml

from minirlhf.model_card import model_card

RUN = {
    "stage": "ppo",
    "settings": {"kl_coef": 0.05, "score_clip": None},
    "sources": {"model": "gpt2", "reward": "/srv/ada/runs/reward", "data": "a|b`c\n# no heading"},
    "rows_sha256": "ab12",
    "weights_sha256": {"actor": "cd34"},
    "environments": [{"from_step": 0, "torch": "2.13"}],
}
METRICS = {"kl": 3.14159, "seconds": 7.0}


def test_it_says_what_the_run_was():
    card = model_card("actor", RUN, METRICS)
    _, head, body = card.split("---\n", 2)
    found = yaml.safe_load(head)
    assert found["base_model"] == "gpt2" and found["pipeline_tag"] == "text-generation"
    assert "ppo" in found["tags"] and found["library_name"] == "transformers"
    assert "`kl_coef` | `0.05`" in body and "score_clip" not in body
    assert "`kl (nats per response)` | `3.142`" in body
    assert "cd34" in body and "ab12" in body and "2.13" in body


def test_nothing_in_it_differs_from_run_to_run_or_tells_of_the_computer():
    card = model_card("critic", RUN, METRICS)
    assert "seconds" not in card and "/srv/ada" not in card and "`reward`" in card
    assert card == model_card("critic", RUN, METRICS | {"seconds": 8.0})


def test_a_text_of_the_run_stays_text():
    card = model_card("actor", RUN, METRICS)
    assert "\n# no heading" not in card
    row = next(line for line in card.splitlines() if "no heading" in line)
    assert row.count("|") == 3 and row.count("`") == 4


def test_a_folder_is_no_base_model():
    local = RUN | {"sources": {"model": "./runs/sft/actor"}}
    assert "base_model" not in model_card("actor", local, {})
