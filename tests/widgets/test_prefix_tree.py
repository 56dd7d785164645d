"""PrefixTree: its truth is the library's, and what it sends is small."""

import pytest
import torch
from exact_tables import SMALL, policy_tables, random_log_pi, random_scores

from minirlhf import PPOConfig
from minirlhf.widgets.prefix_tree import PrefixTree
from minirlhf.widgets.static_page import page
from minirlhf.worlds import exact


def world(**more: object) -> PrefixTree:
    return PrefixTree(*policy_tables(), exact.gold_table(), **more)


def small(**more: object) -> PrefixTree:
    tables = random_log_pi(SMALL, 0), random_log_pi(SMALL, 1), random_scores(SMALL, 2)
    return PrefixTree(*tables, ["a", "b", "<eos>"], tree=SMALL, **more)


@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_its_truth_is_that_of_the_two_models(temperature: float) -> None:
    log_pi, ref = (x / temperature for x in policy_tables())
    config = PPOConfig()
    truth = exact.exact_truth(
        log_pi.log_softmax(1),
        ref.log_softmax(1),
        exact.gold_table(),
        kl_coef=config.kl_coef,
        missing_eos_penalty=config.missing_eos_penalty,
        score_clip=config.score_clip,
    )
    own = world(temperature=temperature).truth
    torch.testing.assert_close(own.q_values, truth.q_values, atol=1e-5, rtol=0)
    assert float(own.objective) == pytest.approx(float(truth.objective), abs=1e-6)


def test_the_whole_world_fits_into_a_page_of_two_and_a_half_megabytes() -> None:
    assert len(page(world(), title="world")) < 2_500_000


def test_few_different_scores_take_a_byte_each_and_many_take_four() -> None:
    assert len(world()._scores) == 16_105 * 12 and len(world()._levels) < 256
    many = PrefixTree(*policy_tables(), random_scores(exact.WORLD, 0))
    assert len(many._scores) == 4 * 16_105 * 12 and many._levels == []


def test_a_path_may_be_a_prefix_or_an_answer() -> None:
    widget = small(path=[0, 1])
    assert widget.state() == (0 * 2 + 1 + 0) * 2 + 1 + 1
    for answer in ([0, 1, 0], [0, 1, 2]):
        widget.path = answer
        assert widget.state() == 4  # where its last token was chosen
    for wrong in ([3], [2, 0], [0, 0, 0, 0], [-1]):
        with pytest.raises(ValueError, match="at most 3 token ids"):
            widget.path = wrong


def test_what_does_not_fit_is_refused() -> None:
    tables = random_log_pi(SMALL, 0), random_log_pi(SMALL, 1), random_scores(SMALL, 2)
    with pytest.raises(ValueError, match="wanted 3 tokens"):
        PrefixTree(*tables, ["a"], tree=SMALL)
    with pytest.raises(ValueError, match="log_pi must be"):
        PrefixTree(*tables)


def test_the_picture_says_in_words_what_is_to_be_seen() -> None:
    widget = world(path=[0, 3])
    assert "177,156 answers" in repr(widget) and "after “soup was”" in repr(widget)
    assert "Likeliest next tokens: not" in repr(widget)
    data, _ = widget._repr_mimebundle_()
    assert len(data["image/png"]) > 5000


def test_models_of_the_world_are_read_without_a_gradient() -> None:
    actor = exact.new_actor()
    widget = PrefixTree.of(actor, actor, exact.gold_table())
    assert float(widget.truth.kl) == 0.0
    assert all(p.grad is None and p.requires_grad for p in actor.parameters())
