"""The four-model picture, live: who trains, who is frozen, what flows where, in nine clicks.

    FourModels(trainer, record)    one PPO iteration, step by step, with its numbers
    FourModels(here="Critic")      "you are here", for the top of a notebook
    StageScrubber(trainer)         SFT → reward model → PPO: who exists, who trains

The still picture of the same is `four_models_figure`.
"""

from collections.abc import Sequence
from textwrap import fill
from typing import Any, Literal

import traitlets

from minirlhf.backbone import Role
from minirlhf.batch import StepRecord
from minirlhf.trainer import Trainer
from minirlhf.widgets.four_models import four_models_figure
from minirlhf.widgets.four_models_facts import facts_of
from minirlhf.widgets.four_models_map import PLACES, QUANTITIES, map_of, steps_for
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import INK, Picture
from minirlhf.widgets.scenes import MODELS, SCENES, Stage

Mode = Literal["steps", "stages", "here"]
PURPLE = "#8a3a6f"  # of "you are here": dark enough for text on white


class FourModels(LiveWidget):
    """The four models of RLHF, and one PPO iteration over them in nine steps.

    Args:
        trainer: an SFT, reward-model or PPO trainer; says who trains and who is frozen in its
            stage, how many parameters they have, and (PPO) γ, λ and the Critic's target. None =
            what the course expects, without counts.
        record: what a PPO trainer yielded; gives shapes, means and some rows to the nine steps.
        here: marks places as "you are here": names of models ("Actor", "Reference",
            "RewardModel", "Critic") or formulas ("kl", "rewards", "target", "advantages",
            "actor_loss", "critic_loss", "sft_loss", "preference_loss"); one or several.
        stage: shown first: "sft", "reward" or "ppo".
        mode: "steps" (the stepper), "stages" (who exists, trains or is frozen in each stage) or
            "here" (the map alone); None = "here" if `here` is given, else "steps".
        language: of the words shown.

    Raises:
        ValueError: an unknown stage, mode or place, a place that the stage does not have, a trainer
            of another algorithm, or a record without rollout.
    """

    prefix = "four_models"
    _esm = script("four_models_map", "four_models")
    _css = style("four_models")
    stage = traitlets.Enum(tuple(SCENES), "ppo").tag(sync=True)
    step = traitlets.Int(0, min=0, max=9).tag(sync=True)  # 0 = the whole picture
    row = traitlets.Int(0, min=0).tag(sync=True)  # the response whose tokens are shown
    mode = traitlets.Enum(("steps", "stages", "here"), "steps").tag(sync=True)
    here = traitlets.List(traitlets.Enum(PLACES)).tag(sync=True)
    trained = traitlets.Dict().tag(sync=True)  # stage -> name of a model -> trained?
    counts = traitlets.Dict().tag(sync=True)  # name of a model -> parameters
    facts = traitlets.Dict().tag(sync=True)  # of the record
    _maps = traitlets.Dict().tag(sync=True)
    _steps: Any = traitlets.List().tag(sync=True)
    _quantities = traitlets.Dict().tag(sync=True)
    _target = traitlets.Unicode("td").tag(sync=True)

    def __init__(
        self,
        trainer: Trainer | None = None,
        record: StepRecord | None = None,
        here: str | Sequence[str] | None = None,
        stage: Stage = "ppo",
        *,
        mode: Mode | None = None,
        language: str = "en",
    ) -> None:
        places = [here] if isinstance(here, str) else list(here or ())
        mode = mode or ("here" if places else "steps")
        _check(places, stage, mode)
        self._roles = _roles(trainer)
        config = getattr(trainer, "config", None) if _stage_of(trainer) == "ppo" else None
        tokenizer = next(iter(self._roles.values())).tokenizer if self._roles else None
        target = getattr(config, "critic_target", "td")
        super().__init__(
            language=language,
            stage=stage,
            mode=mode,
            here=places,
            trained=_trained(trainer, self._roles),
            counts={n: sum(p.numel() for p in r.parameters()) for n, r in self._roles.items()},
            facts=facts_of(record, config, tokenizer),
            _maps={name: map_of(name) for name in SCENES},
            _steps=steps_for(target),
            _quantities={name: list(about) for name, about in QUANTITIES.items()},
            _target=target,
        )

    def sentence(self, step: int) -> str:
        """What a step does, with the record's numbers, as the widget says it; 0 = the whole."""
        words: dict[str, str] = self._strings
        text = words[f"four_models.step.{step}"]
        values = self.facts.get("values", {})
        if step and values:
            shown = {n: "–" if v is None else _number(v, d) for n, (v, d) in values.items()}
            numbers = words[f"four_models.step.{step}.numbers"]
            text += " " + numbers.format_map(_Known(shown))
        return text

    def picture(self) -> Picture:
        """The stage as a static picture; the current step is written below it."""
        whole = self.mode == "steps" and self.stage == "ppo"
        stage: Any = None if whole else self.stage
        picture = four_models_figure(stage, self._roles.values())
        if self.here:
            _mark(picture, self.stage, list(self.here), self._strings["four_models.here"])
        if whole and self.step:
            _write_below(picture, f"{self.step} / 9   {self.sentence(self.step)}")
        return picture


class StageScrubber(FourModels):
    """The three stages side by side: which models exist, train or are frozen in each.

    Args:
        trainer: see `FourModels`.
        stage: shown first.
        language: of the words shown.
    """

    def __init__(
        self, trainer: Trainer | None = None, stage: Stage = "sft", *, language: str = "en"
    ) -> None:
        super().__init__(trainer, stage=stage, mode="stages", language=language)


class _Known(dict[str, str]):
    """A number that the record does not have shows as a dash."""

    def __missing__(self, key: str) -> str:
        return "–"


def _number(x: float, digits: int) -> str:
    text = f"{x:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _check(places: Sequence[str], stage: str, mode: str) -> None:
    if stage not in SCENES:
        raise ValueError(f"unknown stage {stage!r}, wanted one of {', '.join(SCENES)}")
    if mode not in ("steps", "stages", "here"):
        raise ValueError(f"unknown mode {mode!r}, wanted steps, stages or here")
    known = [n for n in MODELS if n in SCENES[stage].present]
    known += [node["id"] for node in map_of(stage)["nodes"]]
    for place in places:
        if place not in known:
            raise ValueError(
                f"{place!r} is no place of stage {stage!r}, which has {', '.join(known)}"
            )


def _stage_of(trainer: Trainer | None) -> str | None:
    return None if trainer is None else str(getattr(trainer, "stage", "?"))


def _roles(trainer: Trainer | None) -> dict[str, Role]:
    """The models that a trainer has, by name."""
    if trainer is None:
        return {}
    if _stage_of(trainer) not in SCENES:
        raise ValueError(
            f"this picture shows the stages {', '.join(SCENES)}; got a trainer of "
            f"{_stage_of(trainer)!r}, which has other models"
        )
    names = ("actor", "reference", "reward_model", "critic")
    found = [*trainer.roles.values(), *(getattr(trainer, name, None) for name in names)]
    return {_model_of(r): r for r in found if isinstance(r, Role)}


def _model_of(role: Role) -> str:
    """Which of the four models it is, or is a kind of."""
    kinds = [kind.__name__ for kind in type(role).__mro__]
    return next((name for name in kinds if name in MODELS), kinds[0])


def _trained(trainer: Trainer | None, roles: dict[str, Role]) -> dict[str, dict[str, bool]]:
    """Stage -> model -> trained?; the trainer's own stage from its real roles."""
    trained = {name: dict(scene.present) for name, scene in SCENES.items()}
    if trainer is not None:
        own = trained[str(_stage_of(trainer))]
        own |= {n: r.trainable for n, r in roles.items() if n in own}
    return trained


def _mark(picture: Picture, stage: str, here: list[str], words: str) -> None:
    """A frame round each place, and "you are here" above it."""
    ax: Any = picture.axes[0]
    scene = map_of(stage)
    for place in here:
        node = next((n for n in scene["nodes"] if n["id"] == place), None)
        if node is not None:
            x, y, width, height = node["x"], node["y"], node["width"], 8.0
        else:
            x, y, width, height = MODELS[place].x, 34.0, scene["model_width"], 12.5
        corners_x, corners_y = [x, x + width, x + width, x, x], [y, y, y + height, y + height, y]
        ax.plot(corners_x, corners_y, color=PURPLE, linewidth=4, zorder=5)
        box = {"facecolor": "white", "edgecolor": PURPLE, "pad": 2}
        ax.text(
            x + width / 2, y + height, f"▼ {words}", ha="center", va="center", fontsize=9.5,
            color=PURPLE, fontweight="bold", bbox=box, zorder=6,
        )  # fmt: skip
    picture.alt = f"{words}: {', '.join(here)}. {picture.alt}"


def _write_below(picture: Picture, text: str) -> None:
    """Make the picture higher, and write below it."""
    wrapped = fill(text, 118)
    more = 0.24 * (wrapped.count("\n") + 1) + 0.15
    width, height = picture.get_size_inches()
    picture.set_size_inches(width, height + more)
    picture.axes[0].set_position((0, more / (height + more), 1, height / (height + more)))
    picture.text(0.03, (more - 0.08) / (height + more), wrapped, color=INK, va="top", fontsize=10)
    picture.alt = f"{picture.alt} {text}"
