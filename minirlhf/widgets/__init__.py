"""Pictures of real tensors and real models; never imported by `import minirlhf`.

Live widgets draw in JupyterLab and on exported pages; the `…_figure` functions give plain pictures
for scripts and slides. Both need the extra `minirlhf[course]`.
"""

from minirlhf.widgets.clip_explorer import ClipExplorer
from minirlhf.widgets.curves import curves_figure
from minirlhf.widgets.ensembles import ensembles_figure
from minirlhf.widgets.four_models import four_models_figure
from minirlhf.widgets.four_models_live import FourModels, StageScrubber
from minirlhf.widgets.frontier import frontier_figure, overoptimisation_figure
from minirlhf.widgets.frontier_live import Frontier
from minirlhf.widgets.gae_explorer import GAEExplorer
from minirlhf.widgets.gradient_meter import GradientMeter
from minirlhf.widgets.kl_explorer import KLExplorer
from minirlhf.widgets.live import LiveWidget
from minirlhf.widgets.memory_planner import MemoryPlanner
from minirlhf.widgets.picture import Picture
from minirlhf.widgets.predict import Predict
from minirlhf.widgets.preference_labeler import PreferenceLabeler
from minirlhf.widgets.prefix_tree import PrefixTree
from minirlhf.widgets.reward_builder import RewardBuilder
from minirlhf.widgets.run_replay import RunReplay
from minirlhf.widgets.static_page import save_page
from minirlhf.widgets.token_microscope import TokenMicroscope
from minirlhf.widgets.token_table import token_figure
from minirlhf.widgets.training_monitor import TrainingMonitor
from minirlhf.widgets.value_strip import ValueStrip

__all__ = [
    "ClipExplorer",
    "FourModels",
    "Frontier",
    "GAEExplorer",
    "GradientMeter",
    "KLExplorer",
    "LiveWidget",
    "MemoryPlanner",
    "Picture",
    "Predict",
    "PreferenceLabeler",
    "PrefixTree",
    "RewardBuilder",
    "RunReplay",
    "StageScrubber",
    "TokenMicroscope",
    "TrainingMonitor",
    "ValueStrip",
    "curves_figure",
    "ensembles_figure",
    "four_models_figure",
    "frontier_figure",
    "overoptimisation_figure",
    "save_page",
    "token_figure",
]
