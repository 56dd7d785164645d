"""What a preference labeler sends to the browser: questions and results as plain JSON values."""

from typing import Any

from minirlhf.labelling import Question
from minirlhf.worlds.cafe.your_taste import Answer, TasteResult, likes_gold

SHOWN = 5  # pairs of answers, before and after


def plain_question(question: Question) -> dict[str, Any]:
    """A question, and the gold reward of both answers, with which the browser compares yours."""
    prompt = question.prompt
    gold = {f"{s}_gold": likes_gold(prompt, getattr(question, s)) for s in ("left", "right")}
    return {**vars(question), **gold}


def plain_result(result: TasteResult) -> dict[str, Any]:
    """JSON values; one answer each to the first few prompts."""
    before, after = ([vars(a) for a in answers] for answers in (result.before, result.after))
    fooled: tuple[Answer, ...] = result.fooled or ()
    return {
        "same": result.held_out.same,
        "of": result.held_out.of,
        "scores": list(result.scores),
        "judged": list(result.judged),
        "before": before[:SHOWN],
        "after": after[:SHOWN],
        "fooled": [vars(answer) for answer in fooled],
    }
