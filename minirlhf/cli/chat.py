"""`minirlhf chat`: the SFT model and the RLHF model answer the same prompt, side by side."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from minirlhf.cli.four_models import FourModels, load_four_models
from minirlhf.cli.options import Device
from minirlhf.cli.show import as_text, console


def chat(
    run: Annotated[
        Path, typer.Option(help="Folder of a run of ppo, reinforce, rloo, grpo, dpo or demo.")
    ],
    prompt: Annotated[
        str | None, typer.Argument(help="What to answer; left out, you are asked for prompts.")
    ] = None,
    max_response_tokens: Annotated[int, typer.Option(help="Longest response.")] = 24,
    temperature: Annotated[float, typer.Option(help="Below 1: the likelier words.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Decides what is sampled.")] = 0,
    device: Device = None,
) -> None:
    """Ask the model before and after RLHF, with the same noise."""
    from minirlhf.backbone import pick_device

    if max_response_tokens < 1 or not 0 < temperature < float("inf"):
        raise ValueError("--max-response-tokens must be ≥ 1 and --temperature > 0")
    four = load_four_models(run, pick_device(device))
    if prompt is not None:
        console.print(answers(four, prompt, max_response_tokens, temperature, seed))
        return
    example = "" if not is_cafe(four) else " (for example: review the soup and the waiter :)"
    console.print(f"Type a prompt{example}; an empty line ends.", markup=False)
    turn = 0
    while line := ask():
        try:
            console.print(answers(four, line, max_response_tokens, temperature, seed + turn))
        except ValueError as error:
            console.print(Text(f"Error: {error}"))
        turn += 1


def ask() -> str:
    """The next line that is typed; "" at the end of the input."""
    try:
        return console.input("> ").strip()
    except EOFError:
        return ""


def answers(
    four: FourModels, prompt: str, max_response_tokens: int, temperature: float, seed: int
) -> Table:
    """Both answers with their scores, where there is a Reward model; in the café, gold too."""
    from minirlhf.actor import Actor
    from minirlhf.data import check_lengths, decode_responses, encode_prompts, pad_prompts
    from minirlhf.worlds.cafe.recipe import judge

    tokenizer = four.actor.tokenizer
    ids = encode_prompts(tokenizer, [prompt])
    check_lengths(four.actor.model, ids, max_response_tokens)
    batch = pad_prompts(ids, four.actor.filler).to(four.actor.device)
    gold, scorer = is_cafe(four), four.reward_model
    proxies = ["proxy"] if scorer is not None else []  # a DPO run has none
    table = Table("", "answer", *proxies, *(["gold"] if gold else []), show_lines=True)
    before = Actor(four.reference.model, tokenizer)
    for name, actor in (("SFT", before), ("RLHF", four.actor)):
        responses = actor.generate(
            batch, max_response_tokens=max_response_tokens, temperature=temperature, seed=seed
        )
        y, mask = responses.response_ids, responses.response_mask
        text = decode_responses(tokenizer, y, mask)[0]
        cells = [name, text]
        if scorer is not None:
            cells.append(f"{float(scorer.scores(batch, y, mask)):+.2f}")
        if gold:
            cells.append(f"{judge(prompt, text, bool(responses.ended[0])):+.2f}")
        table.add_row(*map(as_text, cells))
    return table


def is_cafe(four: FourModels) -> bool:
    """True when the models speak the café's language, so that gold is known."""
    from minirlhf.worlds import cafe

    return set(four.actor.tokenizer.get_vocab()) == set(cafe.VOCABULARY)
