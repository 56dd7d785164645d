"""Exercises of notebook 08: what happens in which order, and where gradients go."""

from minirlhf.exercises.exercise import question

question(
    "order_of_operations",
    notebook="08",
    title="Put one iteration in order",
    difficulty=2,
    importance=5,
    minutes=6,
    task="""
        Ten lines of a PPO iteration with one minibatch, shuffled. Give the right order as a string
        of ten letters.

        | | |
        |---|---|
        | a | the norms of the gradients are clipped |
        | b | $R_t$ is made from $kl_t$ and the score |
        | c | log-probs and values *now*, of the minibatch |
        | d | the Actor writes the responses |
        | e | both optimisers take a step |
        | f | $\\hat{A}_t$ is whitened over the whole rollout |
        | g | backward |
        | h | old log-probs, reference log-probs, old values and scores are read |
        | i | the two losses |
        | j | the Critic's target and $\\hat{A}_t$ |
        """,
    hints=(
        "Ask of each line what it needs. What does $\\hat{A}_t$ need, and what does $R_t$ need?",
        "Five lines happen once for each rollout, before there is any gradient. Of the other five, "
        "ask: what must exist before it can be clipped?",
    ),
    answer="dhbjfcigae",
    form="a string of ten letters",
    wrong=(
        (
            "dhbfjcigae",
            "You whiten before there is anything to whiten: the advantages are made together with "
            "the Critic's target.",
        ),
        (
            "dhbjcfigae",
            "You whiten inside the minibatch. Then each minibatch has another scale, and with one "
            "response in it every advantage is measured against that response alone.",
        ),
        (
            "dhbjfcigea",
            "You clip the gradients after the step: too late, the weights have moved already.",
        ),
        (
            "dhjbfcigae",
            "The target is made of rewards: R_t has to be there first.",
        ),
    ),
    remark="""
        The line between f and c is the line between the two phases. Above it nothing has a
        gradient, below it nothing is written or scored any more. With several minibatches and
        epochs, only c, i, g, a and e are repeated.
        """,
)

question(
    "who_has_a_gradient",
    notebook="08",
    title="Which tensors carry a gradient?",
    difficulty=2,
    importance=5,
    minutes=4,
    task="""
        When the two losses are computed, which of these eight tensors may carry a gradient back to
        some weights? In this order: `log_probs`, `old_log_probs`, `ref_log_probs`, `values`,
        `old_values`, `td_target`, `advantages`, `scores`. Answer with eight times True or False.
        """,
    hints=(
        "What was noted at the rollout was noted under `torch.no_grad()`.",
        "One tensor for each model that is trained, and no more.",
    ),
    answer=[True, False, False, True, False, False, False, False],
    form="a list of eight True / False",
    wrong=(
        (
            [True, False, False, True, False, False, True, False],
            "With a gradient in the advantages, the Actor's loss could be lowered by making the "
            "Critic pessimistic. They are numbers.",
        ),
        (
            [True, False, False, True, False, True, False, False],
            "The target contains the Critic's own V_{t+1}. If a gradient went through it, the "
            "Critic would learn to bend the target towards its guess.",
        ),
        (
            [True, True, False, True, True, False, False, False],
            "Old means noted down: these two say what was, and what was cannot be trained.",
        ),
        (
            [True, False, False, False, False, False, False, False],
            "And how would the Critic learn?",
        ),
    ),
    remark="""
        In minirlhf `per_token_rewards`, `td_target` and `gae` return detached tensors whatever
        they get, and the losses detach what they compare with.
        """,
)
