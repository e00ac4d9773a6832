"""The loader's laws: batches are a function of (seed, step); restarts, ranks and threads agree."""

import json
import threading
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linsight.data import Loader

Seen = tuple[int, list[int]]


def fetch(indices: np.ndarray, epoch: int) -> Seen:
    return epoch, indices.tolist()


def make(num_examples: int = 10, batch_size: int = 2, **options: Any) -> Loader[Seen]:
    return Loader(fetch, num_examples, batch_size, **({"seed": 3, "fingerprint": "toy"} | options))


def take(loader: Loader[Seen], count: int) -> list[Seen]:
    return list(islice(loader, count))


def examples(batches: Iterable[Seen]) -> list[int]:
    return list(chain.from_iterable(indices for _, indices in batches))


@given(num_examples=st.integers(1, 40), data=st.data(), seed=st.integers(0, 2**64 - 1), drop=st.booleans())
def test_an_epoch_is_a_permutation(num_examples, data, seed, drop):
    """Every example at most once an epoch, and exactly once when the last batch is kept."""
    batch_size = data.draw(st.integers(1, num_examples))
    loader = make(num_examples, batch_size, seed=seed, drop_last=drop)
    for epoch in range(3):
        batches = list(loader)
        assert [number for number, _ in batches] == [epoch] * len(loader)
        seen = examples(batches)
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(range(num_examples))
        assert len(seen) == (num_examples - num_examples % batch_size if drop else num_examples)
        assert loader.epoch == epoch + 1


@given(data=st.data(), world_size=st.integers(1, 4), per_rank=st.integers(1, 3), drop=st.booleans())
def test_the_data_are_the_same_for_any_world_size(data, world_size, per_rank, drop):
    """Law: the ranks' batches, joined in order, are the single process's."""
    batch_size = world_size * per_rank
    num_examples = batch_size * data.draw(st.integers(1, 4)) + (0 if drop else world_size)
    options = {"drop_last": drop, "total_steps": 9}
    ranks = [
        list(make(num_examples, batch_size, rank=r, world_size=world_size, **options))
        for r in range(world_size)
    ]
    joined = [(parts[0][0], examples(parts)) for parts in zip(*ranks, strict=True)]
    assert joined == list(make(num_examples, batch_size, **options))


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_at_every_step(workers):
    """Law: batches handed out before saving + batches after loading = the undisturbed run, for every step."""
    clean = list(make(total_steps=13))
    assert len(clean) == 13
    assert {epoch for epoch, _ in clean} == {0, 1, 2}
    for stop in range(14):
        first = make(total_steps=13, workers=workers)
        before = take(first, stop) if stop else []
        state = json.loads(json.dumps(first.state_dict()))
        assert state["step"] == stop
        second = make(total_steps=13, workers=workers)
        second.load_state_dict(state)
        assert len(second) == 13
        assert before + list(second) == clean


def test_resume_on_other_ranks():
    """The state belongs to the global batch, so two processes can go on where one stopped."""
    single = make(12, 4, total_steps=8)
    take(single, 5)
    parts = []
    for rank in range(2):
        loader = make(12, 4, total_steps=8, rank=rank, world_size=2)
        loader.load_state_dict(single.state_dict())
        parts.append(list(loader))
    rest = [(a[0], a[1] + b[1]) for a, b in zip(*parts, strict=True)]
    assert rest == list(single)


def test_breaking_off_and_iterating_again_goes_on():
    """Nothing is replayed and nothing skipped, though the iterator was thrown away."""
    loader = make(total_steps=7, workers=2)
    pieces = take(loader, 2) + take(loader, 3) + list(loader)
    assert pieces == list(make(total_steps=7))
    assert list(loader) == []


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("total_steps", [None, 12])
def test_threads_give_identical_batches(workers, total_steps):
    one, other = make(total_steps=total_steps), make(total_steps=total_steps, workers=workers)
    for _ in range(2):
        assert list(other) == list(one)
        assert other.step == one.step


def test_threads_fetch_every_batch_once():
    asked: list[int] = []

    def note(indices: np.ndarray, epoch: int) -> None:
        asked.extend(indices.tolist())

    list(Loader(note, 8, 1, seed=0, fingerprint="toy", workers=3))
    assert sorted(asked) == list(range(8))


def test_threads_work_ahead_and_stop():
    """With two threads batch 2 is asked for before batch 1 is; and the threads end with the iterator."""
    asked = threading.Event()

    def slow(indices: np.ndarray, epoch: int) -> int:
        if indices[0] == 2:
            asked.set()
        return int(indices[0])

    loader = Loader(slow, 6, 1, seed=0, fingerprint="toy", shuffle=False, workers=2)
    iterator = iter(loader)
    assert next(iterator) == 0
    assert asked.wait(10)
    assert loader.state_dict()["step"] == 1, "prepared is not handed out"
    del iterator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("linsight-loader")]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_fetch_is_raised_at_its_own_step(workers):
    """The step that failed is still the next one, and its examples can be named."""

    def fail(indices: np.ndarray, epoch: int) -> list[int]:
        if 4 in indices:
            raise OSError("disk gone")
        return indices.tolist()

    loader = Loader(fail, 10, 2, seed=0, fingerprint="toy", shuffle=False, workers=workers)
    seen = []
    with pytest.raises(OSError, match="disk gone"):
        seen.extend(loader)
    with pytest.raises(OSError, match="disk gone"):
        seen.extend(loader)
    assert seen == [[0, 1], [2, 3]]
    assert loader.step == 2
    assert loader.indices(loader.step).tolist() == [4, 5]


@pytest.mark.parametrize("workers", [0, 2])
def test_seek_and_load_hold_within_a_pass(workers):
    """A batch handed out and not used is handed out again; also while threads have worked ahead."""
    clean = list(make(total_steps=9))
    loader = make(total_steps=9, workers=workers)
    iterator = iter(loader)
    assert [next(iterator) for _ in range(5)] == clean[:5]
    loader.seek(3)
    assert next(iterator) == clean[3]
    loader.load_state_dict(loader.state_dict() | {"step": 7})
    assert list(iterator) == clean[7:]


def test_indices_name_a_batch_without_fetching():
    """indices(k) is global batch k, whatever the loader's place; the caller's copy is the caller's."""
    loader = make(rank=1, world_size=2, total_steps=13)
    expected = [indices for _, indices in make(total_steps=13)]
    for step in (12, 0, 7):
        found = loader.indices(step)
        assert found.tolist() == expected[step]
        found[:] = -1
        assert loader.indices(step).tolist() == expected[step]
    assert loader.step == 0


def test_orders_differ_by_epoch_and_seed():
    runs = [examples(make(20, 2, seed=seed, total_steps=20)) for seed in (0, 1)]
    orders = {tuple(run[start : start + 20]) for run in runs for start in (0, 20)}
    assert len(orders) == 4


def test_orders_are_uniform():
    """Each of the 6 orders of 3 examples comes up about equally often: chi-square, 5 degrees of freedom."""
    loader = make(3, 3, total_steps=3000)
    counts: dict[tuple[int, ...], int] = {}
    for _, indices in loader:
        counts[tuple(indices)] = counts.get(tuple(indices), 0) + 1
    assert len(counts) == 6
    assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 20.5, "p = 0.001"


def test_the_order_never_changes():
    """Committed: a change here would make old runs resume on other batches."""
    assert make(10, 10, seed=0).indices(1).tolist() == [9, 5, 7, 0, 2, 6, 3, 4, 8, 1]


def test_without_shuffle_the_order_is_the_file_order():
    loader = make(5, 2, shuffle=False, drop_last=False)
    assert list(loader) == [(0, [0, 1]), (0, [2, 3]), (0, [4])]
    assert list(loader) == [(1, [0, 1]), (1, [2, 3]), (1, [4])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "other"}, "has fingerprint 'toy', this one 'other'"),
        ({"batch_size": 5}, "has batch_size 2, this one 5"),
        ({"seed": 4}, "has seed 3, this one 4"),
        ({"num_examples": 11}, "has num_examples 10, this one 11"),
        ({"shuffle": False}, "has shuffle True, this one False"),
        ({"drop_last": False}, "has drop_last True, this one False"),
    ],
)
def test_a_state_of_other_batches_is_refused(change, message):
    with pytest.raises(
        RuntimeError, match=rf"data loader: the saved run {message}; resume with the saved value"
    ):
        make(**change).load_state_dict(make().state_dict())


def test_a_damaged_state_is_refused():
    state = make().state_dict()
    with pytest.raises(RuntimeError, match="the saved state has no 'fingerprint'; the checkpoint is damaged"):
        make().load_state_dict({name: value for name, value in state.items() if name != "fingerprint"})
    with pytest.raises(RuntimeError, match="the saved run has version 0, this one 1"):
        make().load_state_dict(state | {"version": 0})
    for step in (None, -1, "3"):
        with pytest.raises(
            RuntimeError, match=f"the saved state has step {step!r}; the checkpoint is damaged"
        ):
            make().load_state_dict(state | {"step": step})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_examples": 0}, "num_examples: expected at least 1, got 0"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": 11}, "batch_size: 11 is more than the 10 examples.*use at most 10"),
        ({"world_size": 0}, "world_size: expected at least 1, got 0"),
        ({"rank": 2, "world_size": 2}, "rank: expected less than world_size 2, got 2"),
        ({"rank": -1}, "rank: expected at least 0, got -1"),
        ({"batch_size": 4, "world_size": 3}, "world_size: 3 does not divide the global batch of 4"),
        (
            {"num_examples": 9, "batch_size": 2, "world_size": 2, "drop_last": False},
            "world_size: 2 does not divide the global batch of 1",
        ),
        ({"total_steps": 0}, "total_steps: expected at least 1, got 0"),
        ({"workers": -1}, "workers: expected at least 0, got -1"),
        ({"seed": -1}, r"seed: expected an integer from 0 to 2\*\*64 - 1, got -1"),
    ],
)
def test_contradictions_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_negative_steps_are_refused():
    for call in (make().seek, make().indices):
        with pytest.raises(ValueError, match="step: expected at least 0, got -1"):
            call(-1)
