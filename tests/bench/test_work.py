"""The bytes and operations that an iteration needs, counted by hand for small models."""

import pytest
import torch
from tiny_models import shaped_actor
from torch.utils.flop_counter import FlopCounterMode

from minirlhf.batch import Prompts
from minirlhf.bench.work import Sizes, decode_bytes, shares, sizes_of, train_flops

TWO = Sizes(layers=2, query_width=8, key_width=4, matrices=100, head=50)


def test_sizes_are_those_of_the_shapes():
    """Width 16, two layers; Llama's feed-forward has 24 and half as many heads of keys."""
    gpt2, llama, qwen2 = (sizes_of(shaped_actor(f).model) for f in ("gpt2", "llama", "qwen2"))
    words = len(shaped_actor().tokenizer)
    assert gpt2 == Sizes(2, 16, 16, matrices=2 * 12 * 16 * 16, head=16 * words)
    block = 2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24
    assert llama == qwen2 == Sizes(2, 16, 8, matrices=2 * block, head=16 * words)


def test_writing_reads_all_weights_and_what_was_written_before():
    # one prompt of 3, two tokens: 3 and then 4 slots, of 2 layers, keys and values, 4 numbers each
    assert decode_bytes(TWO, [3], 2, 2) == 2 * (2 * 150 + (3 + 4) * 2 * 2 * 4)
    # a second row adds its slots and reads no weight again
    assert decode_bytes(TWO, [3, 5], 2, 2) == decode_bytes(TWO, [3], 2, 2) + 2 * 11 * 16
    assert decode_bytes(TWO, [3], 2, 4) == 2 * decode_bytes(TWO, [3], 2, 2)


def test_learning_multiplies_each_weight_six_times_a_token():
    # prompt 3, response 2: 4 inputs, 2 of which meet the head
    one = 6 * 100 * 4 + 6 * 2 * 8 * 4 * 4
    assert train_flops(TWO, [3], 2, 1) == 2 * one + 6 * 50 * 2
    assert train_flops(TWO, [3, 3], 2, 3) == 6 * train_flops(TWO, [3], 2, 1)


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_torch_counts_as_many_operations(family):
    """Its counter takes the whole attention table, we half of it."""
    actor = shaped_actor(family)
    prompts = Prompts(torch.full((2, 6), 5), torch.ones(2, 6, dtype=torch.bool))
    with FlopCounterMode(display=False) as counter:
        actor.log_probs(prompts, torch.full((2, 4), 7)).sum().backward()
    sizes, n = sizes_of(actor.model), 9
    table = 6 * sizes.layers * sizes.query_width * 2 * n * n
    ours = train_flops(sizes, [6, 6], 4, 1)
    head = 6 * sizes.head * 4 * 2
    actor_alone = (ours - head) / 2 + head
    # the first layer's input needs no gradient where the table's rows are only looked up: ours ≥
    assert counter.get_total_flops() == pytest.approx(actor_alone + table, rel=0.01)


def test_shares_of_the_limits():
    limits = {"bytes_per_second": 100.0, "flops_per_second": 1000.0}
    found = shares({"generate": 2.0, "train": 4.0}, bytes_read=50.0, flops=2000.0, limits=limits)
    assert found == {"decode_of_bandwidth": 0.25, "train_of_matrix_rate": 0.5}
