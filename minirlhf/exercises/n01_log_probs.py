"""Exercises of notebook 01: from a model's logits to the log-probability of a whole answer."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minirlhf.exercises.exercise import Case, Draw, exercise


@exercise(
    notebook="01",
    title="How many answers are there?",
    difficulty=1,
    importance=3,
    minutes=4,
    task="""
        A world has some `words` and EOS. An answer is a row of words. It ends with EOS, or it is
        cut after `steps` tokens without one. How many different answers are there?
        """,
    hints=(
        "Count the ended answers first: EOS may come after 0, 1, 2, … words. After how many at "
        "most?",
        "`words ** d` answers end after exactly `d` words, for `d` from 0 to `steps - 1`. The cut "
        "ones hold `steps` words.",
    ),
    remark="With 11 words and 5 steps: 16,105 + 161,051 = 177,156.",
)
def number_of_answers(words: int, steps: int) -> int:
    """Answers of at most `steps` tokens over so many words, EOS not counted as a word."""
    ended: int = sum(words**d for d in range(steps))  # d words, then EOS
    cut: int = words**steps  # steps words, no EOS
    return ended + cut


@number_of_answers.cases
def _(draw: Draw) -> Iterator[Case]:
    for words, steps in ((11, 5), (1, 1), (2, 1), (2, 3), (1, 4), (50, 2)):
        yield Case(f"{words} words, {steps} steps", words, steps)


@number_of_answers.wrong(
    "You counted all rows of `steps` tokens, EOS among them. But nothing follows EOS: what stands "
    "behind it must not make two answers out of one."
)
def _(words: int, steps: int) -> int:
    return int((words + 1) ** steps)


@number_of_answers.wrong("Those are the answers that were cut. Which ones ended by themselves?")
def _(words: int, steps: int) -> int:
    return int(words**steps)


@number_of_answers.wrong("Those are the answers that ended. Some are cut before EOS comes.")
def _(words: int, steps: int) -> int:
    return sum(words**d for d in range(steps))


@number_of_answers.wrong("One is missing: EOS at once, the answer that says nothing.")
def _(words: int, steps: int) -> int:
    return sum(words**d for d in range(1, steps + 1))


@exercise(
    notebook="01",
    title="The shift by one",
    difficulty=3,
    importance=5,
    minutes=8,
    task="""
        A model has read prompt and response, `P + R` slots, and `logits` (B, P+R, V) has its output
        at every slot. Return the (B, R, V) part that is about the response: entry `[:, t]` is what
        the model said about $A_t$ *before* it had read $A_t$.
        """,
    hints=(
        "In which slot does $A_0$ stand? And what does the output at *that* slot predict?",
        "$A_0$ stands at slot $P$, so it was predicted at slot $P - 1$. Which is the last slot "
        "that you need, if the last response token stands at slot $P + R - 1$?",
    ),
    remark="""
        The output at the very last slot is about a token that nobody wrote. `minirlhf` does not
        even compute it, and does this shift in one function, `before_each_response_token`.
        """,
)
def aligned_logits(logits: Tensor, prompt_width: int) -> Tensor:
    """(B, R, V): entry [:, t] predicts A_t. From logits (B, P+R, V); P = prompt_width ≥ 1."""
    return logits[:, prompt_width - 1 : -1]


@aligned_logits.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("prompt of 2, response of 3", draw.normal(1, 5, 2), 2)
    yield Case("one token", draw.normal(1, 4, 2), 3)
    yield Case("a prompt of one slot", draw.normal(2, 4, 3), 1)
    yield Case("no response yet", draw.normal(1, 3, 2), 3)
    yield Case("a batch", draw.normal(3, 9, 4), 4)


@aligned_logits.wrong(
    "One slot too late: slot P has already read A_0, and speaks about A_1. Whoever gathers A_0 "
    "there asks about a token that the model can see."
)
def _(logits: Tensor, prompt_width: int) -> Tensor:
    return logits[:, prompt_width:]


@aligned_logits.wrong(
    "The start is right, but there is one slot too many: the last one speaks about a token that "
    "nobody wrote."
)
def _(logits: Tensor, prompt_width: int) -> Tensor:
    return logits[:, prompt_width - 1 :]


@aligned_logits.wrong("One slot too early: two slots before a token is not where it is predicted.")
def _(logits: Tensor, prompt_width: int) -> Tensor:
    return logits[:, max(prompt_width - 2, 0) : -2]


@aligned_logits.wrong("That is the beginning of the text, where the prompt is.")
def _(logits: Tensor, prompt_width: int) -> Tensor:
    return logits[:, : logits.shape[1] - prompt_width]


@exercise(
    notebook="01",
    title="The log-prob of each token",
    difficulty=2,
    importance=5,
    minutes=8,
    task="""
        Write $\\log\\pi(A_t \\mid S_t) = z_{A_t}/T - \\log\\sum_v e^{z_v/T}$ for every token of
        every answer. `logits` (B, R, V) are aligned already: `logits[:, t]` is the distribution of
        token $t$. The result is (B, R). $T$ is the temperature; it divides all logits first, and
        is 1 until we come to sampling.
        """,
    hints=(
        "`torch.log_softmax(…, dim=-1)` gives the log-probs of all V tokens. Where does $T$ go?",
        "`gather` picks one of the V: "
        "`log_pi.gather(2, token_ids[:, :, None])[:, :, 0]`, with `log_pi` (B, R, V).",
    ),
    remark="`minirlhf.gather_log_probs` does the same without keeping all V log-probs in memory.",
    gradient_of=("logits",),
)
def gather_log_probs(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Log π(A_t given S_t), (B, R) nats, from logits (B, R, V) and token_ids (B, R)."""
    log_pi = torch.log_softmax(logits / temperature, dim=-1)
    return log_pi.gather(2, token_ids[:, :, None])[:, :, 0]


@gather_log_probs.cases
def _(draw: Draw) -> Iterator[Case]:
    yield Case("one token out of two", torch.tensor([[[0.0, 1.0]]]), torch.tensor([[1]]))
    yield Case("three tokens", draw.normal(1, 3, 4), draw.ids(4, 1, 3))
    yield Case("a batch", 3 * draw.normal(3, 4, 5), draw.ids(5, 3, 4))
    yield Case("T = 0.5", draw.normal(2, 3, 4), draw.ids(4, 2, 3), temperature=0.5)
    yield Case("T = 2", draw.normal(2, 3, 4), draw.ids(4, 2, 3), temperature=2.0)
    yield Case("huge logits", 1e4 * draw.normal(1, 3, 4), draw.ids(4, 1, 3))
    yield Case("no token", draw.normal(1, 0, 4), draw.ids(4, 1, 0))


@gather_log_probs.wrong(
    "These are the logits themselves. They become log-probs only when the logarithm of the sum "
    "over all tokens is taken off; else the probabilities do not sum to 1."
)
def _(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    return (logits / temperature).gather(2, token_ids[:, :, None])[:, :, 0]


@gather_log_probs.wrong("These are probabilities, between 0 and 1. Where is the logarithm?")
def _(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    return torch.softmax(logits / temperature, -1).gather(2, token_ids[:, :, None])[:, :, 0]


@gather_log_probs.wrong("You did not use the temperature.")
def _(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    return torch.log_softmax(logits, -1).gather(2, token_ids[:, :, None])[:, :, 0]


@gather_log_probs.wrong(
    "You divided the log-probs by T, after the softmax. Then the probabilities no longer sum to 1."
)
def _(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    log_pi = torch.log_softmax(logits, -1) / temperature
    return log_pi.gather(2, token_ids[:, :, None])[:, :, 0]


@gather_log_probs.wrong("You multiplied by T; a high temperature must flatten the distribution.")
def _(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    log_pi = torch.log_softmax(logits * temperature, -1)
    return log_pi.gather(2, token_ids[:, :, None])[:, :, 0]


@gather_log_probs.wrong("That is the log-prob of the likeliest token, not of the one written.")
def _(logits: Tensor, token_ids: Tensor, *, temperature: float = 1.0) -> Tensor:
    return torch.log_softmax(logits / temperature, -1).max(dim=-1).values
