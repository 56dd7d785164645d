"""What an exhibit is: a mistake, the words that explain it, and the code to put in place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# called as wrong(right, *arguments); `right` is the function that it stands in for
Wrong = Callable[..., Any]


@dataclass(frozen=True)
class Bug:
    """One mistake, recreated.

    Attributes:
        name: how `switched_on` is told of it.
        title: a few words.
        story: what was written, what should have been, and how near the sources are to it.
        symptom: what a dashboard shows (measured on the café's shipped models, 10 iterations).
        watch: the metrics that tell; names in `minirlhf.METRICS`.
        sources: public threads in which people met this bug or a close relative.
        replaces: each function that is replaced, as "module:function" or "module:Class.method",
            and what stands in for it.
        settings: fields of `PPOConfig` with which it shows, where they are not the defaults.
    """

    name: str
    title: str
    story: str
    symptom: str
    watch: tuple[str, ...]
    sources: tuple[str, ...]
    replaces: Mapping[str, Wrong]
    settings: Mapping[str, Any] = field(default_factory=dict)
