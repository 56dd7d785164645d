"""The picture of the course: four models, who trains, who is frozen, and what flows where.

The README's copy, assets/four_models.png, is written by

    python -c "import minirlhf.widgets as w; w.four_models_figure().save('assets/four_models.png')"
"""

from collections.abc import Iterable

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from minirlhf.backbone import Role
from minirlhf.widgets.picture import GREY, INK, PALE, Picture
from minirlhf.widgets.scenes import (
    BUS_BOTTOM,
    HEIGHT,
    MODEL_BOTTOM,
    MODEL_TOP,
    MODEL_WIDTH,
    MODELS,
    SCENES,
    STAGES,
    WIDTH,
    Arrow,
    Model,
    Node,
    Scene,
    Stage,
    describe,
)


def four_models_figure(stage: Stage | None = None, roles: Iterable[Role] | None = None) -> Picture:
    """Draw the four models of RLHF, who trains and who is frozen, and what flows between them.

    Trained: thick border and the word. Frozen: thin border, hatched, a snowflake and the word.
    Dashed arrows are gradients.

    Args:
        stage: "sft", "reward" or "ppo" shows what takes part in that stage and marks it as "you
            are here"; None shows PPO, the full picture, and marks nothing.
        roles: real roles; their number of parameters and whether they are trained or frozen
            come from them, whatever is expected.

    Returns:
        A picture.

    Raises:
        ValueError: the stage is unknown, or two roles are of the same kind.
    """
    if stage is not None and stage not in SCENES:
        raise ValueError(f"unknown stage {stage!r}, wanted one of {', '.join(SCENES)} or None")
    scene = SCENES[stage or "ppo"]
    real = _by_name(roles or ())
    trained = scene.present | {name: r.trainable for name, r in real.items() if name in MODELS}
    trained = {name: trained[name] for name in MODELS if name in scene.present}
    counts = {name: sum(p.numel() for p in role.parameters()) for name, role in real.items()}
    bottom = min(node.y for node in scene.nodes) - 3.5
    height = (HEIGHT - bottom) / 10
    picture = Picture(WIDTH / 10, height, describe(scene, stage, trained, counts))
    ax = picture.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, WIDTH)
    ax.set_ylim(bottom, HEIGHT)
    ax.set_axis_off()
    _draw_stages(ax, scene.number if stage else 0)
    _draw_texts(ax, scene)
    for name, model in MODELS.items():
        captions = scene.captions.get(name, (model.does, model.starts))
        _draw_model(ax, model, trained.get(name), counts.get(name), captions)
    for node in scene.nodes:
        _draw_node(ax, node)
    for arrow in scene.arrows:
        if not arrow.gradient or trained[arrow.gradient]:
            _draw_arrow(ax, arrow)
    return picture


def _by_name(roles: Iterable[Role]) -> dict[str, Role]:
    named: dict[str, Role] = {}
    for role in roles:
        name = type(role).__name__
        if name in named:
            raise ValueError(f"got two roles of the kind {name}, wanted at most one of each")
        named[name] = role
    return named


def _draw_stages(ax: Axes, current: int) -> None:
    """The three stages in a row; the current one is framed, and "you are here" stands below."""
    for i, text in enumerate(STAGES, start=1):
        x, here = 4 + (i - 1) * 31.0, i == current
        _box(
            ax, x, 60.5, 30, 4, "#fff6d6" if here else "#f2f2f2", INK if here else PALE, 1.8 * here
        )
        bold, colour = ("bold", INK) if here else ("normal", GREY)
        _text(ax, x + 15, 62.5, text, size=10, weight=bold, colour=colour)
        if here:
            _text(ax, x + 15, 58.8, "▲ you are here", size=9.5, weight="bold")


def _draw_texts(ax: Axes, scene: Scene) -> None:
    left, text = scene.bus
    _box(ax, left, BUS_BOTTOM, 96 - left, 5, "#f4f1ea", GREY, 1.0)
    _text(ax, (left + 96) / 2, 54.5, text, size=10)
    if scene.number == 3:
        _box(ax, 4, BUS_BOTTOM, 18, 5, "#f4f1ea", GREY, 1.0)
        _text(ax, 13, 54.5, "prompt x", size=10)


def _draw_model(
    ax: Axes, model: Model, trained: bool | None, count: int | None, captions: tuple[str, str]
) -> None:
    """A box; `trained` is None for a model that takes no part in the stage."""
    x, y, height = model.x, MODEL_BOTTOM, MODEL_TOP - MODEL_BOTTOM
    if trained is None:
        _box(ax, x, y, MODEL_WIDTH, height, "white", PALE, 1.0, dash=":")
        _text(ax, x + 10, y + 8, model.title, size=11, colour=GREY)
        _text(ax, x + 10, y + 4, "not in this stage", size=9, colour=GREY)
        return
    _box(ax, x, y, MODEL_WIDTH, height, model.colour, "none", 0, alpha=0.16)
    if not trained:
        _box(ax, x, y, MODEL_WIDTH, 3.6, "none", "#9aa7b0", 0, hatch="////")
    _box(ax, x, y, MODEL_WIDTH, height, "none", INK if trained else GREY, 3.2 if trained else 1.0)
    size = "" if count is None else f"   {count / 1e6:.3g} M"
    state = "✎ trained" if trained else "❄ frozen"
    _text(ax, x + 10, y + 10.3, model.title, size=12, weight="bold")
    _text(ax, x + 10, y + 7.4, captions[0], size=8.8)
    _text(ax, x + 10, y + 5.1, captions[1], size=8.8, colour="#444444")
    _text(ax, x + 10, y + 1.8, state + size, size=9.5, weight="bold", pad=not trained)


def _draw_node(ax: Axes, node: Node) -> None:
    face, edge = ("#fde9e4", INK) if node.loss else ("white", GREY)
    _box(ax, node.x, node.y, node.width, 8, face, edge, 1.6 if node.loss else 1.0)
    name, formula = node.text.split("\n")
    _text(ax, node.x + node.width / 2, node.y + 5.6, name, size=10.5, weight="bold")
    _text(ax, node.x + node.width / 2, node.y + 2.4, formula, size=9)


def _draw_arrow(ax: Axes, arrow: Arrow) -> None:
    gradient = bool(arrow.gradient)
    ax.add_patch(
        FancyArrowPatch(
            path=Path(arrow.points),
            arrowstyle="-|>,head_length=4.5,head_width=2.4",
            color="#a03000" if gradient else "#333333",
            linewidth=2.2 if gradient else 1.1,
            linestyle=(0, (3, 1.5)) if gradient else "-",
            joinstyle="miter",
            shrinkA=0,
            shrinkB=0,
        )
    )
    if arrow.label:
        rotation = 90 if gradient else 0
        _text(
            ax, *arrow.at, arrow.label, size=9, rotation=rotation, pad=gradient, left=not gradient
        )


def _box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    face: str,
    edge: str,
    line: float,
    *,
    dash: str = "-",
    hatch: str = "",
    alpha: float = 1.0,
) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=1",
            facecolor=face,
            edgecolor=edge,
            linewidth=line,
            linestyle=dash,
            hatch=hatch,
            alpha=alpha,
        )
    )


def _text(
    ax: Axes,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    weight: str = "normal",
    colour: str = INK,
    rotation: float = 0,
    pad: bool = False,
    left: bool = False,
) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5} if pad else None
    ax.text(
        x,
        y,
        text,
        fontsize=size,
        fontweight=weight,
        color=colour,
        rotation=rotation,
        ha="left" if left else "center",
        va="center",
        bbox=box,
        linespacing=1.3,
    )
