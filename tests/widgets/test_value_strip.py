"""ValueStrip from a run in the exact world: what it shows is what the run has seen."""

from functools import cache

import pytest
import torch

from minirlhf import PPOTrainer, StepRecord
from minirlhf.batch import Prompts
from minirlhf.monte_carlo import MonteCarloValues
from minirlhf.widgets.value_records import read_values, values_of_record
from minirlhf.widgets.value_strip import ValueStrip
from minirlhf.worlds import exact
from minirlhf.worlds.exact.frontier import make_trainer

TOKENS = ["soup", "was", "<b>&$x$", "\u202e\x00"]


def numbers(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))


def strip(**more: object) -> ValueStrip:
    tables = [numbers(i) for i in range(3)]
    return ValueStrip(TOKENS, [0, 5, 20], *tables, numbers(3).abs(), **more)


sft_actor = cache(exact.sft_actor)  # a trainer copies it


def run(steps: int = 2) -> PPOTrainer:
    trainer = make_trainer(
        "ppo", exact.sft_actor(), 0.1, steps=steps, batch_size=8, minibatch_size=8
    )
    assert isinstance(trainer, PPOTrainer)
    return trainer


def truth_now(trainer: PPOTrainer) -> exact.Truth:
    return exact.truth_of(trainer.actor, trainer.reference, exact.gold_table(), trainer.config)


def test_the_mean_squares_are_those_of_the_step_shown() -> None:
    widget = strip(step=5)
    missed = ((numbers(0) - numbers(2)) ** 2).mean(dim=1)
    assert widget.squared_errors()["values"] == pytest.approx(float(missed[1]))
    widget.step = 20
    assert widget.squared_errors()["values"] == pytest.approx(float(missed[2]))


def test_the_picture_says_in_words_what_is_to_be_seen() -> None:
    widget = strip()
    assert "training step 0" in repr(widget) and "critic's V" in repr(widget)
    named = strip(step_name="rollouts seen")
    assert "rollouts seen 0" in repr(named) and "training" not in repr(named)
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"] == repr(widget) and len(data["image/png"]) > 5000


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="must be \\(steps, tokens\\) = \\(3, 4\\)"):
        ValueStrip(TOKENS, [0, 5, 20], numbers(0), numbers(1), numbers(2)[:2])
    with pytest.raises(ValueError, match="rise"):
        ValueStrip(TOKENS, [0, 5, 5], numbers(0), numbers(1), numbers(2))
    with pytest.raises(ValueError, match="0 steps"):
        ValueStrip(TOKENS, [], numbers(0)[:0], numbers(1)[:0], numbers(2)[:0])
    with pytest.raises(ValueError, match="one of 0, 5, 20"):
        strip(step=7)
    with pytest.raises(ValueError, match="no records"):
        ValueStrip.from_records(TOKENS, [])


def test_reading_a_response_gives_the_numbers_of_its_own_rollout() -> None:
    """Before the first update the models are those that made the rollout of step 1."""
    trainer = run()
    truth = truth_now(trainer)
    record = next(iter(run()))
    rollout = record.rollout
    assert rollout is not None
    prompts = Prompts(rollout.prompt_ids, rollout.prompt_mask)
    for row in range(3):
        of_step = values_of_record(record, truth, row)
        read = read_values(
            trainer, prompts, rollout.response_ids, rollout.response_mask, truth, row
        )
        length = int(rollout.lengths[row])
        assert of_step.step == read.step == 0 and len(read.values) == length
        torch.testing.assert_close(read.targets, rollout.td_target[row, :length].double())
        torch.testing.assert_close(read.values, of_step.values)
        torch.testing.assert_close(read.targets, of_step.targets)
        states = exact.WORLD.states_of(rollout.response_ids, rollout.response_mask)[row, :length]
        assert torch.equal(read.truth, truth.values[states]) and not read.errors.any()


def test_monte_carlo_truth_brings_its_error_bars() -> None:
    record = next(iter(run()))
    assert record.rollout is not None
    shape = record.rollout.response_mask.shape
    truth = MonteCarloValues(torch.full(shape, 0.5), torch.full(shape, 0.1), n=9)
    got = values_of_record(record, truth, row=1)
    assert (got.truth == 0.5).all() and torch.allclose(got.errors, torch.full_like(got.errors, 0.1))
    widget = ValueStrip.from_records([str(t) for t in range(len(got.values))], [got])
    assert "errors" in widget._numbers
    with pytest.raises(ValueError, match="truth of these"):
        values_of_record(record, MonteCarloValues(torch.zeros(1, 1), torch.zeros(1, 1), n=9))


def test_a_record_without_a_rollout_is_refused() -> None:
    with pytest.raises(ValueError, match="no rollout"):
        values_of_record(StepRecord("ppo", 1, 2), truth_now(run()))


def test_watching_does_not_change_the_run() -> None:
    watched, alone = run(), run()
    prompts = Prompts(torch.tensor([[11]]), torch.ones(1, 1, dtype=torch.bool))
    ids = torch.tensor([[0, 3, 7, 11, 11]])
    mask = torch.tensor([[True, True, True, True, False]])
    records = []
    before = torch.get_rng_state()
    for _ in watched:
        records.append(read_values(watched, prompts, ids, mask, truth_now(watched)))
    assert torch.equal(before, torch.get_rng_state())
    for _ in alone:
        pass
    for one, other in zip(watched.actor.parameters(), alone.actor.parameters(), strict=True):
        assert torch.equal(one, other)
    widget = ValueStrip.from_records(["soup", "was", "good", "<eos>"], records)
    assert widget.steps == [1, 2] and widget._numbers.keys() == {"values", "targets", "truth"}
