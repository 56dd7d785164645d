"""Movie reviews as rows for the three stages: short sentences, some of them held out.

The data are the 10,662 sentences of Pang & Lee, "Seeing stars", ACL 2005 (sentence polarity data
set v1.0), as two text files of one sentence a line. A row of SFT data asks for a sentence, a
preference prefers a positive sentence to a negative one, and a prompt of PPO opens a sentence that
the Actor has to end:

    {"prompt": "review :", "completion": "an intimate , good-humored ethnic comedy ."}
    {"prompt": "review :", "chosen": "charming and funny .", "rejected": "tedious and silly ."}
    {"prompt": "review : an intimate"}

Sentences are held out, not rows: no held-out sentence, nor its opening, is seen in training.
"""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "MINIRLHF_REAL"
POSITIVE, NEGATIVE = "movie-reviews.pos.txt", "movie-reviews.neg.txt"

ASK = "review :"
OPENING = 2  # words that a prompt of PPO gives away
WORDS = 4  # of a sentence, at least
CHARACTERS = 90  # of a sentence, at most: 74 tokens of stories260K, 45 on average
HELD_OUT = 0.3  # of the sentences

Row = dict[str, str]


@dataclass(frozen=True)
class Reviews:
    """Rows to train on, and rows from other sentences to measure on."""

    sft: list[Row]
    sft_held_out: list[Row]
    pairs: list[Row]  # each sentence is in one pair only, so that pairs are independent
    pairs_held_out: list[Row]
    prompts: list[Row]
    prompts_held_out: list[Row]

    def write(self, folder: Path) -> None:
        """One JSONL file for each field."""
        for name, rows in vars(self).items():
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")


def real_folders() -> tuple[Path, Path]:
    """Where the model and the texts are: the folder that MINIRLHF_REAL names.

    Raises:
        FileNotFoundError: it is not set, or something is missing there.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        raise FileNotFoundError(
            f"{VARIABLE} is not set; wanted a folder with models/stories260K and data/{POSITIVE}"
        )
    model, data = Path(named) / "models" / "stories260K", Path(named) / "data"
    for path in (model / "config.json", data / POSITIVE, data / NEGATIVE):
        if not path.is_file():
            raise FileNotFoundError(f"{VARIABLE} names a folder without {path.relative_to(named)}")
    return model, data


def read_reviews(data: Path, *, seed: int = 0) -> Reviews:
    """Split the sentences into trained on and held out, and make the rows.

    Args:
        data: folder of the two text files.
        seed: of the split and of the pairs.
    """
    chance = random.Random(seed)
    positive, held_positive = split(data / POSITIVE, chance)
    negative, held_negative = split(data / NEGATIVE, chance)
    sentences, held_out = positive + negative, held_positive + held_negative
    for some in (sentences, held_out):
        chance.shuffle(some)
    seen = {opening(sentence) for sentence in sentences}
    return Reviews(
        sft=[{"prompt": ASK, "completion": sentence} for sentence in sentences],
        sft_held_out=[{"prompt": ASK, "completion": sentence} for sentence in held_out],
        pairs=pair(positive, negative, chance),
        pairs_held_out=pair(held_positive, held_negative, chance),
        prompts=[{"prompt": opening(sentence)} for sentence in sentences],
        prompts_held_out=[
            {"prompt": opening(sentence)} for sentence in held_out if opening(sentence) not in seen
        ],
    )


def split(file: Path, chance: random.Random) -> tuple[list[str], list[str]]:
    """The short sentences of a file, each once: to train on, and held out."""
    lines = {line.strip() for line in file.read_text(encoding="utf-8").splitlines()}
    short = sorted(x for x in lines if len(x) <= CHARACTERS and len(x.split()) >= WORDS)
    chance.shuffle(short)
    held_out = round(HELD_OUT * len(short))
    return short[held_out:], short[:held_out]


def pair(chosen: list[str], rejected: list[str], chance: random.Random) -> list[Row]:
    """Random pairs; each sentence in one at most."""
    chosen, rejected = chance.sample(chosen, len(chosen)), chance.sample(rejected, len(rejected))
    return [
        {"prompt": ASK, "chosen": good, "rejected": bad}
        for good, bad in zip(chosen, rejected, strict=False)
    ]


def opening(sentence: str) -> str:
    """The prompt that gives away a sentence's first words."""
    return " ".join([ASK, *sentence.split()[:OPENING]])
