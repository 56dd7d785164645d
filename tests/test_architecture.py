"""What may import what, how long a file may be, and what `import minirlhf` brings along."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirlhf import threads

PACKAGE = Path(__file__).parent.parent / "minirlhf"
LONGEST = 250  # lines

# A module imports only from rows above its own; so there can be no cycle. `minirlhf` is __init__.
LEVELS = """
records, masks, numbers, files: masks batch noise threads hub atomic course_files start config_rules
                    shapes notebook_files data_report
                    data_split data_sources memory_passes
formulas:           log_probs kl rewards advantages baselines metrics data loading history
                    predictions memory lora processes sharding
                    adapter_files
formulas on those:  losses config recording data_formats tracking special_tokens
                    model_card backbone
data, to rows:      data_chat
                    data_fit
                    data_duplicates
                    data_rows
pairs by hand:      labelling
other engines:      handover
                    handover_openrlhf handover_verl
memory:             chunked_log_probs checkpointing offload
                    output_head
role parts:         generation scorer online_metrics dpo_loss resume trainer
decoding on a GPU:  static_decoding
actor:              actor checkpoint pair_trainer
actor's relatives:  reference reward_model sft_trainer
critic, stage 2:    critic evaluation reward_trainer dpo_trainer text_scores reward_ensemble
rollout, truth:     rollout continuations
                    monte_carlo
stage 3, shared:    online_trainer
stage 3:            ppo_trainer reinforce_trainer rloo_trainer grpo_trainer
public names:       minirlhf
museum, frame:      museum.bug
museum, exhibits:   museum.switch museum.sampling_bugs museum.formula_bugs museum.update_bugs
                    museum
runs on disk:       provenance
                    run_folder recorder
in the background:  background
                    background_training
café, words:        worlds worlds.cafe.words
café, grammar:      worlds.cafe.reader worlds.cafe.grammar worlds.cafe.tokenizer
café, gold:         worlds.cafe.gold
café, preferences:  worlds.cafe.preferences
café:               worlds.cafe
café, models:       worlds.cafe.recipe
                    worlds.cafe.your_taste worlds.cafe.recordings worlds.cafe.ensembles
                    worlds.cafe.taste_run
exact, words:       worlds.exact.words worlds.exact.tree
exact, truths:      worlds.exact.gold worlds.exact.truth
                    worlds.exact.optimum worlds.exact.all_answers worlds.exact.targets
                    worlds.exact.chains
exact, models:      worlds.exact.fixed_points worlds.exact.preferences worlds.exact.models
exact, experiments: worlds.exact.frontier worlds.exact.overoptimisation
                    worlds.exact.gradient_quality worlds.exact.ensembles
                    worlds.exact
exercises, parts:   exercises.exercise exercises.compare
                    exercises.proof exercises.examine exercises.cells
                    exercises.progress exercises.copies
                    exercises.check exercises.grading
exercises:          exercises.nNN
                    exercises
pictures, parts:    widgets.picture
                    widgets.live widgets.wire widgets.value_records
                    widgets.static_page widgets.math_svg
                    widgets.export
                    widgets.slides
                    widgets.scenes widgets.monitor_parts widgets.labeler_parts
                    widgets.busy_kernel
                    widgets.four_models_map widgets.clip_points widgets.kl_numbers
                    widgets.token_rows
                    widgets.four_models_facts widgets.one_response
pictures:           widgets.curves widgets.four_models widgets.frontier widgets.token_table
                    widgets.token_microscope widgets.reward_builder widgets.gae_explorer
                    widgets.clip_explorer widgets.four_models_live widgets.kl_explorer
                    widgets.value_strip widgets.prefix_tree widgets.frontier_live
                    widgets.gradient_meter widgets.run_replay
                    widgets.training_monitor widgets.preference_labeler
                    widgets.predict widgets.memory_planner widgets.ensembles
                    widgets
bench, parts:       bench bench.stopwatch bench.attention bench.machine bench.browser bench.compare
                    bench.work
                    bench.plain_model bench.limits
                    bench.plain_gpt2 bench.plain_llama bench.decode
                    bench.decode_graph
                    bench.floor bench.models
                    bench.turns bench.trl_setup
                    bench.peer_trl
                    bench.peak
                    bench.measure
                    bench.repaint
command line, parts: cli.show cli.options cli.errors cli.bench_report
                    cli.four_models cli.runs cli.data
                    cli.online_models
commands:           cli.bench cli.cafe cli.chat cli.classroom cli.demo cli.doctor cli.ensembles
                    cli.exact cli.export cli.handover cli.inspect cli.lab cli.online cli.progress
                    cli.record cli.slides cli.train
                    cli
                    __main__
"""
ROWS = [line.partition(":")[2].split() or line.split() for line in LEVELS.strip().splitlines()]
LEVEL = {name: number for number, row in enumerate(ROWS) for name in row}
EXERCISES = re.compile(r"exercises\.n\d\d_.*")  # one row for all: `exercises.nNN`


def name_of(file: Path) -> str:
    """`ppo_trainer`, `cli.demo`, `worlds.cafe` (its __init__), `minirlhf` (the package's)."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts) or "minirlhf"


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}
LEVEL |= {name: LEVEL["exercises.nNN"] for name in FILES if EXERCISES.fullmatch(name)}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}


def imports(name: str) -> Iterator[str]:
    """Every absolute name that a module imports, wherever in it: `minirlhf.kl`, `torch.nn`."""
    package = ["minirlhf", *([] if name == "minirlhf" else name.split("."))]
    if FILES[name].name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            submodules = [f"{source}.{alias.name}" for alias in node.names]
            found = [s for s in submodules if s.removeprefix("minirlhf.") in FILES]
            yield from found
            if len(found) < len(submodules):
                yield source


def own(name: str) -> set[str]:
    """The modules of this package that a module imports."""
    found = (i for i in imports(name) if i.split(".")[0] == "minirlhf")
    return {i.removeprefix("minirlhf.") for i in found}


def test_the_table_names_every_module_once() -> None:
    names = [name for row in ROWS for name in row]
    assert len(names) == len(set(names))
    there = {EXERCISES.sub("exercises.nNN", name) for name in FILES}
    assert set(names) - {"exercises.nNN"} == there - {"exercises.nNN"}, (
        "write new modules into LEVELS, in the row where they belong"
    )


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_from_levels_below(name: str) -> None:
    upward = [other for other in own(name) if LEVEL[other] >= LEVEL[name]]
    assert not upward, f"{name} imports {upward}"


def test_the_imports_were_really_seen() -> None:
    assert {"actor", "kl", "online_metrics", "online_trainer", "trainer"} <= own("ppo_trainer")
    assert own("worlds.cafe.gold") == {"worlds.cafe.reader", "worlds.cafe.words"}
    assert "worlds.cafe.words" in own("worlds.cafe") and "minirlhf" in own("provenance")
    assert "worlds.cafe.recipe" in own("cli.demo") and "actor" in own("minirlhf")


def test_the_core_knows_no_world_no_picture_and_no_command() -> None:
    parts = ("__main__", "bench", "cli", "exercises", "museum", "widgets")
    core = [name for name in FILES if "." not in name and name not in parts]
    for name in core:
        assert not [i for i in own(name) if i.split(".")[0] in ("worlds", *parts)]


THIRD_PARTY = {
    "": {
        "torch",
        "transformers",
        "safetensors",
        "huggingface_hub",
        "filelock",
        "accelerate",
        "datasets",
        "nbformat",
        "peft",
    },
    "worlds": {"torch", "transformers", "tokenizers", "datasets"},
    "widgets": {
        "torch",
        "transformers",
        "matplotlib",
        "PIL",
        "anywidget",
        "ipywidgets",
        "traitlets",
        "jinja2",
        "nbclient",
        "nbconvert",
        "nbformat",
    },
    "bench": {"torch", "transformers", "playwright", "tokenizers"},
    "exercises": {"torch", "filelock", "nbclient", "nbformat"},
    "cli": {"torch", "transformers", "safetensors", "typer", "rich"},
}


@pytest.mark.parametrize("name", FILES)
def test_a_module_needs_only_the_packages_of_its_part(name: str) -> None:
    part = name.split(".")[0]
    allowed = THIRD_PARTY[part if part in THIRD_PARTY else ""]
    roots = {i.split(".")[0] for i in imports(name)} - {"minirlhf"}
    assert not roots - set(sys.stdlib_module_names) - allowed


def test_the_cafe_knows_no_model() -> None:
    for name in FILES:
        if name.startswith("worlds.cafe") and name != "worlds.cafe.recipe":
            assert "torch" not in imports(name), name


# ------------------------------------------------------------------------ files and calls


def test_no_file_is_too_long_to_read() -> None:
    lengths = {name: len(file.read_text("utf-8").splitlines()) for name, file in FILES.items()}
    assert not {name: n for name, n in lengths.items() if n > LONGEST}


def calls(name: str) -> set[str]:
    nodes = (node.func for node in ast.walk(TREES[name]) if isinstance(node, ast.Call))
    return {ast.unparse(func) for func in nodes}


@pytest.mark.parametrize("name", [n for n in FILES if n != "start"])
def test_nothing_prints_and_nothing_is_pickled(name: str) -> None:
    """Records are yielded and the command line has a console; weights are safetensors."""
    assert not calls(name) & {"print", "input", "torch.save", "torch.load", "eval", "exec"}
    assert not {i.split(".")[0] for i in imports(name)} & {"pickle", "numpy"}
    text = FILES[name].read_text(encoding="utf-8")
    assert not re.search(r"trust_remote_code\s*=\s*True", text)


# fresh models get their weights from transformers, under a seed that is put back afterwards
MAKE_WEIGHTS = ("worlds.cafe.recipe", "worlds.exact.models", "bench.models")


def test_no_generator_is_shared() -> None:
    """Every random number of the core has a key (`noise`) or a generator made for it."""
    drawn = re.compile(r"torch\.(rand|randn|randint|randperm|bernoulli|multinomial|normal)$")
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and drawn.match(ast.unparse(node.func)):
                assert "generator" in {keyword.arg for keyword in node.keywords}, name
        seeded = {call for call in calls(name) if call.endswith("manual_seed")}
        assert name in MAKE_WEIGHTS or "torch.manual_seed" not in seeded, name
        shared = {call for call in calls(name) if call.startswith("random.")}
        assert shared <= {"random.Random"}, name


# ------------------------------------------------------------------------ a fresh process

PROBE = """
import importlib.abc, json, os, sys
class Spy(importlib.abc.MetaPathFinder):
    seen = "torch was not imported"
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            Spy.seen = os.environ.get("OMP_WAIT_POLICY")
sys.meta_path.insert(0, Spy())
import minirlhf
import torch
print(json.dumps([Spy.seen, os.environ.get("OMP_WAIT_POLICY"), sorted(sys.modules)]))
"""
UNWANTED = {
    "matplotlib", "IPython", "ipywidgets", "anywidget", "datasets", "typer", "jupyter",
    "jupyterlab", "pandas", "traitlets", "peft",
}  # fmt: skip


def test_importing_brings_no_picture_and_no_command_line() -> None:
    """And waiting threads sleep, since that was said before torch was imported."""
    env = {k: v for k, v in os.environ.items() if k != threads.VARIABLE}
    env |= {"PYTHONPATH": str(PACKAGE.parent)}
    out = subprocess.run([sys.executable, "-c", PROBE], env=env, capture_output=True, check=True)
    assert out.stderr == b""
    (line,) = out.stdout.decode().splitlines()  # nothing else is printed
    seen, after, modules = json.loads(line)
    assert seen == after == "PASSIVE"
    roots = {name.split(".")[0] for name in modules}
    assert not roots & UNWANTED and {"torch", "transformers"} <= roots
    parts = {name.split(".")[1] for name in modules if name.startswith("minirlhf.")}
    assert not parts & {"cli", "widgets", "worlds", "bench", "museum", "start"}


def test_waiting_threads_are_asked_to_sleep_only_where_that_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(threads.VARIABLE, "ACTIVE")
    monkeypatch.delitem(sys.modules, "torch")
    threads.prepare()
    assert threads.waiting_policy() == "ACTIVE"  # your own value wins
    monkeypatch.delenv(threads.VARIABLE)
    threads.prepare()
    assert os.environ[threads.VARIABLE] == threads.waiting_policy() == "PASSIVE"
    monkeypatch.delenv(threads.VARIABLE)
    monkeypatch.undo()
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    threads.prepare()  # torch is there: too late, so nothing is said that is not so
    assert threads.VARIABLE not in os.environ and "default" in threads.waiting_policy()
