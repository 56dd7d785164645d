"""Predicted against measured bytes of a PPO iteration, over a spread of settings.

    python tests/measure_memory.py            prints a table, writes tests/memory_results.json

Measured is the largest sum of all tensors: weights and states by their storages, and every byte
that PyTorch takes or gives back on the CPU during one iteration (torch.profiler), after a first
one. On a GPU it would be `torch.cuda.max_memory_allocated()`: tests/test_memory.py.
"""

import gc
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import transformers
from memory_models import config
from tiny_models import TOKENIZER
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForCausalLM

import minirlhf.actor
from minirlhf import Actor, Critic, PPOConfig, PPOTrainer, Reference, RewardModel
from minirlhf import chunked_log_probs as chunks
from minirlhf.memory import Part, moments, plan, total
from minirlhf.shapes import Shape

RESULTS = Path(__file__).parent / "memory_results.json"


@dataclass(frozen=True)
class Case:
    """One PPO run: models, batch and settings."""

    language: Shape
    scorer: Shape | None = None  # None = as `language`
    attention: str = "eager"
    rows: int = 4  # in a microbatch
    minibatch: int = 0  # 0 = rows
    batch: int = 0  # 0 = minibatch
    prompt: int = 16
    response: int = 48
    precision: str = "float32"
    checkpointing: bool = False
    rank: int = 0
    sharing: str = "nothing"
    logits_at_once: int = 2**26
    offload: bool = False

    def planned(self, **others: object) -> dict[str, Part]:
        minibatch = self.minibatch or self.rows
        settings = {
            "precision": "autocast" if self.precision == "bfloat16" else self.precision,
            "lora_rank": self.rank, "sharing": self.sharing, "rows": self.rows,
            "length": self.prompt + self.response, "response": self.response,
            "batch": self.batch or minibatch, "accumulates": minibatch > self.rows,
            "checkpointing": self.checkpointing, "attention": self.attention,
            "logits_at_once": self.logits_at_once, "offload": self.offload,
        }  # fmt: skip
        return plan(self.language, self.scorer or self.language, **{**settings, **others})


def trainer(case: Case, device: str = "cpu") -> PPOTrainer:
    """Random models of the case's shapes in our own trainer; every response has full length."""
    torch.manual_seed(0)
    actor, rank = _actor(case.language, case.attention, device), case.rank
    if case.sharing == "one trunk":
        reward_model = RewardModel.from_actor(actor, lora_rank=rank).freeze()
    else:
        scorer = _actor(case.scorer or case.language, case.attention, device)
        reward_model = RewardModel.from_actor(scorer)
    reference = Reference.from_actor(actor.add_adapter(rank))
    critic = Critic.from_reward_model(reward_model, lora_rank=rank)
    minibatch = case.minibatch or case.rows
    settings = PPOConfig(
        iterations=2, batch_size=case.batch or minibatch, minibatch_size=minibatch,
        microbatch_size=case.rows, ppo_epochs=1, max_response_tokens=case.response,
        precision=case.precision, gradient_checkpointing=case.checkpointing, lora_rank=rank,
        offload=case.offload,
    )  # fmt: skip
    # of unequal length, as prompts are: with a mask, fused attention keeps more
    lengths = [case.prompt - n % (case.prompt // 2) for n in range(settings.batch_size)]
    prompts = [torch.randint(2, len(TOKENIZER), (length,)).tolist() for length in lengths]
    return PPOTrainer(actor, reference, critic, reward_model, prompts, settings)


@dataclass(frozen=True)
class Bytes:
    """Of tensors: what lies there all the time, and the most in a rollout and in an update."""

    lying: int
    rollout: int
    update: int

    @property
    def peak(self) -> int:
        return max(self.rollout, self.update)


def _actor(shape: Shape, attention: str, device: str) -> Actor:
    model = AutoModelForCausalLM.from_config(config(shape, attention))
    return Actor(model.to(device), TOKENIZER)


@contextmanager
def logits_limit(size: int) -> Iterator[None]:
    """Have so many bytes of logits at once."""
    before = chunks.most_bytes
    chunks.most_bytes = minirlhf.actor.most_bytes = lambda device: size
    try:
        yield
    finally:
        chunks.most_bytes = minirlhf.actor.most_bytes = before


def lying_there(run: PPOTrainer) -> int:
    """Bytes of weights, buffers and optimiser states; what is shared is counted once."""
    roles = (run.actor, run.reference, run.critic, run.reward_model)
    tensors = [t for role in roles for t in (*role.parameters(), *role.buffers())]
    for optimizer in run.optimizers.values():
        tensors += [t for state in optimizer.state.values() for t in state.values()]
    storages = [t.untyped_storage() for t in tensors]
    return sum({s.data_ptr(): s.nbytes() for s in storages}.values())


def taken(run: Callable[[], object]) -> int:
    """The most bytes that PyTorch took on the CPU, beyond what it had before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [e for e in recorded.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def measured(case: Case) -> Bytes:
    """The second iteration's."""
    with logits_limit(case.logits_at_once):
        run = trainer(case)
        next(iter(run))
        gc.collect()
        stays, rollouts = lying_there(run), []
        rollout = stays + taken(lambda: rollouts.append(run.collect(run.batch())))
        return Bytes(stays, rollout, stays + taken(lambda: run.update(rollouts[0])))


def predicted(case: Case, **others: object) -> Bytes:
    """The plan's, with arguments of `plan` that the case does not have."""
    parts = case.planned(**others)
    found = {name: total(moment) for name, moment in moments(parts).items()}
    reads = [size for name, size in found.items() if name.endswith("reads")]
    learns = [size for name, size in found.items() if not name.endswith("reads")]
    lying = sum(part.weights + part.optimiser for part in parts.values())
    return Bytes(lying, max(reads), max(learns))


GPT2 = Shape(4, 128, 4, 4000, 256)
FUSED = Shape(5, 128, 4, 2000, 256, fused_gelu=True)
WORDY = Shape(4, 128, 4, 20_000, 256)
NARROW = Shape(4, 64, 4, 20_000, 256)
LLAMA = Shape(4, 128, 4, 4000, 256, "llama", 344, 2, tied=False)
QWEN = Shape(4, 128, 4, 8000, 256, "qwen2", 512, 2)
LARGER = [
    Shape(6, 192, 6, 2000, 256),
    Shape(6, 192, 6, 2000, 256, "llama", 512, 3),
    Shape(6, 256, 8, 5000, 256, "qwen2", 688, 2),
]
FEW = 2**20  # bytes of logits at once: chunks

QUICK = {  # a case of each kind; short responses, since sampling takes the time
    "gpt2, bfloat16, sdpa": Case(
        GPT2, rows=8, prompt=56, response=8, precision="bfloat16", attention="sdpa"
    ),
    "gpt2, checkpoints, chunks, microbatches": Case(
        GPT2, minibatch=8, prompt=56, response=8, checkpointing=True, logits_at_once=FEW
    ),
    "fused GELU, long": Case(FUSED, prompt=128, response=8),
    "many words": Case(WORDY, prompt=32, response=8),
    "many words, a small scorer, chunks": Case(
        WORDY, NARROW, rows=8, prompt=32, response=8, logits_at_once=FEW
    ),
    "llama": Case(LLAMA, rows=8, prompt=56, response=8, attention="sdpa"),
    "llama, LoRA in pairs, bfloat16": Case(
        LLAMA, rows=8, prompt=56, response=8, precision="bfloat16", rank=8, sharing="pairs"
    ),
    "qwen2, LoRA on one trunk, checkpoints": Case(
        QWEN, rows=8, prompt=56, response=8, rank=16, sharing="one trunk", checkpointing=True
    ),
    "qwen2, microbatches, bfloat16": Case(
        QWEN, minibatch=8, batch=16, prompt=32, response=8, precision="bfloat16"
    ),
}


def spread() -> Iterator[Case]:
    """The long table's."""
    for shape in (GPT2, FUSED, LLAMA, QWEN):
        for attention in ("eager", "sdpa"):
            for precision in ("float32", "bfloat16"):
                case = Case(shape, None, attention, 8, prompt=32, response=32, precision=precision)
                yield case
                if (shape.family == "llama") == (attention == "eager"):
                    yield replace(case, checkpointing=True)
                    yield replace(case, rank=8, sharing="pairs")
                    yield replace(case, rank=16, sharing="one trunk")
                    yield replace(case, rows=4, minibatch=8, batch=16)
                    few = replace(case, rows=4, minibatch=8, logits_at_once=FEW)
                    yield replace(few, checkpointing=True)
    for precision in ("float32", "bfloat16"):
        yield Case(WORDY, precision=precision)
        yield Case(WORDY, precision=precision, rows=2, minibatch=8)
        yield Case(WORDY, NARROW, rows=16, response=32, precision=precision)
        for shape in LARGER:
            yield Case(shape, rows=16, prompt=64, response=128, precision=precision)
            yield Case(shape, rows=8, prompt=64, response=64, attention="sdpa", precision=precision)


def described(case: Case) -> dict[str, object]:
    """The settings that are not the usual ones."""
    usual = asdict(Case(GPT2))
    return {name: value for name, value in asdict(case).items() if value != usual[name]} | {
        "language": asdict(case.language)
    }


def row(case: Case, found: Bytes) -> dict[str, object]:
    """A line of the table; `passes` is the ratio of what comes and goes alone."""
    plan_ = predicted(case)
    return {
        "case": described(case),
        "measured": asdict(found),
        "predicted": asdict(plan_),
        "peak": round(plan_.peak / found.peak, 4),
        "rollout": round(plan_.rollout / found.rollout, 4),
        "update": round(plan_.update / found.update, 4),
        "passes": round((plan_.peak - plan_.lying) / (found.peak - found.lying), 4),
    }


def main() -> None:
    """Measure every case, print as it goes, and write the table."""
    rows = []
    for case in spread():
        rows.append(row(case, measured(case)))
        ratios = {name: rows[-1][name] for name in ("peak", "rollout", "update", "passes")}
        print(ratios, rows[-1]["case"], flush=True)  # noqa: T201
    off = sorted(abs(float(str(one["peak"])) - 1) for one in rows)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": "cpu",
        "cases": len(rows),
        "off_at_most": off[-1],
        "off_in_the_middle": off[len(off) // 2],
        "rows": rows,
    }
    print({name: value for name, value in result.items() if name != "rows"})  # noqa: T201
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
