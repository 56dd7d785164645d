"""Exercises of notebook 04 whose answer is a value."""

from minirlhf.exercises.exercise import question

question(
    "flipped_estimator",
    notebook="04",
    title="Find the flipped estimator",
    difficulty=3,
    importance=4,
    minutes=5,
    task="""
        Four projects, four ways to write k3; `lp` is $\\log\\pi$ of the token that the Actor drew,
        `ref` is $\\log\\pi_{ref}$. None of them is ever negative. Three are the same function.
        Which one is not?

        ```python
        d = ref - lp;           A = torch.exp(d) - 1 - d
        d = lp - ref;           B = torch.exp(-d) - 1 + d
        d = lp - ref;           C = torch.exp(d) - 1 - d
        ratio = (ref - lp).exp();  D = ratio - 1 - ratio.log()
        ```
        """,
    hints=(
        "Try a token with `lp = -1.0` and `ref = -3.0` in all four.",
        "k3 needs $E_\\pi[e^d] = 1$. That holds for $e^d = \\pi_{ref}/\\pi$, not for its inverse.",
    ),
    answer="C",
    form='one of "A", "B", "C", "D"',
    wrong=(
        ("A", "A is k3 as this notebook writes it. Put in numbers: which of the four differs?"),
        ("B", "B looks turned round, but both signs are: its exponent is log π_ref − log π again."),
        ("D", "D takes the ratio first and its logarithm later; log of exp(x) is x."),
    ),
    remark="""
        The name of a variable proves nothing (`d` is defined in two ways here). What proves it:
        the exponent must be positive where the *Reference* likes the token more. The flipped one
        explodes where the Actor does, which is where PPO goes. It is one of the bugs in
        notebook 09.
        """,
)

question(
    "gradient_of_the_kl",
    notebook="04",
    title="Which of the six follows the KL?",
    difficulty=3,
    importance=5,
    minutes=5,
    task="""
        One decision, and the token is drawn from the Actor itself. Which of these give, on
        average, the gradient of $KL(\\pi\\,\\|\\,\\pi_{ref})$?

        - 1: k1 in the reward
        - 2: k2 in the reward
        - 3: k3 in the reward
        - 4: k1 in the loss
        - 5: k2 in the loss
        - 6: k3 in the loss
        """,
    hints=(
        "The gradient of the KL is $E[k_1\\,\\nabla\\log\\pi(A)]$. In the reward, what multiplies "
        "$\\nabla\\log\\pi(A)$ is the estimate itself; in the loss, it is the estimate's "
        "derivative.",
        "By $\\log\\pi$, the derivative of k1 is 1, of k2 is k1, and of k3 is "
        "$1 - \\pi_{ref}/\\pi$. Two of the six have k1 in front of $\\nabla\\log\\pi(A)$.",
    ),
    answer={1, 5},
    form="a set of numbers, such as {2, 3}",
    wrong=(
        (
            {1, 3},
            "You chose the unbiased ones in the reward. k3 has the right mean; but a reward "
            "multiplies ∇log π, and there k3 is not k1.",
        ),
        (
            {1, 4},
            "k1 in the loss has the derivative 1 for every token, and a number that ignores "
            "the action changes nothing on average.",
        ),
        (
            {1, 5, 6},
            "k3 in the loss has the derivative 1 − π_ref/π. Work out its mean: it is the "
            "gradient of a KL, but in which direction?",
        ),
        ({1}, "That one, yes. One more has k1 in front of ∇log π(A)."),
        (
            {4, 6},
            "These are the unbiased values, differentiated. A derivative of an unbiased value "
            "is not an unbiased derivative: the samples move with the Actor, too.",
        ),
    ),
    remark="""
        k1 is unbiased and does nothing in the loss; k2 is biased and has the right gradient there.
        What to ask of an estimator depends on where it goes.
        """,
)

question(
    "sum_of_rewards",
    notebook="04",
    title="What a response earns",
    difficulty=2,
    importance=4,
    minutes=4,
    task="""
        A response has 6 counted tokens and 3 places of padding; `kl` is 0.4 in all nine. The
        Reward model gives it 7. It was cut before its end, and the missing-EOS penalty is 1. With
        `kl_coef = 0.1` and `score_clip = 5`: what is the sum of its $R_t$?
        """,
    hints=(
        "The order is: penalty, then clip, then minus β times the KL of the counted tokens.",
        "clip(7 − 1) is 5; the toll is 0.1 · 6 · 0.4.",
    ),
    answer=4.76,
    form="a number, in reward units",
    tolerance=1e-3,
    wrong=(
        (
            3.76,
            "You took the penalty off after the clip. It belongs to the score, which is clipped "
            "last.",
        ),
        (5.76, "The score is above its limit: where is score_clip?"),
        (4.64, "Padding pays no toll: only 6 of the 9 places count."),
        (5.24, "The toll is taken away, not added."),
        (6.76, "Neither the penalty nor the clip is in it."),
    ),
    remark="The same by `per_token_rewards`: the quiz cell at the end of the notebook does it.",
)
