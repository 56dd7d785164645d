"""The map of the four models as plain data for the live widget, and the nine steps over it.

Boxes, formulas and arrows stand where the static picture has them (`scenes`); here they get names,
so that a step, or "you are here", can point at them.
"""

from typing import Any, NamedTuple

from minirlhf.widgets.scenes import HEIGHT, MODEL_WIDTH, MODELS, SCENES, WIDTH, Scene

# names of the formulas, in the order of `scenes`
NODES: dict[str, tuple[str, ...]] = {
    "sft": ("sft_loss",),
    "reward": ("preference_loss",),
    "ppo": ("actor_loss", "kl", "rewards", "target", "advantages", "critic_loss"),
}
PLACES = (*MODELS, *dict.fromkeys(name for names in NODES.values() for name in names))

# what is passed on: shape in symbols, unit
QUANTITIES: dict[str, tuple[str, str]] = {
    "prompt_ids": ("(B, P)", "ids"),
    "response_ids": ("(B, R)", "ids"),
    "old_log_probs": ("(B, R)", "nats"),
    "ref_log_probs": ("(B, R)", "nats"),
    "kl": ("(B, R)", "nats"),
    "scores": ("(B,)", "reward"),
    "old_values": ("(B, R)", "reward"),
    "rewards": ("(B, R)", "reward"),
    "td_target": ("(B, R)", "reward"),
    "returns": ("(B, R)", "reward"),
    "advantages": ("(B, R)", "reward"),
    "used_advantages": ("(B, R)", "none"),
    "actor_loss": ("()", "none"),
    "critic_loss": ("()", "reward2"),
}


class Step(NamedTuple):
    """One click of the stepper: what is lit, and which quantities are shown where."""

    places: tuple[str, ...]  # models and formulas
    arrows: tuple[int, ...]  # numbers of the arrows, in the order of `scenes`
    badges: tuple[tuple[str, float, float], ...]  # quantity, and the middle of its badge


STEPS: tuple[Step, ...] = (
    Step(("Actor",), (0, 1, 2), (("prompt_ids", 11, 49.3), ("response_ids", 63, 54.5))),
    Step(("Actor",), (6,), (("old_log_probs", 20, 30.8),)),
    Step(("Reference", "kl"), (3, 7), (("ref_log_probs", 36, 30.8), ("kl", 27, 16.3))),
    Step(("RewardModel",), (4, 9), (("scores", 62, 30.8),)),
    Step(("Critic",), (5, 11, 12), (("old_values", 88.5, 30.8),)),
    Step(
        ("kl", "rewards"), (8, 9), (("kl", 27, 16.3), ("scores", 62, 30.8), ("rewards", 62, 16.3))
    ),
    Step(
        ("rewards", "target", "advantages", "Critic"),
        (10, 11, 14),
        (("old_values", 88.5, 30.8), ("td_target", 87, 16.3), ("advantages", 62, 1.0)),
    ),
    Step(
        ("advantages", "actor_loss", "Actor"),
        (15, 16, 17),
        (("used_advantages", 37.5, 4.0), ("actor_loss", 14, 1.0)),
    ),
    Step(
        ("target", "critic_loss", "Critic"),
        (12, 13, 18),
        (("td_target", 84, 16.3), ("critic_loss", 86, 1.0)),
    ),
)


def map_of(stage: str) -> dict[str, Any]:
    """The geometry of one stage, in drawing units with y upwards.

    Args:
        stage: "sft", "reward" or "ppo".

    Returns:
        Plain JSON: the bar of the texts, models, formulas ("nodes") and arrows.
    """
    scene: Scene = SCENES[stage]
    nodes = [
        {"id": name, "x": n.x, "y": n.y, "width": n.width, "loss": n.loss}
        for name, n in zip(NODES[stage], scene.nodes, strict=True)
    ]
    arrows = [
        {
            "points": [list(p) for p in a.points],
            "label": bool(a.label),
            "at": list(a.at),
            "gradient": a.gradient,
        }
        for a in scene.arrows
    ]
    models = [{"id": name, "x": m.x, "colour": m.colour} for name, m in MODELS.items()]
    return {
        "number": scene.number,
        "size": [WIDTH, HEIGHT],
        "bottom": min(n.y for n in scene.nodes) - 5.0,
        "model_width": MODEL_WIDTH,
        "bus": scene.bus[0],
        "nodes": nodes,
        "arrows": arrows,
        "models": models,
    }


def steps_for(critic_target: str) -> list[dict[str, Any]]:
    """The nine steps as plain JSON; with `critic_target="gae"` the Critic's target is `returns`."""
    name = {"td_target": "returns"} if critic_target == "gae" else {}
    return [
        {
            "places": list(step.places),
            "arrows": list(step.arrows),
            "badges": [[name.get(field, field), x, y] for field, x, y in step.badges],
        }
        for step in STEPS
    ]
