"""Every live widget in a real JupyterLab: it draws itself, follows Python, and Python follows it.

A new widget is one entry of EXAMPLES: the Python lines that make it, the last of which is the
widget itself. `SETUP` has run before them, so they may use what it makes: four roles, a
`trainer`, its first `record`, a `rollout`, and a small world's `tree`, `tables` and `truth`.
With MINIRLHF_SCREENSHOTS=FOLDER, pictures of the notebook are left there, light and dark.
"""

import importlib
import os
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.jupyterlab_session import JupyterServer, LabPage, write_notebook
from playwright.sync_api import Browser, Locator

import minirlhf.widgets
from minirlhf.widgets.live import LiveWidget

pytestmark = pytest.mark.slow

SETUP = """
import os
import tempfile
os.environ["MINIRLHF_PREDICTIONS"] = tempfile.mkdtemp() + "/predictions.json"
import torch
torch.set_num_threads(1)
import traitlets
import minirlhf
from minirlhf.data import encode_prompts, pad_prompts
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe

actor, reward_model = recipe.load_shipped("cpu")
reference = minirlhf.Reference.from_actor(actor)
critic = minirlhf.Critic.from_reward_model(reward_model)
config = minirlhf.PPOConfig(iterations=2, batch_size=4, minibatch_size=4)
trainer = minirlhf.PPOTrainer(
    actor, reference, critic, reward_model, cafe.PROMPTS, config, judge=recipe.judge
)
prompts = pad_prompts(encode_prompts(actor.tokenizer, cafe.PROMPTS[:4]), actor.filler)
rollout = minirlhf.collect_rollout(actor, reference, critic, reward_model, prompts, config)
record = next(iter(trainer))

from minirlhf.worlds import exact
tree = exact.Tree(words=2, steps=3)
draws = torch.randn(3, tree.n_states, tree.n_tokens, dtype=torch.float64)
tables = draws[0].log_softmax(1), draws[1].log_softmax(1), draws[2]
truth = exact.exact_truth(*tables, tree=tree, kl_coef=0.1)
"""
EXAMPLES: dict[str, str] = {
    "Trivial": '''
from minirlhf.widgets.live import LiveWidget, script, style
from minirlhf.widgets.picture import Picture

class Trivial(LiveWidget):
    """What the base gives, and nothing else."""
    prefix = "trivial"
    beta = traitlets.Float(0.5).tag(sync=True)
    _esm = script() + """
    export default { render({ model, el }) {
      const s = slider({ name: "beta", label: "β", min: 0, max: 1, step: 0.125,
        value: model.get("beta"), apply: () => {}, settle: (x) => write(model, "beta", x) });
      el.append(h("div", { class: "mr" }, s.element, h("button", {}, "does nothing")));
      return follow(model, "beta", (x) => s.set(x));
    } };
    """
    _css = style()

    def picture(self):
        return Picture(2, 1, f"A slider at {self.beta}.")

Trivial()
''',
    "Predict": """
from minirlhf.widgets.predict import Predict

Predict("test", "Without the KL term, gold will …", ["rise", "stay", "fall"])
""",
    "MemoryPlanner": """
from minirlhf.widgets.memory_planner import MemoryPlanner

MemoryPlanner()
""",
    "FourModels": """
from minirlhf.widgets.four_models_live import FourModels

FourModels(trainer, record)
""",
    "StageScrubber": """
from minirlhf.widgets.four_models_live import StageScrubber

StageScrubber(trainer)
""",
    "TokenMicroscope": """
from minirlhf.widgets.token_microscope import TokenMicroscope

TokenMicroscope(rollout, actor.tokenizer, config=config)
""",
    "RewardBuilder": """
from minirlhf.widgets.reward_builder import RewardBuilder

RewardBuilder(rollout, actor.tokenizer, config=config)
""",
    "GAEExplorer": """
from minirlhf.widgets.gae_explorer import GAEExplorer

GAEExplorer(rollout, actor.tokenizer, config=config)
""",
    "ClipExplorer": """
from minirlhf.widgets.clip_explorer import ClipExplorer

ClipExplorer.from_trainer(trainer, rollout, steps=2)
""",
    "KLExplorer": """
from minirlhf.widgets.kl_explorer import KLExplorer

KLExplorer()
""",
    "PrefixTree": """
from minirlhf.widgets.prefix_tree import PrefixTree

PrefixTree(*tables, ["a", "b", "<eos>"], tree=tree)
""",
    "GradientMeter": """
from minirlhf.widgets.gradient_meter import GradientMeter

GradientMeter.of(truth, batch_sizes=[1, 4], repeats=4)
""",
    "ValueStrip": """
from minirlhf.widgets.value_strip import ValueStrip

ValueStrip(["a", "b", "<eos>"], [0, 5], *[torch.eye(3)[:2] + i for i in range(3)])
""",
    "Frontier": """
from minirlhf.course_files import course_folder
from minirlhf.widgets.frontier_live import Frontier
files = [course_folder("assets") / f"exact/{n}.json" for n in ("frontier", "overoptimisation")]

Frontier.from_files(*files)
""",
    "RunReplay": """
from minirlhf.widgets.run_replay import RunReplay

RunReplay([record])
""",
    "TrainingMonitor": """
from minirlhf.widgets.training_monitor import TrainingMonitor

TrainingMonitor(trainer)
""",
    "PreferenceLabeler": """
from minirlhf.widgets.preference_labeler import PreferenceLabeler

PreferenceLabeler(actor, labels=10, repeats=2)
""",
}

FOCUSABLE = "button, input, select, textarea, a[href], [tabindex]"


def live_widgets() -> set[str]:
    """The names of all live widgets in the package."""
    for module in pkgutil.walk_packages(minirlhf.widgets.__path__, "minirlhf.widgets."):
        importlib.import_module(module.name)
    found: set[str] = set()
    todo = [LiveWidget]
    while todo:
        todo += (below := todo.pop().__subclasses__())
        shown = (c for c in below if c.prefix)  # without a prefix it is only a base of others
        found |= {c.__name__ for c in shown if c.__module__.startswith("minirlhf.")}
    return found


def test_the_table_names_every_widget() -> None:
    assert live_widgets() == set(EXAMPLES) - {"Trivial"}


def cell_of(name: str) -> str:
    """The example's lines, its last expression kept under the widget's own name."""
    *before, last = EXAMPLES[name].strip().rsplit("\n\n", 1)
    return "\n".join([*before, f"shown_{name} = {last}", f"shown_{name}"])


@pytest.fixture(scope="module")
def lab(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    """A JupyterLab in which every example has been run; one for the whole file."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "widgets.ipynb", [SETUP, *map(cell_of, EXAMPLES)])
    with JupyterServer(folder) as server:
        page = LabPage(chromium, server, "widgets.ipynb")
        page.run_all_cells()
        yield page
        page.close()


def root_of(lab: LabPage, name: str) -> Locator:
    """The widget's root element on the page."""
    cell = lab.page.locator(".jp-CodeCell").nth(1 + list(EXAMPLES).index(name))
    return cell.locator(".jp-OutputArea-output .mr").first


def test_every_widget_draws_itself_and_nothing_complains(lab: LabPage) -> None:
    assert not lab.problems()
    assert not [name for name in EXAMPLES if root_of(lab, name).count() == 0]


def test_sliders_move_traits_and_traits_move_sliders(lab: LabPage) -> None:
    moved, wrong = 0, []
    for name in EXAMPLES:
        for slider in root_of(lab, name).locator('input[type="range"][name]').all():
            trait = slider.get_attribute("name")
            room = slider.evaluate("(s) => Number(s.max) > Number(s.min) && s.checkVisibility()")
            if not room or not lab.kernel_value(f"shown_{name}.has_trait({trait!r})"):
                continue  # of the picture alone, or there is nothing to choose
            before = lab.kernel_value(f"shown_{name}.{trait}")
            at_end = slider.evaluate("(s) => s.valueAsNumber >= Number(s.max)")
            slider.press("ArrowLeft" if at_end else "ArrowRight")
            lab.wait_idle(100)
            after = lab.kernel_value(f"shown_{name}.{trait}")
            there = slider.evaluate("(s) => s.valueAsNumber")
            if after == before or after != pytest.approx(there, rel=1e-6):
                wrong.append(f"{name}.{trait}: {there} in the browser, {after} in Python")
            slider.blur()  # some do not move while somebody holds them
            lab.kernel_run(f"shown_{name}.{trait} = {before!r}")
            lab.wait_idle(100)
            there = slider.evaluate("(s) => s.valueAsNumber")
            if there != pytest.approx(before, rel=1e-6):
                wrong.append(f"{name}.{trait}: Python set {before}, the browser shows {there}")
            moved += 1
    assert moved >= len(EXAMPLES) / 2
    assert wrong == [] and not lab.problems()


def test_jupyters_shortcuts_do_not_fire_inside_a_widget(lab: LabPage) -> None:
    """In Jupyter "d d" deletes the cell: not while a control of a widget has the focus."""
    cells = lab.cell_count()
    for name in EXAMPLES:
        controls = root_of(lab, name).locator(FOCUSABLE)
        open_to_shortcuts = controls.evaluate_all(
            "(all) => all.filter((e) => e.dataset.lmSuppressShortcuts !== 'true').length"
        )
        assert not open_to_shortcuts, name
        buttons = root_of(lab, name).locator("button:not(:disabled):visible")
        if buttons.count():
            buttons.first.focus()
            lab.page.keyboard.press("d")
            lab.page.keyboard.press("d")
            assert lab.cell_count() == cells, name
            assert root_of(lab, name).count() == 1
    assert not lab.problems()


def test_the_dark_theme_makes_widgets_dark(lab: LabPage) -> None:
    brightness = """(root) => { const [r, g, b] = getComputedStyle(root).backgroundColor
        .match(/[\\d.]+/g).map(Number); return (r + g + b) / 765; }"""
    pictures = os.environ.get("MINIRLHF_SCREENSHOTS")
    for theme, is_dark in (("JupyterLab Light", False), ("JupyterLab Dark", True)):
        lab.set_theme(theme)
        for name in EXAMPLES:
            assert (root_of(lab, name).evaluate(brightness) < 0.5) == is_dark, (name, theme)
        if pictures:
            lab.screenshot(Path(pictures) / f"{theme.replace(' ', '-')}.png")
    assert not lab.problems()
