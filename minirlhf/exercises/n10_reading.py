"""Exercise of notebook 10: other people's names for the same quantities."""

from minirlhf.exercises.exercise import question

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
