"""Exercises of notebook 10: memory of four models, and reading other people's code."""

from collections.abc import Iterator

from minirlhf.exercises.exercise import Case, Draw, exercise, question


@exercise(
    notebook="10",
    title="The memory of four models",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        Actor and Reference have `language` parameters each, Critic and Reward model `scorer`. All
        numbers are float32 (4 bytes). Return the bytes of weights, gradients and AdamW's states
        together, for PPO as in this course. AdamW keeps two numbers for each trained parameter.
        """,
    hints=(
        "Who is trained? A frozen model has weights only.",
        "A trained parameter costs 4 (weight) + 4 (gradient) + 8 (AdamW) bytes, a frozen one 4.",
    ),
    remark="""
        16 bytes for a trained parameter, 4 for a frozen one: 40 bytes for each parameter, if all
        four are of one size. `minirlhf.memory.plan` does the same, for other precisions and with
        LoRA, and adds what the passes keep.
        """,
)
def memory_of_four(language: int, scorer: int) -> int:
    """Bytes of weights, gradients and optimiser states of the four models."""
    trained, frozen = 4 + 4 + 2 * 4, 4
    return (trained + frozen) * language + (trained + frozen) * scorer


@memory_of_four.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one parameter each", 1, 1)
    yield Case("the café's models", 415_488, 405_120)
    yield Case("GPT-2 and a scorer of its size", 124_439_808, 124_440_576)
    yield Case("a large Actor, a small scorer", 1_557_611_200, 124_440_576)
    yield Case("no scorer at all", 1000, 0)


@memory_of_four.wrong(
    "You counted the four models' weights only. Those of Actor and Critic also have a gradient "
    "and two states of AdamW each."
)
def _(language: int, scorer: int) -> int:
    return 4 * (2 * language + 2 * scorer)


@memory_of_four.wrong(
    "You counted all four models as trained. Reference and Reward model are frozen: no gradient, "
    "no optimiser state."
)
def _(language: int, scorer: int) -> int:
    return 16 * (2 * language + 2 * scorer)


@memory_of_four.wrong(
    "12 bytes for a trained parameter are 4 too few: it has its weight, its gradient, and *two* "
    "numbers of AdamW, a mean of gradients and a mean of their squares."
)
def _(language: int, scorer: int) -> int:
    return (12 + 4) * language + (12 + 4) * scorer


@memory_of_four.wrong(
    "The Critic is trained, too. It starts as the Reward model, but it does not stay it."
)
def _(language: int, scorer: int) -> int:
    return (16 + 4) * language + 8 * scorer


OURS = ("scores", "kl_coef", "ref_log_probs", "lam", "rewards", "value_clip_range")
our_names = question(
    "our_names",
    notebook="10",
    title="What do we call it?",
    difficulty=3,
    importance=4,
    minutes=8,
    task="""
        Six names from other people's code (versions as in the map above). Set `our_names` to a
        tuple with what this course calls them, in this order:

        1. DeepSpeed-Chat: `rewards` in what `generate_experience` returns, of shape (B,)
        2. DeepSpeed-Chat: `kl_ctl`
        3. OpenRLHF: `base_action_log_probs`
        4. OpenRLHF: `lambd`
        5. verl: `token_level_rewards`, which `compute_gae_advantage_return` gets
        6. TRL: `cliprange_value`

        To choose from: `"scores"`, `"rewards"`, `"returns"`, `"kl"`, `"kl_coef"`, `"gamma"`,
        `"lam"`, `"old_log_probs"`, `"ref_log_probs"`, `"clip_range"`, `"value_clip_range"`.
        """,
    hints=(
        "Shapes tell more than names. What has one number a response, and what one a token?",
        'The first is `"scores"` and the fifth `"rewards"`: DeepSpeed-Chat calls both "rewards".',
    ),
    answer=OURS,
    form="a tuple of six names",
    wrong=[
        (
            ("rewards", *OURS[1:]),
            "DeepSpeed-Chat's word misleads: that tensor has one number for each response, as it "
            "comes from the reward model. Per-token rewards are made of it later.",
        ),
        (
            (*OURS[:2], "old_log_probs", *OURS[3:]),
            "The base model is the one from before all training, not the policy that wrote the "
            "responses: notebook 07 tells the two apart.",
        ),
        (
            (*OURS[:4], "scores", OURS[5]),
            "Look at the fifth once more: a number for each token is what GAE needs.",
        ),
        (
            (*OURS[:4], "returns", OURS[5]),
            "Rewards go into GAE, returns come out of it. Look at the fifth once more.",
        ),
        (
            (*OURS[:5], "clip_range"),
            "The sixth is the other clip: in TRL `cliprange` is for the ratio, and this one for "
            "the values.",
        ),
    ],
    remark="Before you compare two systems, compare what their words mean.",
)
