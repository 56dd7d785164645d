"""Exercises of notebook 10: a report of dropped rows, and a run in another engine's words."""

from minirlhf.exercises.exercise import question

report_says = question(
    "report_says",
    notebook="10",
    title="Read a report",
    difficulty=2,
    importance=4,
    minutes=6,
    task="""
        Which of these follow from what was printed above? Set `report_says` to the set of their
        letters.

        - a: Two pairs of `plain.jsonl` will be trained on.
        - b: The row that was too long was cut to 64 tokens, and is used.
        - c: The pair about the tea is used once, as two of its three labels have it.
        - d: The row with the column `score` counts for more than the others.
        - e: With `keep_duplicates=True`, which leaves repeated and contradicting rows in, five rows
          of `plain.jsonl` would be used.
        - f: With `keep_duplicates=True` all three labels of the tea's pair would be trained on.
        """,
    hints=(
        "Go through the dropped lines one by one: for each, is anything of it left?",
        "Lines 2, 3 and 4 are the same pair: labelled one way twice, the other way once. Which of "
        "them are dropped, which one stays, and which come back without that rule?",
    ),
    answer={"a", "c", "f"},
    form="a set of letters",
    wrong=[
        (
            {"a", "b", "c", "f"},
            "Nothing is ever cut short: a response without its end would teach never to end. The "
            "row is dropped as a whole.",
        ),
        (
            {"a", "c", "d", "f"},
            "Read the last line about plain.jsonl: what is done with that column?",
        ),
        (
            {"a", "c", "e", "f"},
            "Count the rows that are left: line 1 and the three about the tea. What is missing or "
            "too long does not come back.",
        ),
        (
            {"a", "f"},
            "Line 2 is not among the dropped ones. Two of three people labelled the tea's pair "
            "that way.",
        ),
        (
            {"a", "c"},
            "Without that rule all three rows about the tea stay, and each of them is trained on.",
        ),
        (
            {"c", "f"},
            "How many rows of plain.jsonl are used? Its first line says it.",
        ),
    ],
    remark="""
        A report is read before a run, not after it. Duplicates are dropped because a file often
        holds the same pair by accident; where many people judged the same pairs their number is
        meant, and `--keep-duplicates` is right.
        """,
)


lost_in_verl = question(
    "lost_in_verl",
    notebook="10",
    title="What gets lost on the way to verl?",
    difficulty=3,
    importance=3,
    minutes=6,
    task="""
        Somebody hands this run over to verl:

        ```python
        PPOConfig(kl_coef=0.1, critic_target="td", score_clip=5.0, missing_eos_penalty=1.0,
                  value_clip_range=None, microbatch_size=8, lora_rank=16)
        ```

        For which of these seven settings does verl have *no* counterpart, so that the run there is
        another one? Set `lost_in_verl` to the set of their names. (Two others are written in
        another way, and mean the same or nearly so.)
        """,
    hints=(
        "Make the lines for this config with the functions of the cell above, and print those of "
        "the seven settings. A line without an option has no counterpart.",
        "There are three. One of them you know from the map: what the Critic learns from.",
    ),
    answer={"critic_target", "score_clip", "missing_eos_penalty"},
    form="a set of names",
    wrong=[
        (
            {"score_clip", "missing_eos_penalty"},
            "Two of three. What does verl's Critic learn from? The map has a row for it.",
        ),
        (
            {"critic_target", "score_clip"},
            "Two of three. What does a response cost there that was cut before its end?",
        ),
        (
            {"critic_target", "missing_eos_penalty"},
            "Two of three. What happens there to a score of 20?",
        ),
        (
            {"critic_target", "score_clip", "missing_eos_penalty", "value_clip_range"},
            "No clip becomes one that is too wide ever to act: that is the same run.",
        ),
        (
            {"critic_target", "score_clip", "missing_eos_penalty", "microbatch_size"},
            "Theirs counts the responses of each GPU. It decides about memory; the result is the "
            "same.",
        ),
        (
            {"critic_target", "score_clip", "missing_eos_penalty", "kl_coef"},
            "The toll goes along: as algorithm.kl_ctrl.kl_coef, with use_kl_in_reward switched on.",
        ),
    ],
    remark="""
        Each of the three is a remark in the notes that `minirlhf handover` writes. "We trained with
        PPO" does not say which one.
        """,
)
