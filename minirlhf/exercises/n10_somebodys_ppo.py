"""Exercise of notebook 10: somebody's PPO, with four mistakes in it."""

from minirlhf.exercises.exercise import question

mistaken_lines = question(
    "mistaken_lines",
    notebook="10",
    title="Read somebody's PPO",
    difficulty=4,
    importance=5,
    minutes=12,
    task="""
        A piece of PPO as one meets it (invented, but each mistake in it was seen in public). All
        tensors are already cut to the response and aligned with it: entry t belongs to $A_t$.

        ```python
        tokenizer.pad_token = tokenizer.eos_token                               # a
        seq = actor.generate(**prompts, do_sample=True, top_k=50)               # b
        log_probs = log_softmax(logits, -1).gather(-1, ids[..., None])[..., 0]  # c
        mask = ids != tokenizer.pad_token_id                                    # d
        kl = (log_probs - ref_log_probs) * mask                                 # e
        rewards = -beta * kl                                                    # f
        rewards[:, -1] += scores                                                # g
        advantages = gae(rewards, values, mask)                                 # h
        returns = advantages + values                                           # i
        advantages = whiten(advantages, mask)                                   # j
        loss = torch.max(-advantages * ratio, -advantages * clipped)            # k
        loss = loss.mean()                                                      # l
        ```

        Four lines compute something wrong. Set `mistaken_lines` to the set of their letters, such
        as `{"a", "e"}`. (Line a by itself is only a choice. Look at what it does to a later line.)
        """,
    hints=(
        "Ask of each line: which distribution? which tokens count? which token gets it? Each "
        "of the four mistakes is an exhibit of notebook 09, or nearly.",
        "One is about sampling, one about what the mask loses because of line a, one about where "
        "the score goes, one about an average.",
    ),
    answer={"b", "d", "g", "l"},
    form="a set of four letters",
    wrong=[
        (
            {"b", "g", "l"},
            "Three of four. With line a, what is the token id of EOS, and what does line d make of "
            "it?",
        ),
        (
            {"d", "g", "l"},
            "Three of four. Line b draws from 50 tokens, line c scores under all of them.",
        ),
        (
            {"b", "d", "l"},
            "Three of four. The last column is the last token of the longest response only.",
        ),
        (
            {"b", "d", "g"},
            "Three of four. Which tokens does the last line average over?",
        ),
        (
            {"a", "b", "g", "l"},
            "Line a alone breaks nothing: masks can be made from lengths. Which line makes it a "
            "mistake?",
        ),
        (
            {"b", "d", "g", "i"},
            "Line i is right, since it comes before the whitening of line j. Look at the average.",
        ),
        (
            {"b", "d", "g", "j"},
            "Whitening after the returns were made is what it should be. Look at the average.",
        ),
    ],
    remark="""
        **b**: top-k sampling, scored with the full softmax (exhibit 12). **d**: with pad = EOS the
        mask loses the EOS, so nobody learns to stop; make masks from lengths. **g**: the score goes
        to the last column, padding for all but the longest (exhibit 10). **l**: a mean over padding
        (exhibit 1). Lines i and j stand in the right order (exhibit 5 has them swapped).
        """,
)
