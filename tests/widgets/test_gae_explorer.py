"""The GAE explorer from Python."""

import pytest
import traitlets
from tiny_models import TOKENIZER, four_roles, four_trainer

from minirlhf import PPOConfig, gae
from minirlhf.config import ReinforceConfig
from minirlhf.widgets.gae_explorer import GAEExplorer
from minirlhf.widgets.picture import number

CONFIG = PPOConfig(gamma=0.9, lam=0.8)


@pytest.fixture(scope="module")
def rollout():
    trainer = four_trainer(four_roles(), max_response_tokens=12, gamma=0.9, lam=0.8)
    return next(iter(trainer)).rollout


def test_starts_at_the_settings_of_the_run(rollout):
    widget = GAEExplorer(rollout, TOKENIZER, config=CONFIG)
    assert (widget.gamma, widget.lam, widget.token) == (0.9, 0.8, 0)
    assert GAEExplorer(rollout, TOKENIZER, config=ReinforceConfig()).lam == 1.0
    length = int(rollout.lengths[0])
    assert widget._response["reward"] == rollout.rewards[0, :length].double().tolist()


def test_tells_the_advantage_with_the_settings_of_now(rollout):
    row = int(rollout.lengths.argmax())
    widget = GAEExplorer(rollout, TOKENIZER, config=CONFIG, row=row, token=-1)
    assert widget.token == int(rollout.lengths[row]) - 1
    widget.token, widget.lam = 1, 0.25
    mask = rollout.response_mask
    advantages, _ = gae(rollout.rewards, rollout.old_values, mask, gamma=0.9, lam=0.25)
    wanted = number(float(advantages[row, 1]))
    assert f"the advantage of token 1 is {wanted}" in repr(widget)
    assert widget.picture()._repr_png_()[0].startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [{"token": 99}, {"gamma": 1.1}, {"lam": -0.1}])
def test_refuses_a_trait_that_cannot_be(rollout, options):
    with pytest.raises(traitlets.TraitError):
        GAEExplorer(rollout, TOKENIZER, config=CONFIG, **options)


def test_refuses_a_row_that_is_not_there(rollout):
    with pytest.raises(ValueError, match="row 9 of a rollout"):
        GAEExplorer(rollout, TOKENIZER, row=9)
