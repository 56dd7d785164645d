"""How PyTorch's CPU threads wait for each other: the one place that decides it.

PyTorch splits each operation over the cores, and by default a thread that has finished its part
spins: it burns its core while it waits for the others. On an idle machine that is fast. Beside a
browser, a second notebook or a test run it is a disaster, because the spinning thread keeps the one
it waits for from running. One training step of the café's model (2 × 128, batch 64) on two
cores, in seconds, medians, with other work on the machine (load about 3):

    threads   spinning (default)   asleep (PASSIVE)
       1        0.14 to 0.15         0.09 to 0.12
       2        0.86 to 1.26         0.08 to 0.12

So we let waiting threads sleep and keep all cores. OpenMP reads this setting once, when torch is
first imported, which is why `import minirlhf` sets it before it imports torch. A value of your own
wins, and if torch was imported before, nothing is changed (`minirlhf doctor` tells).
"""

import os
import sys

VARIABLE = "OMP_WAIT_POLICY"


def prepare() -> None:
    """Ask OpenMP to let waiting threads sleep; of use only before torch is imported."""
    if "torch" not in sys.modules:
        os.environ.setdefault(VARIABLE, "PASSIVE")


def waiting_policy() -> str:
    """What is set now, for reports: "PASSIVE", "ACTIVE" or "default (spins)"."""
    return os.environ.get(VARIABLE, "default (spins)")
