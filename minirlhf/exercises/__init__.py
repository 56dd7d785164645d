"""The course's exercises: `check.NAME(your_function)` answers back.

    from minirlhf.exercises import check

`EXERCISES` has them all by name. Those of notebook NN are in the modules `nNN_…`.
"""

import importlib
import pkgutil

from minirlhf.exercises.check import check
from minirlhf.exercises.exercise import EXERCISES, Case, Draw, Exercise, Wrong

for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
    if module[0] == "n" and module[1:3].isdigit():  # each exercise enters itself in EXERCISES
        importlib.import_module(f"{__name__}.{module}")

__all__ = ["EXERCISES", "Case", "Draw", "Exercise", "Wrong", "check"]
