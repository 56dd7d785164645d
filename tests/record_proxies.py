"""Train the two reward models that notebook 09 over-optimises: `python tests/record_proxies.py`.

Training a reward model is chaotic: the rounding of another processor gives another model, with
other mistakes. So these two come with the course, as weights (60 kB each).
"""

from pathlib import Path

from safetensors.torch import save_file

from minirlhf.worlds import exact
from minirlhf.worlds.exact.overoptimisation import fit_reward_model

PAIRS, STEPS, SEEDS = 1000, 300, (0, 1)
FOLDER = Path(__file__).resolve().parent.parent / "assets" / "exact"


def main() -> None:
    """Write proxy_1.safetensors and proxy_2.safetensors."""
    actor = exact.sft_actor().freeze()
    for number, seed in enumerate(SEEDS, start=1):
        model = fit_reward_model(actor, exact.gold_table(), PAIRS, seed=seed, steps=STEPS)
        about = {"pairs": PAIRS, "steps": STEPS, "seed": seed, "score_shift": model.score_shift}
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(
            weights,
            FOLDER / f"proxy_{number}.safetensors",
            metadata={name: repr(value) for name, value in about.items()},
        )


if __name__ == "__main__":
    main()
