"""Preference pairs and rows on disk."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirlhf.worlds import cafe

SOUP = "review the soup :"
GOOD = "the soup was warm ."  # gold 0.6
BAD = "the soup was cold ."  # gold -0.6
ALSO_GOOD = "the soup was fresh ."  # gold 0.6


def share_first(first, second, n=4000, seed=0, **options):
    """How often the first of two responses is chosen."""
    rng = random.Random(seed)
    rows = [cafe.prefer(SOUP, first, second, rng=rng, **options) for _ in range(n)]
    return sum(row["chosen"] == first for row in rows) / n


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize(("first", "second", "gap"), [(GOOD, BAD, 1.2), (BAD, GOOD, -1.2)])
def test_frequencies_follow_bradley_terry(first, second, gap, noise):
    probability = 1 / (1 + math.exp(-gap / noise))
    standard_error = math.sqrt(probability * (1 - probability) / 4000)
    share = share_first(first, second, noise=noise)
    assert abs(share - probability) < 4 * standard_error
    exact = cafe.preference_probability(gap, 0.0, noise=noise)
    assert exact == pytest.approx(probability, abs=1e-12)


def test_noise_is_1_by_default():
    assert share_first(GOOD, BAD) == share_first(GOOD, BAD, noise=1.0)
    assert cafe.preference_probability(1.2, 0.0) == pytest.approx(0.76852, abs=1e-5)


def test_without_noise_the_better_one_always_wins():
    assert share_first(GOOD, BAD, noise=0.0) == 1.0
    assert share_first(BAD, GOOD, noise=0.0) == 0.0


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_tie_is_a_coin_toss(noise):
    share = share_first(GOOD, ALSO_GOOD, noise=noise)
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / 4000)


def test_small_noise_comes_close_to_none_and_large_noise_to_a_coin():
    assert cafe.preference_probability(0.6, 0.0, noise=1e-3) == 1.0
    assert cafe.preference_probability(0.0, 0.6, noise=5e-324) == 0.0
    assert cafe.preference_probability(-60.0, 3.0, noise=1e-300) == 0.0
    assert cafe.preference_probability(3.0, -60.0, noise=math.inf) == 0.5
    assert cafe.preference_probability(0.6, 0.6, noise=5e-324) == 0.5


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0, 100))
def test_probabilities_of_both_orders_sum_to_1(first, second, noise):
    there = cafe.preference_probability(first, second, noise=noise)
    back = cafe.preference_probability(second, first, noise=noise)
    assert 0 <= there <= 1
    assert there + back == pytest.approx(1, abs=1e-12)
    assert there >= 0.5 if first > second else there <= 0.5 if first < second else there == 0.5


@pytest.mark.parametrize("noise", [-1.0, -1e-9, -math.inf, math.nan])
def test_impossible_noise_is_refused(noise):
    with pytest.raises(ValueError, match=r"noise is .*, but a number of at least 0 is wanted"):
        cafe.prefer(SOUP, GOOD, BAD, rng=random.Random(0), noise=noise)
    with pytest.raises(ValueError, match="noise"):
        cafe.preference_rows([], [], [], seed=0, noise=noise)


def test_a_cut_off_response_loses_against_the_same_text_with_an_end():
    assert share_first(GOOD, ALSO_GOOD, noise=0.0, first_ended=False) == 0.0
    assert share_first(GOOD, ALSO_GOOD, noise=0.0, second_ended=False) == 1.0
    both = share_first(GOOD, ALSO_GOOD, noise=0.0, first_ended=False, second_ended=False)
    assert 0.4 < both < 0.6


def test_a_row_holds_both_responses_once():
    rng = random.Random(0)
    for _ in range(20):
        row = cafe.prefer(SOUP, GOOD, BAD, rng=rng)
        assert list(row) == ["prompt", "chosen", "rejected"]
        assert row["prompt"] == SOUP and {row["chosen"], row["rejected"]} == {GOOD, BAD}


def test_each_preference_draws_one_number():
    # Noise, ties and flags change no later draw: runs that differ in them can be compared.
    for options in ({"noise": 0.0}, {"noise": 3.0}, {"first_ended": False}):
        rng, other = random.Random(7), random.Random(7)
        cafe.prefer(SOUP, GOOD, ALSO_GOOD, rng=rng, **options)
        other.random()
        assert rng.random() == other.random()


def sampled_pairs(n):
    firsts, seconds = cafe.sft_rows(n, seed=1), cafe.sft_rows(n, seed=2)
    prompts = [row["prompt"] for row in firsts]
    return prompts, [r["completion"] for r in firsts], [r["completion"] for r in seconds]


def test_rows_keep_the_order_and_are_plain_text():
    prompts, firsts, seconds = sampled_pairs(50)
    rows = cafe.preference_rows(prompts, firsts, seconds, seed=0)
    assert len(rows) == 50
    for row, prompt, first, second in zip(rows, prompts, firsts, seconds, strict=True):
        assert type(row) is dict and list(row) == ["prompt", "chosen", "rejected"]
        assert all(type(value) is str for value in row.values())
        assert row["prompt"] == prompt
        assert sorted((row["chosen"], row["rejected"])) == sorted((first, second))


def test_rows_without_noise_agree_with_gold():
    prompts, firsts, seconds = sampled_pairs(200)
    for row in cafe.preference_rows(prompts, firsts, seconds, seed=0, noise=0.0):
        chosen = cafe.gold_reward(row["prompt"], row["chosen"])
        assert chosen >= cafe.gold_reward(row["prompt"], row["rejected"])


def test_rows_depend_on_the_seed_alone():
    pairs = sampled_pairs(100)
    assert cafe.preference_rows(*pairs, seed=5) == cafe.preference_rows(*pairs, seed=5)
    assert cafe.preference_rows(*pairs, seed=5) != cafe.preference_rows(*pairs, seed=6)


def test_flags_reach_their_own_rows():
    flags = [True, False, False, True]
    rows = cafe.preference_rows(
        [SOUP] * 4,
        [GOOD] * 4,
        [ALSO_GOOD] * 4,  # the same gold: the flags decide
        seed=0,
        noise=0.0,
        first_ended=flags,
        second_ended=[not flag for flag in flags],
    )
    assert [row["chosen"] == GOOD for row in rows] == flags


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("firsts", {"firsts": [GOOD]}),
        ("seconds", {"seconds": [GOOD] * 3}),
        ("first_ended", {"first_ended": [True]}),
        ("second_ended", {"second_ended": []}),
    ],
)
def test_columns_of_other_lengths_are_refused(name, changes):
    columns = {"prompts": [SOUP] * 2, "firsts": [GOOD] * 2, "seconds": [BAD] * 2, **changes}
    with pytest.raises(ValueError, match=f"{name} has . entries, but there are 2 prompts"):
        cafe.preference_rows(**columns, seed=0)


# ---- rows on disk --------------------------------------------------------------------------------


def test_jsonl_round_trip(tmp_path):
    rows = [*cafe.sft_rows(20, seed=0), {"prompt": 'café\u2028 \n "', "completion": "🍲 \ud800"}]
    path = tmp_path / "rows.jsonl"
    cafe.write_jsonl(path, rows)
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""  # the file ends with a line break
    assert [json.loads(line) for line in lines] == rows
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(rows)


def test_jsonl_takes_any_iterable_and_replaces_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    cafe.write_jsonl(str(path), iter([{"a": 1}, {"a": 2}]))
    cafe.write_jsonl(path, [{"a": 3}])
    assert path.read_text() == '{"a": 3}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("rows", [[], [{"a": 1}, {"a": math.nan}]])
def test_bad_rows_are_refused_and_leave_the_old_file(tmp_path, rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("old")
    with pytest.raises(ValueError):
        cafe.write_jsonl(path, rows)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text("old")

    def full_disk(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        cafe.write_jsonl(path, [{"a": 1}])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_datasets_reads_the_files(tmp_path):
    datasets = pytest.importorskip("datasets")
    sft = cafe.sft_rows(30, seed=0)
    pairs = cafe.preference_rows(*sampled_pairs(30), seed=0)
    for name, rows in (("sft", sft), ("pairs", pairs)):
        path = tmp_path / f"{name}.jsonl"
        cafe.write_jsonl(path, rows)
        data = datasets.load_dataset(
            "json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
        )
        assert data.column_names == list(rows[0])
        assert data.to_list() == rows
