"""Pictures of real tensors and real models; never imported by `import minirlhf`.

They need matplotlib, which comes with the extra `minirlhf[course]`.
"""

from minirlhf.widgets.curves import curves_figure
from minirlhf.widgets.four_models import four_models_figure
from minirlhf.widgets.frontier import frontier_figure, overoptimisation_figure
from minirlhf.widgets.picture import Picture
from minirlhf.widgets.token_table import token_figure

__all__ = [
    "Picture",
    "curves_figure",
    "four_models_figure",
    "frontier_figure",
    "overoptimisation_figure",
    "token_figure",
]
