"""The two widgets that train, used in a real JupyterLab as a person would, with a real kernel.

The monitor's buttons and β are pressed *while* the cell `monitor.wait()` runs: an ordinary widget
is deaf then, since the kernel's main thread waits in that cell.
"""

import json
from collections.abc import Iterator

import pytest
from browser.jupyterlab_session import JupyterServer, LabPage, write_notebook
from playwright.sync_api import Browser, expect

from minirlhf.widgets.picture import number

pytestmark = pytest.mark.slow

SETUP = """
import json
import torch
torch.set_num_threads(1)
import minirlhf
from minirlhf.worlds import cafe
from minirlhf.worlds.cafe import recipe
actor, reward_model = recipe.load_shipped("cpu")
"""
MONITOR = """
from minirlhf.widgets.training_monitor import TrainingMonitor
config = minirlhf.PPOConfig(iterations=2000, batch_size=4, minibatch_size=4)
trainer = minirlhf.PPOTrainer(
    actor, minirlhf.Reference.from_actor(actor), minirlhf.Critic.from_reward_model(reward_model),
    reward_model, cafe.PROMPTS, config, judge=recipe.judge,
)
monitor = TrainingMonitor(trainer)
monitor
"""
RESULTS = """
print(json.dumps({"records": len(records), "state": monitor.state, "kl_coef": monitor.kl_coef,
                  "used": [r.metrics["kl_coef"] for r in records]}))
"""
LABELER = """
from minirlhf.widgets.preference_labeler import PreferenceLabeler
from minirlhf.worlds.cafe import taste_run
taste_run.SPLITS = 1  # of four: the check of held-out labels takes half of the time
ppo = minirlhf.PPOConfig(iterations=8, kl_coef=0.02)
labeler = PreferenceLabeler(actor, labels=10, repeats=2, path="labels.jsonl", ppo=ppo)
labeler
"""
OUTPUT = ".jp-OutputArea-output"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    folder = tmp_path_factory.mktemp("training")
    waits = "records = monitor.wait()"
    write_notebook(folder / "monitor.ipynb", [SETUP, MONITOR, waits, RESULTS])
    write_notebook(folder / "labeler.ipynb", [SETUP, LABELER])
    with JupyterServer(folder) as server:
        yield server


@pytest.fixture
def open_lab(chromium: Browser, server: JupyterServer) -> Iterator[object]:
    pages: list[LabPage] = []

    def open_notebook(name: str) -> LabPage:
        pages.append(LabPage(chromium, server, name))
        pages[0].page.set_default_timeout(20_000)
        return pages[0]

    yield open_notebook
    pages[0].close()


def prompt_of(lab: LabPage, cell: int) -> str:
    """ "[*]:" while the cell runs, or waits for its turn."""
    return lab.page.locator(".jp-CodeCell .jp-InputPrompt").nth(cell).inner_text()


def test_the_monitor_obeys_while_the_cell_that_waits_runs(open_lab) -> None:
    lab = open_lab("monitor.ipynb")
    lab.start_all_cells()
    monitor = lab.page.locator(".mr-monitor")
    state, steps = monitor.locator(".mr-status"), monitor.locator(".mr-bar > .mr-code")
    go, stop = (monitor.locator(f"button[name={name}]") for name in ("go", "stop"))

    expect(state).to_have_text("running", timeout=60_000)
    go.click()
    expect(state).to_have_text("paused")
    assert prompt_of(lab, 2) == prompt_of(lab, 3) == "[*]:"
    lab.page.wait_for_timeout(1000)  # the step that it was at ends
    at = steps.inner_text()

    slider = monitor.get_by_role("slider")
    for _ in range(3):
        slider.press("ArrowRight")
    assert slider.input_value() == "0.065"
    lab.page.wait_for_timeout(500)
    assert steps.inner_text() == at

    go.press("Enter")
    expect(state).to_have_text("running")
    expect(monitor.locator(".mr-panel").first.locator(".mr-change")).not_to_have_count(0)
    expect(steps).not_to_have_text(at)
    assert prompt_of(lab, 2) == "[*]:"
    stop.press("Enter")
    expect(state).to_have_text("stopped")
    lab.wait_for_cells()

    said = json.loads(lab.page.locator(".jp-CodeCell").nth(3).locator(OUTPUT).inner_text())
    assert said["state"] == "stopped" and said["kl_coef"] == 0.065
    assert 1 <= said["records"] < 2000 and f"step {said['records']} of" in steps.inner_text()
    assert said["used"][0] == 0.05 and said["used"][-1] == 0.065
    assert not lab.problems()


def test_the_labeler_labels_trains_and_asks_about_the_answer_that_fools(open_lab) -> None:
    """Somebody who likes short answers, and once presses the wrong key."""
    lab = open_lab("labeler.ipynb")
    lab.run_all_cells()
    labeler = lab.page.locator(".mr-labeler")
    sides = {side: labeler.locator(f"button[name={side}]") for side in ("left", "right")}
    texts = {side: button.locator("bdi") for side, button in sides.items()}

    expected = []
    for asked in range(12):
        length = {side: len(text.inner_text()) for side, text in texts.items()}
        side = min(length, key=length.__getitem__)
        if asked < 4:
            sides[side].click()
        else:
            lab.page.keyboard.press(f"Arrow{side.title()}")
        expected.append(side)
        if asked == 5:
            lab.page.keyboard.press("ArrowLeft")
            lab.page.keyboard.press("Backspace")
        expect(labeler).to_contain_text(f"{asked + 1} of 12 labelled")
    lab.wait_idle()
    assert lab.kernel_value("labeler.choices") == expected
    rows = lab.kernel_value("open('labels.jsonl').read().splitlines()")
    assert len(rows) == 12

    train = labeler.locator("button[name=train]")
    expect(train).to_be_focused()
    lab.page.keyboard.press("Enter")
    expect(labeler.get_by_label("share of the training done")).to_be_visible()
    expect(labeler.locator(".mr-result table")).to_be_visible(timeout=60_000)

    # what the next cell reads is what is shown: before, after, and the answer that fools
    found = lab.kernel_run("result = labeler.wait()", "labeler.result")
    assert lab.kernel_value("labeler.state") == "done"
    text = labeler.locator(".mr-result").inner_text()
    assert len(found["before"]) == len(found["after"]) == labeler.locator("tbody tr").count() >= 3
    for before, after in zip(found["before"], found["after"], strict=True):
        assert before["text"] in text and after["text"] in text
    scores = lab.kernel_value("list(result.scores)")
    assert f"from {number(scores[0])} to {number(scores[1])}" in text and scores[1] > scores[0]
    assert len(found["fooled"]) == 2 and found["fooled"][0]["text"] in text
    labeler.locator("button[name=verdict_right]").press("Enter")
    lab.wait_idle()
    assert lab.kernel_value("labeler.verdict") == "right"
    assert not lab.problems()
