"""Exercises of notebook 09: one assert each against the bugs of exhibits 1 to 4."""

import torch

import minirlhf
from minirlhf.exercises.exercise import exercise
from minirlhf.exercises.proof import FAILS_WITHOUT, HOLDS_WITH_THE_BUG, proves
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe  # noqa: F401  (makes `cafe.recipe` exist)


@exercise(
    notebook="09",
    title="Prove exhibit 1",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Write a function that asserts something which is true of right code and false with exhibit
        1's bug. Call what you test as `minirlhf.…`. No training run is needed: two numbers and a
        mask will do.
        """,
    hints=(
        "Which number of a padded tensor may change an average, and which must not?",
        "`minirlhf.masked_mean(x, mask)` with `x = torch.tensor([[1.0, 100.0]])` and only the "
        "first place counted: what must come out?",
    ),
    judge=proves("unmasked_mean"),
    remark="""
        One row with one masked place is enough. If you prefer not to know the right number: filling
        the masked place with something else must change nothing.
        """,
)
def proof_1() -> None:
    """True of right code, false with exhibit 1's bug."""
    x = torch.tensor([[1.0, 100.0]])
    mask = torch.tensor([[True, False]])
    assert minirlhf.masked_mean(x, mask) == 1.0


@proof_1.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    every_place_counts = torch.ones(1, 2, dtype=torch.bool)
    assert minirlhf.masked_mean(torch.tensor([[1.0, 3.0]]), every_place_counts) == 2.0


@proof_1.wrong(FAILS_WITHOUT)
def _() -> None:
    mask = torch.tensor([[True, False]])
    assert minirlhf.masked_mean(torch.tensor([[1.0, 100.0]]), mask) == 0.5


@exercise(
    notebook="09",
    title="Prove exhibit 2",
    difficulty=3,
    importance=5,
    minutes=8,
    task="""
        The same for exhibit 2. Here a model is needed, but hardly any training: one iteration on
        eight responses takes a fraction of a second.
        """,
    hints=(
        "What must be true of every ratio $\\rho_t$ before the first step was taken?",
        '`trainer = recipe.ppo_trainer(*recipe.load_shipped("cpu"), '
        "minirlhf.PPOConfig(batch_size=8, minibatch_size=8))` and `record = next(iter(trainer))` "
        "give one iteration; its metrics have `ratio_error_first`.",
    ),
    judge=proves("dropout_in_the_ratio"),
    remark="""
        The most useful single assert of any PPO code: it catches dropout, a temperature that was
        forgotten, half precision in one place only, and most mistakes of padding and position ids.
        """,
)
def proof_2() -> None:
    """True of right code, false with exhibit 2's bug."""
    actor, reward_model = cafe.recipe.load_shipped("cpu")
    config = minirlhf.PPOConfig(batch_size=8, minibatch_size=8)
    record = next(iter(cafe.recipe.ppo_trainer(actor, reward_model, config)))
    assert record.metrics["ratio_error_first"] < 1e-4  # ρ_t = 1 before any step


@proof_2.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    actor, _ = cafe.recipe.load_shipped("cpu")
    assert not actor.model.training  # true: the model is switched only while it learns


@proof_2.wrong(FAILS_WITHOUT)
def _() -> None:
    actor, _ = cafe.recipe.load_shipped("cpu")
    assert actor.model.config.resid_pdrop == 0.0  # a model may have dropout, switched off


@exercise(
    notebook="09",
    title="Prove exhibit 3",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        The same for exhibit 3. Ask for something that must happen when this model learns.
        """,
    hints=(
        "What does a model that is trained have after `backward`, and a frozen one not?",
        "One iteration as in the proof of exhibit 2, and the metric `critic_grad_norm`; or "
        "compare a weight of `trainer.critic` before and after.",
    ),
    judge=proves("frozen_critic"),
    remark="""
        `requires_grad` alone would not have told: in this bug the weights do require a gradient,
        it is just always 0. Look at what arrives, not at what was asked for.
        """,
)
def proof_3() -> None:
    """True of right code, false with exhibit 3's bug."""
    actor, reward_model = cafe.recipe.load_shipped("cpu")
    config = minirlhf.PPOConfig(batch_size=8, minibatch_size=8)
    record = next(iter(cafe.recipe.ppo_trainer(actor, reward_model, config)))
    assert record.metrics["critic_grad_norm"] > 0.0


@proof_3.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    _, reward_model = cafe.recipe.load_shipped("cpu")
    critic = minirlhf.Critic.from_reward_model(reward_model)
    assert all(weight.requires_grad for weight in critic.parameters())


@proof_3.wrong(FAILS_WITHOUT)
def _() -> None:
    _, reward_model = cafe.recipe.load_shipped("cpu")
    assert reward_model.trainable  # the wrong model: this one is to stay frozen


@exercise(
    notebook="09",
    title="Prove exhibit 4",
    difficulty=2,
    importance=4,
    minutes=5,
    task="""
        The same for exhibit 4. Look at what the Actor writes.
        """,
    hints=(
        "Does any response of the SFT model stop before the cap?",
        "`record.rollout.ended` after one iteration, or `recipe.sample(actor, prompts, seed=0)`, "
        "whose second result says which responses ended by themselves.",
    ),
    judge=proves("eos_suppressed"),
    remark="""
        The café's SFT model ends nearly every response by itself, so eight responses are plenty.
        For a model that rarely stops, test the decode loop with a toy model that always does.
        """,
)
def proof_4() -> None:
    """True of right code, false with exhibit 4's bug."""
    actor, _ = cafe.recipe.load_shipped("cpu")
    _, ended = cafe.recipe.sample(actor, cafe.PROMPTS[:8], seed=0)
    assert any(ended)


@proof_4.wrong(HOLDS_WITH_THE_BUG)
def _() -> None:
    actor, _ = cafe.recipe.load_shipped("cpu")
    texts, _ = cafe.recipe.sample(actor, cafe.PROMPTS[:8], seed=0)
    assert all(len(text.split()) <= cafe.MAX_RESPONSE_TOKENS for text in texts)


@proof_4.wrong(FAILS_WITHOUT)
def _() -> None:
    actor, _ = cafe.recipe.load_shipped("cpu")
    texts, _ = cafe.recipe.sample(actor, cafe.PROMPTS[:8], seed=0)
    assert all(text.endswith("<eos>") for text in texts)  # special tokens are not decoded
