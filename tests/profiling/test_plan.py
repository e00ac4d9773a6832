"""Plans: worked by hand, their laws, and where they cross."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsight.profiling import (
    Job,
    Network,
    PieceBytes,
    crossover,
    ddp,
    devices_needed,
    fsdp,
    ring_attention,
    sequence,
)

STRATEGIES = (ddp, fsdp, sequence, ring_attention)
NETWORK = Network(params=1000, layers=5, kept=7.0, piece=PieceBytes(30, 2, 6), key_value=16)
JOB = Job(length=400, batch=8, devices=4)

networks = st.builds(
    Network,
    params=st.integers(1, 10**10),
    layers=st.integers(1, 100),
    kept=st.floats(0, 1e6),
    piece=st.builds(PieceBytes, st.integers(1, 10**7), st.integers(0, 10**7), st.integers(0, 10**5)),
    key_value=st.integers(1, 10**5),
)
jobs = st.builds(
    Job,
    length=st.integers(64, 10**7),
    batch=st.integers(1, 1000),
    devices=st.integers(1, 64),
    optimizer_bytes=st.integers(1, 16),
)


def test_a_small_plan_by_hand():
    """1,000 weights, 5 blocks, 8 rows of 400 tokens, 4 devices: 2 whole rows or 8 rows of 100 on each."""
    replica = {"weights": 4000, "gradients": 4000, "optimiser": 8000, "activations": 800 * 5 * 7}
    assert ddp(NETWORK, JOB).holds == replica
    assert ddp(NETWORK, JOB).sends == {"gradients, all-reduce": 2 * 3 * 1000}
    shard = {"weights": 1000, "gradients": 1000, "optimiser": 2000, "activations": 800 * 5 * 7}
    assert fsdp(NETWORK, JOB).holds == shard | {"gathered": 3 * 800}
    assert fsdp(NETWORK, JOB).sends == {"weights, all-gather": 6000, "gradients, reduce-scatter": 3000}
    assert sequence(NETWORK, JOB).holds == replica | {"gathered": 8 * (4 * 32 + 5 * 30)}
    assert sequence(NETWORK, JOB).sends == {
        "gradients, all-reduce": 6000,
        "states, all-gather": 2 * 5 * 3 * 8 * 32,
        "margins, all-gather": 2 * 5 * 3 * 8 * 6,
    }
    assert ring_attention(NETWORK, JOB).holds == replica | {"gathered": 2 * 800 * 16}
    assert ring_attention(NETWORK, JOB).sends == {
        "gradients, all-reduce": 6000,
        "keys and values, ring": 5 * 2 * 3 * 800 * 16,
        "their gradients, ring": 5 * 4 * 800 * 16,
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(network=networks, job=jobs)
def test_one_device_holds_what_training_holds_and_sends_nothing(strategy, network, job):
    load = strategy(network, replace(job, devices=1))
    assert load.sent == 0
    weights = (4 + 4 + job.optimizer_bytes) * network.params
    activations = round(job.batch * job.length * network.layers * network.kept)
    assert load.held == weights + activations


@pytest.mark.parametrize(("strategy", "times"), [(ddp, 2), (fsdp, 3)])
@given(network=networks, job=jobs, devices=st.integers(2, 10**6))
def test_what_data_parallel_sends_stays_below_a_multiple_of_the_weights(
    strategy, times, network, job, devices
):
    """But for the rounding of shares, a byte for each device; and it grows towards the bound."""
    load = strategy(network, replace(job, devices=devices))
    assert load.sent <= times * (4 * network.params + devices)
    assert load.sent * 2 >= times * 4 * network.params


@given(network=networks, job=jobs, power=st.integers(1, 6))
def test_ring_attention_sends_all_keys_and_values_at_least_twice_and_less_than_three_times(
    network, job, power
):
    devices = 2**power
    job = replace(job, length=64 * (job.length // 64), devices=devices)
    load = ring_attention(network, job)
    attention = load.sent - load.sends["gradients, all-reduce"]
    rows = network.layers * job.batch * job.length * network.key_value
    assert 2 * rows <= attention < 3 * rows


@given(network=networks, job=jobs)
def test_what_the_split_law_sends_does_not_depend_on_the_length(network, job):
    longer = replace(job, length=3 * job.length)
    assert sequence(network, longer).sends == sequence(network, job).sends


@given(network=networks, job=jobs, devices=st.integers(2, 64))
def test_with_devices_the_pieces_grow_by_one_for_each(network, job, devices):
    sent = [
        sequence(network, replace(job, devices=number)).sends["states, all-gather"]
        for number in (devices - 1, devices)
    ]
    assert sent[1] - sent[0] == 2 * network.layers * job.batch * network.piece.gathered


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(network=networks, job=jobs, factor=st.integers(2, 4))
def test_more_to_do_is_never_less_to_hold_or_to_send(strategy, network, job, factor):
    load = strategy(network, job)
    for more in (
        strategy(network, replace(job, batch=factor * job.batch)),
        strategy(network, replace(job, length=factor * job.length)),
        strategy(replace(network, params=factor * network.params), job),
    ):
        assert more.held >= load.held
        assert more.sent >= load.sent


@given(network=networks, job=jobs, devices=st.integers(2, 63))
def test_more_devices_hold_less_of_what_is_dealt_out(network, job, devices):
    few, many = (replace(job, devices=number) for number in (devices, devices + 1))
    for strategy in (ddp, fsdp):
        assert strategy(network, many).held <= strategy(network, few).held
    assert sequence(network, many).holds["activations"] <= sequence(network, few).holds["activations"]


@given(network=networks, job=jobs)
def test_from_the_crossover_on_the_split_law_sends_less_and_before_it_does_not(network, job):
    found = crossover(network, network, job)
    if job.devices == 1:
        assert found is None
        return
    assert found >= job.devices

    def ahead(length):
        at = replace(job, length=length)
        return sequence(network, at).sent < ring_attention(network, at).sent

    assert ahead(found)
    assert found == job.devices or not ahead(found - 1)


@settings(max_examples=8)
@given(network=networks, job=jobs, memory=st.integers(10**6, 10**13))
def test_devices_needed_is_the_first_number_that_fits(network, job, memory):
    for strategy in STRATEGIES:
        found = devices_needed(strategy, network, job, memory)
        tried = range(1, min(job.length, 64) + 1)
        fits = [n for n in tried if strategy(network, replace(job, devices=n)).held <= memory]
        if fits:
            assert found == fits[0]
        else:
            assert found is None or found > tried[-1]
        if found:
            assert strategy(network, replace(job, devices=found)).held <= memory


def test_beyond_a_thousand_devices_powers_of_two_are_tried_and_tokens_are_the_end():
    network = replace(NETWORK, params=10**9, kept=0.0)
    assert devices_needed(fsdp, replace(network, layers=10**6), JOB, 10**7) == 2048
    assert devices_needed(ddp, network, JOB, 16 * 10**9 - 1) is None
    assert devices_needed(sequence, replace(NETWORK, params=1), JOB, 30) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Job(length=0, batch=1, devices=1), "length: expected at least 1, got 0"),
        (lambda: Job(length=1, batch=0, devices=1), "batch: expected at least 1, got 0"),
        (lambda: Job(length=1, batch=1, devices=-1), "devices: expected at least 1, got -1"),
        (lambda: sequence(replace(NETWORK, piece=None), JOB), "network: expected a mixer"),
        (lambda: sequence(NETWORK, Job(3, 1, 4)), "at most one for each of 3 tokens, got 4"),
        (lambda: ring_attention(NETWORK, Job(3, 1, 4)), "at most one for each of 3 tokens, got 4"),
        (lambda: crossover(NETWORK, replace(NETWORK, params=1), JOB), "params: expected the same"),
        (lambda: crossover(NETWORK, replace(NETWORK, key_value=0), JOB), "key_value: expected at least 1"),
    ],
)
def test_what_cannot_be_planned_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
