"""MemoryPlanner from Python: its traits are the plan's arguments, and its picture says the sum."""

import pytest
import traitlets

from minirlhf.memory import plan
from minirlhf.shapes import SHAPES, Shape
from minirlhf.widgets.memory_planner import MemoryPlanner


def test_the_plan_is_that_of_the_traits() -> None:
    planner = MemoryPlanner("GPT-2 355 M", "GPT-2 124 M", precision="mixed", rows=2)
    planner.lora_rank, planner.sharing = 8, "pairs"
    wanted = plan(
        SHAPES["GPT-2 355 M"], SHAPES["GPT-2 124 M"],
        precision="mixed", rows=2, lora_rank=8, sharing="pairs",
    )  # fmt: skip
    assert planner.plan() == wanted


def test_the_picture_says_what_it_shows_also_where_lora_is_missing() -> None:
    planner = MemoryPlanner("GPT-2 1.6 B")
    assert repr(planner).startswith("Memory of the four models in GiB: Actor ")
    assert planner.picture()._repr_png_()[0].startswith(b"\x89PNG")
    planner.sharing = "one trunk"
    assert "needs LoRA" in repr(planner) and planner.picture().png()


def test_shapes_of_your_own_come_first_and_bad_input_is_refused() -> None:
    mine = Shape(layers=2, width=128, heads=4, vocabulary=60, positions=64)
    assert MemoryPlanner(shapes={"mine": mine}).language == "mine"
    with pytest.raises(ValueError, match="no shape 'x'; there are: GPT-2"):
        MemoryPlanner("x")
    with pytest.raises(ValueError, match="no setting"):
        MemoryPlanner(colour="red")
    with pytest.raises(traitlets.TraitError):
        MemoryPlanner(precision="fp8")
