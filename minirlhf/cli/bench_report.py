"""What `minirlhf bench` prints: times by phase, and the facts behind them."""

from typing import Any

from rich.table import Table

SHARES = {"train_of_matrix_rate": "of the matrix rate", "decode_of_bandwidth": "of the bandwidth"}


def times(result: dict[str, Any]) -> Table:
    """Milliseconds by phase: ours, the floor's, a peer's, and how many times theirs ours is."""
    table = Table(title="One PPO iteration, medians")
    peer = result.get("peer")
    others = {"floor": "floor_", **({peer: "trl_"} if peer else {})}
    table.add_column("")
    for name in ("ours", *others):
        table.add_column(f"{name}, ms", justify="right")
    for name in others:
        table.add_column(f"ours / {name}", justify="right")
    for phase, ours in result["seconds"].items():
        if phase == "total":
            table.add_section()
        seconds = [ours, *(result[prefix + "seconds"][phase] for prefix in others.values())]
        tables = [result["ratio"], *([result["trl_ratio"]] if peer else [])]
        ratios = [table.get(phase) for table in tables]
        table.add_row(
            phase,
            *(f"{1e3 * value:.1f}" if value else "–" for value in seconds),
            *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
        )
    return table


def facts(result: dict[str, Any]) -> str:
    """The other numbers, and what they were measured on."""
    memory = result["peak_memory_mib"]
    lines = [
        f"tokens/s      {result['tokens_per_second']:,.0f}, "
        f"floor {result['floor_tokens_per_second']:,.0f} (response tokens)",
        f"fastest runs  ours / floor {result['ratio_of_fastest']:.2f}, of {result['runs']} each",
        f"CPU time      {cpu_ratios(result)}, which a busy machine hardly changes",
        "peak memory   " + ("unknown here" if memory is None else f"{memory:,.0f} MiB"),
        *limits(result),
        *about_peer(result),
        f"work          {result['model']}: "
        f"{result['batch_size']} responses of {result['response_tokens']} tokens, "
        f"prompts up to {result['prompt_tokens']}, {result['ppo_epochs']} epochs, "
        f"minibatches of {result['minibatch_size']}, {result['precision']}",
        f"machine       {result['machine']}; {result['device']}, {result['threads']} threads, "
        f"waiting ones: {result['waiting_threads']}",
        f"versions      Python {result['python']}, torch {result['torch']}, "
        f"transformers {result['transformers']}",
    ]
    if (load := result["load"]) is not None:
        busy = "  (busy: expect noise)" if load > 1.0 else ""
        lines.append(f"load before   {load:.1f}{busy}, after {result['load_after']:.1f}")
    return "\n".join(lines)


def cpu_ratios(result: dict[str, Any]) -> str:
    """The ratios of what the processors computed."""
    names = {"floor": "floor", "trl": result.get("peer")}
    return ", ".join(
        f"ours / {name} {result['cpu_ratio_to_' + key]:.2f}" for key, name in names.items() if name
    )


def limits(result: dict[str, Any]) -> list[str]:
    """What the machine can do, and how much of it each program uses."""
    found, used = result["limits"], result["of_limits"]
    lines = [
        f"limits        {found['flops_per_second'] / 1e9:,.0f} GFLOP/s in a matrix product, "
        f"{found['bytes_per_second'] / 1e9:,.1f} GB/s copied"
    ]
    for share, of in SHARES.items():
        each = ", ".join(f"{name} {shares[share]:.0%}" for name, shares in used.items())
        what = "learning" if share.startswith("train") else "writing"
        lines.append(f"{what:<14}{each} {of}")
    if "kernels_per_decode_step" in result:
        lines.append(
            f"decode step   {result['kernels_per_decode_step']} kernels; none runs in "
            f"{result['launch_share']:.0%} of the time (floor: {result['floor_decoding']})"
        )
    return lines


def about_peer(result: dict[str, Any]) -> list[str]:
    """Memory of each program alone, and what of TRL's time Python's garbage collector takes."""
    if "peer" not in result:
        return []
    alone = [
        f"{name} " + ("unknown" if found["peak"] is None else f"{found['peak']:,.0f}")
        for name, found in result["memory_alone_mib"].items()
    ]
    held = result["memory_alone_mib"]["ours"]["before"]
    return [
        f"alone         {', '.join(alone)} MiB at most, each in its own process"
        + (f" ({held:,.0f} before any model)" if held else ""),
        f"TRL {result['trl']:<10}collects garbage for {1e3 * result['trl_garbage_seconds']:.0f} "
        f"ms; without that, ours / TRL {result['ratio_to_trl_without_garbage']:.2f}",
    ]
