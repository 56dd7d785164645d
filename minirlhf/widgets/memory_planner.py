"""MemoryPlanner: what four models take of a device's memory, before anything is loaded.

MemoryPlanner("GPT-2 1.6 B", budget=24)
MemoryPlanner(shapes={"mine": Shape(layers=2, width=128, heads=4, vocabulary=60, positions=64)})
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import traitlets

from minirlhf.memory import GIB, OPTIMISERS, PRECISIONS, Part, plan, total, worst
from minirlhf.shapes import ATTENTIONS, SHAPES, SHARING, Shape
from minirlhf.widgets.live import LiveWidget, script, strings, style
from minirlhf.widgets.picture import BLUE, INK, ORANGE, PURPLE, SKY, Picture, number

KINDS = {"weights": BLUE, "gradients": SKY, "optimiser": ORANGE, "activations": PURPLE}


class MemoryPlanner(LiveWidget):
    """GiB of Actor, Reference, Critic and Reward model: weights, gradients, states, activations.

    Weights, gradients and states are exact for GPT-2, Llama and Qwen2; the worst moment is within a
    tenth of what an iteration takes on a CPU, and an estimate on a GPU (`minirlhf.memory`).

    Args:
        language: name of the Actor's and the Reference's shape; None = the first there is.
        scorer: of the Critic's and the Reward model's; None = the same.
        shapes: further shapes to choose from, by name; they come first.
        budget: of the device, GiB.
        language_of_words: of the words shown.
        settings: further traits: precision, optimiser, sharing, attention, lora_rank, rows,
            length, checkpointing; see `minirlhf.memory.plan`.

    Raises:
        ValueError: there is no such shape.
    """

    prefix = "memory_planner"
    _esm = script("memory_planner_numbers", "memory_planner")
    _css = style("memory_planner")
    tables = traitlets.Dict().tag(sync=True)  # shapes, precisions, optimisers, sharing
    language = traitlets.Unicode().tag(sync=True)
    scorer = traitlets.Unicode().tag(sync=True)
    precision = traitlets.Enum(list(PRECISIONS), "float32").tag(sync=True)
    optimiser = traitlets.Enum(list(OPTIMISERS), "AdamW").tag(sync=True)
    sharing = traitlets.Enum(list(SHARING), "nothing").tag(sync=True)
    attention = traitlets.Enum(list(ATTENTIONS), "sdpa").tag(sync=True)
    lora_rank = traitlets.Int(0, min=0, max=64).tag(sync=True)
    rows = traitlets.Int(8, min=1, max=64).tag(sync=True)  # responses in a microbatch
    length = traitlets.Int(256, min=32, max=2048).tag(sync=True)  # tokens, prompt and response
    checkpointing = traitlets.Bool(False).tag(sync=True)
    budget = traitlets.Float(24.0, min=1.0, max=256.0).tag(sync=True)  # GiB

    def __init__(
        self,
        language: str | None = None,
        scorer: str | None = None,
        *,
        shapes: Mapping[str, Shape] | None = None,
        budget: float = 24.0,
        language_of_words: str = "en",
        **settings: Any,
    ) -> None:
        self.shapes = {**(shapes or {}), **SHAPES}
        language = next(iter(self.shapes)) if language is None else language
        scorer = language if scorer is None else scorer
        for name in (language, scorer):
            if name not in self.shapes:
                raise ValueError(f"no shape {name!r}; there are: {', '.join(self.shapes)}")
        self._words = strings(language_of_words)
        tables = {
            "shapes": {name: asdict(shape) for name, shape in self.shapes.items()},
            "precisions": {name: list(sizes) for name, sizes in PRECISIONS.items()},
            "optimisers": OPTIMISERS,
            "sharing": list(SHARING),
            "attentions": list(ATTENTIONS),
        }
        traits = {"language": language, "scorer": scorer, "budget": budget, "tables": tables}
        # the base's own argument `language` is that of the words; the trait is the Actor's shape
        super().__init__(language=language_of_words)
        self.set_trait("tables", tables)
        for name, value in {**traits, **settings}.items():
            if name not in self.trait_names():
                raise ValueError(f"there is no setting {name!r}")
            self.set_trait(name, value)

    def plan(self) -> dict[str, Part]:
        """Bytes of the four models at the present settings.

        Raises:
            ValueError: a trunk is to be shared without LoRA.
        """
        return plan(
            self.shapes[self.language],
            self.shapes[self.scorer],
            precision=self.precision,
            optimiser=self.optimiser,
            lora_rank=self.lora_rank,
            sharing=self.sharing,
            rows=self.rows,
            length=self.length,
            checkpointing=self.checkpointing,
            attention=self.attention,
        )

    def picture(self) -> Picture:
        """One bar for each model, and one for the worst moment."""
        try:
            parts = self.plan()
        except ValueError as error:
            return Picture(7.4, 0.4, str(error))
        gib = total(worst(parts)) / GIB
        picture = Picture(7.4, 3.0, self._describe(parts, gib))
        axes = picture.subplots()
        bars = {**parts, self._words["memory_planner.peak"]: worst(parts)}
        for row, part in enumerate(bars.values()):
            left = 0.0
            for kind, colour in KINDS.items():
                size = getattr(part, kind) / GIB
                label = self._words[f"memory_planner.{kind}"] if row == 0 else None
                axes.barh(row, size, left=left, color=colour, edgecolor="white", label=label)
                left += size
            axes.text(left, row, " " + number(left), va="center", color=INK)
        axes.set_yticks(range(len(bars)), list(bars))
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set_xlabel("GiB")
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=4, frameon=False, fontsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        picture.tight_layout()
        return picture

    def _describe(self, parts: dict[str, Part], gib: float) -> str:
        each = ", ".join(f"{name} {number(total(p) / GIB)}" for name, p in parts.items())
        return self._words["memory_planner.alt"].format(each=each, peak=number(gib))
