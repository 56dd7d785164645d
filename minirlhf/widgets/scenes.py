"""What the picture of the four models shows: boxes, formulas, arrows, and which stage has which.

Left out: the old log-probs (those of the rollout, at which every ratio is 1), the clips and λ;
notebooks 06 and 07 zoom in on them.
"""

from typing import Literal, NamedTuple

from minirlhf.widgets.picture import BLUE, ORANGE, SKY, VERMILION

Stage = Literal["sft", "reward", "ppo"]
Point = tuple[float, float]

WIDTH, HEIGHT = 100.0, 66.0  # drawing units; ten of them are an inch


class Model(NamedTuple):
    """One of the four boxes; models that start from the same weights have colours of one family."""

    title: str
    x: float
    colour: str
    does: str
    starts: str
    trained: bool  # in stage 3; a real Role says for itself


class Node(NamedTuple):
    """A formula between the models."""

    x: float
    y: float
    width: float
    text: str
    loss: bool = False


class Arrow(NamedTuple):
    """What flows where: a line with corners, and its label."""

    points: tuple[Point, ...]
    label: str = ""
    at: Point = (0.0, 0.0)
    gradient: str = ""  # name of the role that this arrow trains; dashed


class Scene(NamedTuple):
    """What takes part in a stage."""

    number: int  # 1, 2, 3; 0 = none is highlighted
    present: dict[str, bool]  # name of a role -> trained?
    bus: tuple[float, str]  # left end and text of the bar that carries the texts
    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]
    captions: dict[str, tuple[str, str]]  # name of a role -> other lines than its own


MODEL_WIDTH, MODEL_BOTTOM, MODEL_TOP, BUS_BOTTOM = 20.0, 34.0, 46.5, 52.0
MODELS = {
    "Actor": Model("Actor", 4, BLUE, "writes the response", "starts as the SFT model", True),
    "Reference": Model(
        "Reference", 28, SKY, "keeps the Actor close", "is the SFT model, kept", False
    ),
    "RewardModel": Model(
        "Reward model", 52, VERMILION, "scores a whole response", "was trained in stage 2", False
    ),
    "Critic": Model(
        "Critic", 76, ORANGE, "foresees the reward to come", "starts as the Reward model", True
    ),
}
STAGES = ("1  SFT: imitate", "2  Reward model: what pleases?", "3  PPO: please them")

_SFT = Scene(
    1,
    {"Actor": True},
    (4, "examples that people wrote:  prompt x  and completion y"),
    (Node(4, 19.5, 20, "sft_loss\n" + r"mean of $-\log\,\pi(A_t\,|\,S_t)$", loss=True),),
    (
        Arrow(((14, 52), (14, 46.5))),
        Arrow(((14, 34), (14, 27.5)), "log_probs", (14.6, 30.8)),
        Arrow(((4, 23.5), (1.5, 23.5), (1.5, 40), (4, 40)), "gradient", (1.5, 31.5), "Actor"),
    ),
    {"Actor": ("learns to write like people", "will be the SFT model")},
)
_REWARD = Scene(
    2,
    {"RewardModel": True},
    (4, "prompt x  and two responses of the SFT model;  people say which one they prefer"),
    (Node(52, 19.5, 20, "preference_loss\n" + r"$-\log\,\sigma(r_{chosen}-r_{rejected})$", True),),
    (
        Arrow(((62, 52), (62, 46.5))),
        Arrow(((62, 34), (62, 27.5)), "2 scores", (62.7, 30.8)),
        Arrow(((72, 23.5), (74, 23.5), (74, 40), (72, 40)), "gradient", (74, 31.5), "RewardModel"),
    ),
    {"RewardModel": ("learns what people prefer", "starts as SFT model + head")},
)
_PPO = Scene(
    3,
    {name: model.trained for name, model in MODELS.items()},
    (30, "prompt x  +  response y,  token by token:  $A_0\\ A_1\\ A_2$ …"),
    (
        Node(4, 4, 20, "actor_loss\nmore of what beat $V_t$", loss=True),
        Node(17, 19.5, 20, "$\\mathbf{kl}_t$\nlog_probs − ref_log_probs"),
        Node(51, 19.5, 22, "$\\mathbf{R}_t$\n" + r"$-\beta\,kl_t$  (+ score at the end)"),
        Node(78, 19.5, 14, "target\n" + r"$R_t + \gamma V_{t+1}$"),
        Node(51, 4, 22, "$\\mathbf{\\hat{A}}_t$\nbetter than expected?"),
        Node(76, 4, 20, "critic_loss\n" + r"$\frac{1}{2}$ MSE(target, $V_t$)", loss=True),
    ),
    (
        Arrow(((22, 54.5), (30, 54.5))),
        Arrow(((10, 52), (10, 46.5))),
        Arrow(((20, 46.5), (20, 49.3), (33, 49.3), (33, 52)), "writes", (24, 50.3)),
        Arrow(((40, 52), (40, 46.5)), "reads", (40.7, 49.3)),
        Arrow(((62, 52), (62, 46.5)), "reads", (62.7, 49.3)),
        Arrow(((86, 52), (86, 46.5)), "reads", (86.7, 49.3)),
        Arrow(((20, 34), (20, 27.5)), "log_probs", (20.6, 30.8)),
        Arrow(((34, 34), (34, 27.5)), "ref_log_probs", (34.6, 30.8)),
        Arrow(((37, 23.5), (51, 23.5)), r"times $-\beta$", (40.5, 24.7)),
        Arrow(((62, 34), (62, 27.5)), "score", (62.7, 30.8)),
        Arrow(((73, 23.5), (78, 23.5))),
        Arrow(((85, 34), (85, 27.5)), "$V_{t+1}$", (85.6, 30.8)),
        Arrow(((94.5, 34), (94.5, 12)), "$V_t$", (91.8, 30.8)),
        Arrow(((88, 19.5), (88, 12))),
        Arrow(((81, 19.5), (81, 15.8), (62, 15.8), (62, 12)), "minus $V_t$", (66, 16.9)),
        Arrow(((51, 8), (24, 8)), "for each token: + better, − worse", (26, 9.3)),
        Arrow(((9, 34), (9, 12)), "log_probs", (9.6, 17)),
        Arrow(((4, 8), (1.5, 8), (1.5, 40), (4, 40)), "gradient", (1.5, 24), "Actor"),
        Arrow(((96, 8), (98.5, 8), (98.5, 40), (96, 40)), "gradient", (98.5, 24), "Critic"),
    ),
    {},
)
SCENES: dict[str, Scene] = {"sft": _SFT, "reward": _REWARD, "ppo": _PPO}


def describe(
    scene: Scene, stage: str | None, trained: dict[str, bool], counts: dict[str, int]
) -> str:
    """Alternative text: what the picture says, in words."""
    parts = []
    for name, model in MODELS.items():
        if name not in trained:
            parts.append(f"{model.title}: not in this stage")
            continue
        count = f", {counts[name]:,} parameters" if name in counts else ""
        parts.append(f"{model.title}: {'trained' if trained[name] else 'frozen'}{count}")
    losses = " and ".join(node.text.split("\n")[0] for node in scene.nodes if node.loss)
    where = f"You are here: stage {scene.number} of 3. " if stage else ""
    return f"{where}The four models of RLHF. {'; '.join(parts)}. Loss: {losses}."
