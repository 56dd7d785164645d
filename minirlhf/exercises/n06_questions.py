"""Questions of notebook 06: a table by hand, the order of two lines, and trust."""

from minirlhf.exercises.exercise import question

question(
    "three_token_table",
    notebook="06",
    title="A table of three tokens",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        With pencil and paper: $R = (0, 0, 1)$, $V = (0.2, 0.6, 0.4)$, $\\gamma = 1$ and $\\lambda =
        0.5$. Fill in $\\delta_t$ for each token, then $\\hat A_t$, beginning at the end. Give the
        three $\\hat A_t$ as a tuple, for token 0 first.
        """,
    hints=(
        "$\\delta_t = R_t + \\gamma V_{t+1} - V_t$, with $V = 0$ after the last token: "
        "$\\delta_2 = 1 + 0 - 0.4$.",
        "$\\delta = (0.4, -0.2, 0.6)$. Then $\\hat A_2 = \\delta_2$, and each step to the front is "
        "$\\hat A_t = \\delta_t + 0.5\\,\\hat A_{t+1}$.",
    ),
    answer=(0.45, 0.1, 0.6),
    form="a tuple of three numbers, such as (0.1, 0.2, 0.3)",
    wrong=[
        ((0.4, -0.2, 0.6), "Those are the δ_t. Â_t also holds the later ones: λ of the next Â."),
        ((0.8, 0.4, 0.6), "You added the later δ in full: that is λ = 1. Here each step halves."),
        ((0.6, 0.1, 0.45), "The numbers are right, the order is not: token 0 first."),
        (
            (0.4, 0.0, 0.6),
            "You ran forwards: Â_t = δ_t + λ·Â_{t−1}. The future counts, not the past.",
        ),
        ((0.45, 0.1, 0.4), "At the last token: δ_2 = R_2 + 0 − V_2. What is R_2 − V_2?"),
        ((0.65, 0.7, 1.0), "Those are the returns, Â_t + V_t."),
    ],
    remark="The 0.6 of the last token reaches token 1 as 0.3 and token 0 as 0.15.",
)


question(
    "whitened_too_early",
    notebook="06",
    title="Whiten before or after?",
    difficulty=3,
    importance=4,
    minutes=6,
    task="""
        In a batch every score is 3, every toll is 0, $\\gamma = \\lambda = 1$, and the Critic says
        $V = 1$ everywhere. Somebody whitens the advantages and *then* computes the Critic's target,
        $\\hat A_t + V_t$. What target does the Critic get, in every place?
        """,
    hints=(
        "All raw advantages are equal: $3 - 1 = 2$.",
        "Whitening shifts to mean 0. What is left of numbers that are all equal?",
    ),
    answer=1.0,
    form="a number, in reward units",
    wrong=[
        (3.0, "That is the right target, Â + V = 2 + 1. But these advantages were whitened first."),
        (2.0, "That is the raw advantage. After whitening its mean is 0, and V is still added."),
        (0.0, "That is the whitened advantage; the target adds V_t to it."),
    ],
    remark=(
        "The Critic is told that it is right, in every iteration: it can never learn "
        "that the scores "
        "are 3. Returns come first, whitening is for the Actor alone."
    ),
)


question(
    "trust",
    notebook="06",
    title="How much do you trust this Critic?",
    difficulty=3,
    importance=5,
    minutes=5,
    task="""
        Three Critics, the same Actor. **a** is exact. **b** is wrong by $+2$ in every state of a
        world in which all responses have the same length, $\\gamma = 1$. **c** is a fresh network
        with a random head. For which of them does $\\lambda = 0$ give the right policy gradient on
        average? Give a set of letters.
        """,
    hints=(
        "What bends the gradient is the part of the error in $\\hat A_t$ that depends on the token "
        "drawn. With $\\lambda = 0$ that is $\\gamma\\,e(S_{t+1})$.",
        "For b, $e(S_{t+1})$ is 2 whatever token is drawn (0 after the last one, whatever it is).",
    ),
    answer={"a", "b"},
    form='a set such as {"a", "c"}',
    wrong=[
        ({"a"}, "Look at b again: does its error one token later depend on which token was drawn?"),
        (
            {"a", "b", "c"},
            "c errs differently from state to state, so it praises the wrong tokens.",
        ),
        (set(), "With an exact Critic the expected δ_t is the true advantage."),
        ({"b"}, "With an exact Critic the expected δ_t is the true advantage, too."),
    ],
    remark=(
        "Not the size of a Critic's error does harm, but how much it differs between the "
        "states that "
        "the next token may lead to."
    ),
)
