"""The picture of the four models: it says what is true of the objects, and it can be read."""

from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text
from tiny_models import four_roles, shaped_actor

from minirlhf.widgets import Picture, four_models_figure
from minirlhf.widgets.scenes import SCENES

STAGES = (None, *SCENES)


def texts(picture: Picture) -> list[Text]:
    return [text for text in picture.axes[0].texts if text.get_text()]


def written(picture: Picture) -> str:
    return "\n".join(text.get_text() for text in texts(picture))


def gradients(picture: Picture) -> int:
    arrows = [p for p in picture.axes[0].patches if isinstance(p, FancyArrowPatch)]
    return sum(arrow.get_linestyle() != "-" and arrow.get_linewidth() > 2 for arrow in arrows)


def check_readable(picture: Picture) -> None:
    """All words are inside the picture, do not touch each other, and are not tiny."""
    renderer = FigureCanvasAgg(picture).get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts(picture)]
    for words, box in boxes:
        assert picture.bbox.x0 <= box.x0 and box.x1 <= picture.bbox.x1, words
        assert picture.bbox.y0 <= box.y0 and box.y1 <= picture.bbox.y1, words
    for (words, box), (others, other) in combinations(boxes, 2):
        assert not box.overlaps(other), f"{words!r} and {others!r} overlap"
    assert min(text.get_fontsize() for text in texts(picture)) >= 8.5


@pytest.mark.parametrize("stage", STAGES)
def test_can_be_read(stage):
    check_readable(four_models_figure(stage))
    check_readable(four_models_figure(stage, four_roles()))


def test_stage_three_trains_two_and_freezes_two():
    picture = four_models_figure("ppo")
    assert written(picture).count("trained") - written(picture).count("was trained") == 2
    assert written(picture).count("frozen") == 2
    assert gradients(picture) == 2


@pytest.mark.parametrize(
    ("stage", "absent", "loss"), [("sft", 3, "sft_loss"), ("reward", 3, "pref")]
)
def test_the_first_stages_train_one_model(stage, absent, loss):
    picture = four_models_figure(stage)
    assert written(picture).count("not in this stage") == absent
    assert loss in written(picture) and gradients(picture) == 1


@pytest.mark.parametrize("stage", STAGES)
def test_marks_where_you_are_only_when_asked(stage):
    assert ("you are here" in written(four_models_figure(stage))) == (stage is not None)


def test_sizes_come_from_the_models():
    four = four_roles()
    picture = four_models_figure("ppo", four)
    for role in four:
        count = sum(p.numel() for p in role.parameters())
        assert f"{count:,} parameters" in picture.alt
        assert f"{count / 1e6:.3g} M" in written(picture)


def test_cannot_be_made_to_lie_about_who_trains():
    actor, reference, critic, reward_model = four_roles()
    reward_model.freeze()
    actor.freeze()
    reference.requires_grad_(True)
    picture = four_models_figure("ppo", (actor, reference, critic, reward_model))
    assert "Actor: frozen" in picture.alt and "Reference: trained" in picture.alt
    assert gradients(picture) == 1  # the Critic's


def test_a_model_that_takes_no_part_is_not_shown_as_if():
    picture = four_models_figure("sft", four_roles())
    assert "Critic: not in this stage" in picture.alt


def test_describes_itself_in_words():
    picture = four_models_figure()
    data, metadata = picture._repr_png_()
    assert repr(picture) == str(picture) == picture.alt == metadata["alt"]
    assert data.startswith(b"\x89PNG") and metadata["width"] == 920


def test_gives_the_same_bytes_each_time(tmp_path):
    four_models_figure().save(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes() == four_models_figure().png()


def test_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="unknown stage 'rlhf'"):
        four_models_figure("rlhf")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="two roles of the kind Actor"):
        four_models_figure("ppo", [shaped_actor(), shaped_actor()])
