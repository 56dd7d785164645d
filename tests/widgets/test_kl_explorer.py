"""The KL explorer without a browser: which gradient is which, the picture, and refusals."""

import pytest
import torch
from traitlets import TraitError

from minirlhf.widgets.kl_explorer import ROWS, KLExplorer
from minirlhf.widgets.kl_numbers import kl_numbers


def test_one_decision_as_the_course_states_it():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        actor, reference = torch.randn(2, 5, generator=generator).tolist()
        found = kl_numbers(actor, reference)
        near = pytest.approx
        assert found["loss_k1"] == near([0.0] * 5, abs=1e-12)
        assert found["loss_k2"] == near(found["kl"], abs=1e-12)
        assert found["loss_k3"] == near(found["reverse_kl"], abs=1e-12)
        assert found["reward_k1"] == near(found["kl"], abs=1e-12)
        k1, k2, k3, kl, _ = found["expected"]
        assert k1 == near(kl, abs=1e-12) and k3 == near(kl, abs=1e-12) and abs(k2 - kl) > 1e-6
        assert abs(sum(found["reward_k2"])) < 1e-12


def test_works_where_gradients_are_switched_off():
    with torch.no_grad():
        assert kl_numbers([0.0, 1.0], [0.5, 0.0])["kl"][0] != 0


def test_says_which_gradient_it_is():
    widget = KLExplorer()
    found = widget.numbers()
    said = {name: widget.equal_to(name, found) for name in ROWS}
    assert said["loss_k1"].startswith("= 0") and said["loss_k3"] == "= ∇KL(ref‖π)"
    assert said["loss_k2"] == said["reward_k1"] == "= ∇KL(π‖ref)"
    assert said["reward_k2"] == "neither"


def test_the_picture_describes_itself():
    widget = KLExplorer(tokens=["$x", "warm", "rude", "."])
    assert "KL(π‖ref) 0.43" in repr(widget) and widget.picture().png().startswith(b"\x89PNG")
    widget.actor = list(widget.reference)
    assert "KL(π‖ref) 0.00" in repr(widget)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"actor": (1.0,), "reference": (1.0,)}, "2 to 6 tokens"),
        ({"actor": (0.5, 0.5)}, "2 probabilities of the actor, 4 of the reference"),
        ({"tokens": ["a"]}, "1 names"),
        ({"actor": (0.5, 0.2, 0.2, 0.2)}, "add up to 1"),
        ({"reference": (1.0, 0.0, 0.0, 0.0)}, "at least 0.0001"),
    ],
)
def test_refuses_what_is_no_policy(arguments, message):
    with pytest.raises(ValueError, match=message):
        KLExplorer(**arguments)
    with pytest.raises(ValueError, match="got 2 and 3 logits"):
        kl_numbers([0.0, 0.0], [0.0, 0.0, 0.0])


def test_refuses_logits_that_do_not_fit():
    widget = KLExplorer()
    for wrong in ([0.0], [float("nan")] * 4):
        with pytest.raises((ValueError, TraitError), match="4 finite logits"):
            widget.actor = wrong
