"""The token table: every number is the rollout's, and text from data stays text."""

from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from tiny_models import EOS, TOKENIZER, four_roles, four_trainer

from minirlhf import Rollout
from minirlhf.widgets import token_figure
from minirlhf.widgets.picture import number


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    trainer = four_trainer(four_roles(), max_response_tokens=20, kl_coef=0.3)
    return next(iter(trainer)).rollout


@pytest.fixture(scope="module")
def row(rollout) -> int:
    return int(rollout.lengths.argmax())


def written(picture) -> list[str]:
    return [text.get_text() for text in picture.axes[0].texts]


def test_shows_every_number_of_the_response(rollout, row):
    texts = written(token_figure(rollout, row, TOKENIZER))
    length = int(rollout.lengths[row])
    assert length > 12  # so that the table goes on below
    for name in "old_log_probs ref_log_probs kl rewards old_values td_target advantages".split():
        for value in getattr(rollout, name)[row, :length].tolist():
            assert number(value) in texts, name
    assert texts.count(number(0.0)) <= length * 7


def test_the_truth_has_a_row_of_its_own(rollout, row):
    truth = rollout.old_values + 0.123
    plain = token_figure(rollout, row, TOKENIZER)
    picture = token_figure(rollout, row, TOKENIZER, truth=truth)
    assert len(written(picture)) - len(written(plain)) >= int(rollout.lengths[row]) + 1
    for value in truth[row, : int(rollout.lengths[row])].tolist():
        assert number(value) in written(picture)
    assert "god’s-eye value" in picture.alt and "god’s-eye" not in plain.alt


def test_shows_each_word_once_and_nothing_of_the_padding(rollout):
    row = int(rollout.lengths.argmin())
    texts = written(token_figure(rollout, row, TOKENIZER))
    words = TOKENIZER.convert_ids_to_tokens(rollout.response_ids[row, : rollout.lengths[row]])
    assert all(word in texts for word in words)
    assert "<pad>" not in texts


def test_shows_the_end_of_a_response_that_ended(rollout):
    ids = rollout.response_ids.clone()
    ids[0, rollout.lengths[0] - 1] = EOS
    assert "<eos>" in written(token_figure(replace(rollout, response_ids=ids), 0, TOKENIZER))


def test_words_stay_apart(rollout, row):
    picture = token_figure(rollout, row, TOKENIZER)
    renderer = FigureCanvasAgg(picture).get_renderer()
    boxes = [text.get_window_extent(renderer) for text in picture.axes[0].texts]
    for i, box in enumerate(boxes):
        assert picture.bbox.x0 <= box.x0 and box.x1 <= picture.bbox.x1
        assert sum(box.overlaps(other) for other in boxes[i + 1 :]) == 0


def test_a_row_whose_numbers_are_all_shown_as_0_has_no_shade(rollout, row):
    def strongest(advantages):
        drawn = token_figure(replace(rollout, advantages=advantages), row, TOKENIZER)
        shades = [p for p in drawn.axes[0].patches if p.get_alpha() is not None]
        return max(p.get_alpha() for p in shades[6::7])  # the last of seven rows

    assert strongest(rollout.advantages) == pytest.approx(0.4)
    assert strongest(1e-9 * rollout.advantages) == 0.0


def test_marks_one_token(rollout, row):
    def frames(picture) -> list[Rectangle]:
        return [p for p in picture.axes[0].patches if not p.get_fill()]

    assert not frames(token_figure(rollout, row, TOKENIZER))
    (third,) = frames(token_figure(rollout, row, TOKENIZER, mark=3))
    (last,) = frames(token_figure(rollout, row, TOKENIZER, mark=-1))
    assert last.get_y() > third.get_y()


def test_a_dollar_sign_is_not_a_formula(rollout, row):
    class Dollars:
        def decode(self, ids: list[int]) -> str:
            return "$x_1$ & <b>"

    picture = token_figure(rollout, row, Dollars())  # type: ignore[arg-type]
    words = [text for text in picture.axes[0].texts if text.get_text() == "$x_1$ & <b>"]
    assert len(words) == int(rollout.lengths[row])
    assert not any(text.get_parse_math() for text in words)


def test_says_in_words_what_it_shows(rollout, row):
    alt = token_figure(rollout, row, TOKENIZER).alt
    assert f"{int(rollout.lengths[row])} tokens" in alt
    assert f"Score {number(float(rollout.scores[row]))}" in alt
    ended = "ended by itself" if rollout.ended[row] else "was cut"
    assert ended in alt


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 99}, "row 99 of a rollout that has 4 responses"),
        ({"mark": 99}, "token 99 of a response"),
        ({"gamma": 0.5}, "not collected with gamma=0.5"),
    ],
)
def test_refuses_what_is_not_there(rollout, row, options, message):
    with pytest.raises(ValueError, match=message):
        token_figure(rollout, tokenizer=TOKENIZER, **{"row": row, **options})
