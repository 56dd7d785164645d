"""The checks that take too long for every commit: `python tests/check_all.py`, before a release.

    matrix      every notebook under nbval, with 1 thread and 2, with the plain CPU instructions,
                with AVX2 and with all that this processor has
    long        the tests marked `long`: more seeds, more kills
    mutations   each notebook with the library broken in three ways; all must stop

What was found goes into `check_all.json`, with the date, the commit and the versions. Arguments:
names of checks; none = all. `matrix` takes about six minutes for each of its rows on two cores. It
runs in the Python that starts it, so another version of Python is one more row: start it there.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from minirlhf.bench import machine
from minirlhf.recorder import commit

TESTS = Path(__file__).resolve().parent
RESULTS = TESTS / "check_all.json"
NBVAL = (
    "-n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=300"
    " --nbval-sanitize-with=tests/sanitize.cfg notebooks"
).split()
THREADS = (1, 2)
INSTRUCTIONS = ("default", "avx2", "")  # of ATEN_CPU_CAPABILITY; "" = the best there is


def checks(names: list[str]) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Each check: its name, what Python runs, and what it adds to the environment."""
    python = "{}.{}".format(*sys.version_info)
    if "matrix" in names:
        for instructions in INSTRUCTIONS:
            for threads in THREADS:
                env = {"OMP_NUM_THREADS": str(threads)}
                if instructions:
                    env["ATEN_CPU_CAPABILITY"] = instructions
                name = f"notebooks, Python {python}, {instructions or 'all'} instructions"
                yield f"{name}, {threads} thread(s)", ["-m", "pytest", "-q", *NBVAL], env
    if "long" in names:
        yield "long tests", ["-m", "pytest", "-q", "-m", "long", "tests"], {}
    if "mutations" in names:
        yield "mutations of notebooks", ["tests/course/mutate_notebooks.py"], {}


def run(command: list[str], env: dict[str, str]) -> dict[str, Any]:
    """Run one check; what came of it, as JSON."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=TESTS.parent,
        env=os.environ | env,
        capture_output=True,
        text=True,
    )
    sys.stdout.write(done.stdout[-4000:] + done.stderr[-2000:])
    made_with = machine.describe(torch.device("cpu"))
    del made_with["threads"]  # those of this process, which only looks on
    last = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", done.stdout)
    failed = re.findall(r"^FAILED (\S+)", done.stdout, flags=re.MULTILINE)
    return {
        "passed": done.returncode == 0,
        "found": ", ".join(last[-4:]),
        "failed": failed,
        "seconds": round(time.monotonic() - start),
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "made_with": made_with,
    }


def main(names: list[str]) -> int:
    """Run the checks of these names; 1 if one failed."""
    known = ("matrix", "long", "mutations")
    if unknown := set(names) - set(known):
        sys.exit(f"no check {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    everything = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    failed = 0
    for name, command, env in checks(names or list(known)):
        print(f"== {name}", flush=True)  # noqa: T201
        everything[name] = run(command, env)
        failed += not everything[name]["passed"]
        RESULTS.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
