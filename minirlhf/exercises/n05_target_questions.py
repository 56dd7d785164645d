"""Questions of notebook 05: the end of a response, and how much luck one target holds."""

from minirlhf.exercises.exercise import question

question(
    "value_after_the_end",
    notebook="05",
    title="The last token",
    difficulty=1,
    importance=5,
    minutes=3,
    task="""
        A response has three tokens; in a batch, its row is four wide. $R = (0, -0.1, 1.5, 0)$, the
        Critic's $V = (0.4, 0.6, 0.9, 0.7)$, the mask is (True, True, True, False), and $\\gamma =
        1$. What is the target of the **last** token of the response, number 2?
        """,
    hints=(
        "How much reward can still come after the response has ended?",
        "The 0.7 stands where there is no token; the Critic was asked there all the same.",
    ),
    answer=1.5,
    form="a number, in reward units",
    wrong=[
        (2.2, "You added the 0.7, which the Critic said of a place behind the end."),
        (2.4, "You added the token's own V, 0.9. R_2 is all that comes from here on."),
        (0.7, "That is V of the padding. The score was paid with token 2: look at R."),
        (0.9, "That is what the Critic predicts for this token, not what it should have said."),
    ],
    remark="The last target holds no prediction at all. That is where truth comes in.",
)


question(
    "how_many_targets",
    notebook="05",
    title="Luck against error",
    difficulty=3,
    importance=4,
    minutes=7,
    task="""
        In some state the next token is one of two, equally likely. Both earn $R = 0$; after one of
        them the true value is 0, after the other 2 ($\\gamma = 1$). The Critic knows what comes
        after exactly, but here it says $\\hat V(s) = 0.5$. One sampled target is farther from the
        truth than $\\hat V$, in the mean square. **How many** independent targets of this state
        must be averaged, at least, so that their mean is nearer than $\\hat V$?
        """,
    hints=(
        "The true $V(s)$ is 1. The squared error of $\\hat V$ is 0.25.",
        "A single target is 0 or 2, so its mean squared error is 1, all of it luck. The "
        "mean of $n$ "
        "of them has $1/n$.",
    ),
    answer=5,
    form="a whole number",
    wrong=[
        (4, "With 4 targets both err alike, 1/4 = 0.25. Nearer means less."),
        (2, "The mean square of a mean of n falls as 1/n, not as 1/n²: look again at n = 2."),
        (1, "One target is 0 or 2, always 1 away from the truth; V̂ is 0.5 away."),
        (3, "1/3 is still more than 0.25."),
    ],
    remark=(
        "This is what regression does over many responses: it averages the luck away, and keeps "
        "what the facts have brought in."
    ),
)
