"""Exercises of notebook 09: twelve dashboards, which of the twelve bugs is behind each?"""

from minirlhf import museum
from minirlhf.exercises.exercise import question

# what the dashboard of each bug shows and no other exhibit's does (tests/museum/test_exhibits)
WOULD_SHOW = {
    "unmasked_mean": (
        "Padding in every mean: the advantages would not be centred, so actor_loss would lie more "
        "than 0.1 below 0 in every iteration but the first."
    ),
    "dropout_in_the_ratio": (
        "Dropout in the ratio: ratio_error_first would be 1 or so in every iteration, although no "
        "step was taken yet."
    ),
    "frozen_critic": (
        "A frozen Critic gets no gradient: critic_grad_norm and value_clip_fraction would be "
        "exactly 0 in every iteration."
    ),
    "eos_suppressed": (
        "Without EOS no response could end: eos_rate would be 0 throughout, and kl would be below "
        "-0.5 from the second iteration on, since EOS is scored and never drawn."
    ),
    "whitened_before_returns": (
        "Whitened too early, return_mean would equal value_mean in every iteration, and "
        "critic_loss would stay near one half."
    ),
    "unfrozen_reference": (
        "A Reference that moves along: kl would be exactly 0 in every iteration, and reward equal "
        "to score."
    ),
    "flipped_k3": (
        "A flipped k3 is never negative and explodes: kl would jump above 50 nats in some "
        "iteration, and reward would plunge in the same one."
    ),
    "value_one_token_late": (
        "A value read late breaks no alarm: the score would rise clearly more slowly than in the "
        "healthy run, while explained_variance begins above it."
    ),
    "old_log_probs_recomputed": (
        "With old log-probs made anew, the ratio could not leave 1: ratio_max would be 1 and "
        "clip_fraction 0 in every iteration."
    ),
    "reward_on_a_pad": (
        "With the score on a pad, hardly any counted reward is left: return_mean would stay "
        "within 0.2 of 0 in every iteration, however far the score rises."
    ),
    "undetached_advantages": (
        "If the Actor's loss reached the Critic, it would push the values down: value_mean would "
        "sink further and further below return_mean, by 4 in the end."
    ),
    "top_k_sampling": (
        "Sampling from the top k: kl would be below 0 in every iteration but the first, by a few "
        "hundredths to two tenths of a nat."
    ),
}
# (exhibit, wrong answer): where the two look alike
ALIKE = {
    ("eos_suppressed", "top_k_sampling"): (
        "kl is negative with top-k sampling, too, but EOS is among the likeliest tokens where a "
        "sentence is over, so responses would still end. Look at eos_rate."
    ),
    ("top_k_sampling", "eos_suppressed"): (
        "No response ends here, but look at the healthy run: with a cap of 10 tokens hardly any "
        "can. With these settings, suppressing EOS would leave kl within 0.02 of 0."
    ),
    ("unfrozen_reference", "old_log_probs_recomputed"): (
        "Something is compared with itself here, but not new with old: ratio_max leaves 1 and "
        "clip_fraction is not 0. Which other two models are compared?"
    ),
    ("old_log_probs_recomputed", "unfrozen_reference"): (
        "Something is compared with itself here, but not the Actor with the Reference: kl leaves "
        "0. Which other two are compared?"
    ),
    ("frozen_critic", "value_one_token_late"): (
        "The Critic is the right place to look. But a value read late would still be learnt: "
        "critic_loss would fall, and critic_grad_norm would not be 0."
    ),
}
# first hints: where to look, not what it means
LOOK = {
    "unmasked_mean": "Which loss should float around 0 when advantages have mean 0?",
    "dropout_in_the_ratio": "One panel is about the moment *before* the first step was taken.",
    "frozen_critic": "Which of these curves does not move at all?",
    "eos_suppressed": "How long are the responses, and how many of them stop by themselves?",
    "whitened_before_returns": "Two panels of the dashed run show the same numbers. Which?",
    "unfrozen_reference": "Can an Actor learn and stay where it was?",
    "flipped_k3": "Look at the single iterations, not at the trend, and at the scale of the axes.",
    "value_one_token_late": "No curve is absurd. Which one lags, from the third iteration on?",
    "old_log_probs_recomputed": "Three panels measure how far one update goes. What do they say?",
    "reward_on_a_pad": "`reward` adds up all columns of a table; `return_mean` looks at counted "
    "tokens only.",
    "undetached_advantages": "What does the Critic foresee, and what comes?",
    "top_k_sampling": "A KL divergence has a sign. Is the healthy run's curve really 0?",
}


def _wrong(right: str, chosen: str, number: int) -> str:
    """What to tell those who choose `chosen` for an exhibit whose bug is `right`."""
    words = ALIKE.get((right, chosen), WOULD_SHOW[chosen])
    return f"{words} Is it so in exhibit {number}?"


DIAGNOSES = [
    question(
        f"exhibit_{number}",
        notebook="09",
        title=f"What is wrong in exhibit {number}?",
        difficulty={"value_one_token_late": 5, "top_k_sampling": 4}.get(bug.name, 3),
        importance=4,
        minutes=10 if bug.name == "value_one_token_late" else 5,
        task=(
            f"Which of the twelve bugs was switched on in exhibit {number}? Set `exhibit_{number}` "
            f"to its name. `numbers({number})` prints every metric of both runs."
        ),
        hints=(
            LOOK[bug.name],
            "The panels that tell: " + ", ".join(f"`{name}`" for name in bug.watch) + ".",
        ),
        answer=bug.name,
        form="one of the twelve names, in quotes",
        wrong=[
            (other.name, _wrong(bug.name, other.name, number))
            for other in museum.EXHIBITS
            if other is not bug
        ],
        remark=(
            f"**{bug.title[0].upper()}{bug.title[1:]}.** {bug.story}\n\n**What it shows.** "
            f"{bug.symptom}\n\nMet in public, or a close relative of it: "
            + ", ".join(f"[{url.split('/', 3)[3]}]({url})" for url in bug.sources)
            + "."
        ),
    )
    for number, bug in enumerate(museum.EXHIBITS, start=1)
]
