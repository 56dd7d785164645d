"""The settings of a PPO run in the words of OpenRLHF and verl, for those who need a cluster.

Models need no translation: they are plain Hugging Face folders. Settings do, and some have no
counterpart, or one that means something else; each line says so. Options are those of OpenRLHF
0.11.2 and verl 0.9.1, read from their own parsers (a test compares them).
"""

import shlex
from dataclasses import dataclass

from minirlhf.config import PPOConfig

NO_LIMIT = 1e9  # where the other side wants a number and ours is off
PROGRAMS = {  # and what stands between an option and its value
    "openrlhf": ("python3 -m openrlhf.cli.train_ppo_ray", " "),
    "verl": ("python3 -m verl.trainer.main_ppo", "="),
}


@dataclass(frozen=True)
class Line:
    """One setting of ours and what it becomes.

    Attributes:
        setting: our name, a field of `PPOConfig`, or what else is handed over.
        option: their name; "" where they have none.
        value: as on their command line; "" for a flag that is switched on.
        remark: where the two mean different things.
    """

    setting: str
    option: str = ""
    value: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Job:
    """What a run needs besides its settings.

    Attributes:
        actor: the SFT model: a folder or a Hub name.
        reward_model: that of stage 2: a folder or a Hub name.
        prompts: a JSONL file, one row for each response of the run.
        out: where the trained models shall go.
        gpus: of one machine.
        prompt_tokens: longest prompt.
    """

    actor: str
    reward_model: str
    prompts: str
    out: str
    gpus: int
    prompt_tokens: int


def per_gpu(config: PPOConfig, gpus: int) -> int:
    """Responses in a forward pass of one GPU: ours, or an even part of the minibatch."""
    return config.microbatch_size or max(1, config.minibatch_size // gpus)


def without_counterpart(config: PPOConfig) -> list[Line]:
    """Settings that neither of them has; a remark where this run uses what they lack."""
    return [
        Line("kl_horizon"),  # nothing without kl_target
        Line(
            "kl_target",
            remark=""
            if config.kl_target is None
            else "ours is in nats per response, theirs per token: set it by hand, or keep β fixed",
        ),
        Line(
            "critic_target",
            remark='they have only "gae", Â_t + V_t' if config.critic_target == "td" else "",
        ),
        Line("whiten_advantages", remark="" if config.whiten_advantages else "they always whiten"),
        Line(
            "target_kl",
            remark="" if config.target_kl is None else "they never stop an update early",
        ),
        Line(
            "precision",
            remark="they train in half precision only" if config.precision == "float32" else "",
        ),
    ]


def command(to: str, lines: list[Line]) -> str:
    """The command line for a shell, one option a line.

    Args:
        to: one of PROGRAMS.
        lines: what it is told.
    """
    program, join = PROGRAMS[to]
    words = [program]
    for line in lines:
        if line.option:
            # a range is two words and has nothing to quote
            numbers = set(line.value) <= set("0123456789.e+- ")
            value = line.value if numbers else shlex.quote(line.value)
            words.append(f"{line.option}{join}{value}" if line.value else line.option)
    return " \\\n    ".join(words) + "\n"


def remarks(lines: list[Line]) -> list[str]:
    """What does not carry over, or means something else, one sentence each."""
    return list(dict.fromkeys(f"{line.setting}: {line.remark}" for line in lines if line.remark))
