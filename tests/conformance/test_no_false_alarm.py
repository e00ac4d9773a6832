"""Correct mixers are accused of nothing, whatever is drawn: 25 seeds of every law that has a tolerance.

Seed 0, in full length, is tried in test_planted_faults.py, and of our own mixers in tests/contracts, which
draws seeds of the laws without a budget too. The others run through the command line, in a process where
shapes are not checked, which takes a third of the time. Laws that trace a module are left out: their graphs
do not depend on the seed.
"""

import inspect
import json
import subprocess
import sys

import pytest
from honest import HONEST

from linsight import mixers
from linsight.conformance import LAWS, our_subjects

TRACED = ("export", "compile", "cost-growth")
EXACT = ("fork", "state", "state-size", "accumulation", "no-rows", "determinism", "save-load", "step-cost")
"""Laws that ask for every bit, or whose tolerance is far from any correct mixer: a seed changes nothing."""
LONG = ("long-row",)
"""One row of thousands of tokens, 20 s for a reference over all pairs of tokens: seed 0 has it."""
DIRECT = [name for name in LAWS if name not in TRACED + EXACT + LONG]
BUDGETED = ["gradients", "dtype-ladder"]
"""Laws whose tolerance is a budget, of which a correct mixer uses more or less as the seed has it."""
SEEDS = range(1, 25)
PARTS = [SEEDS[first : first + 12] for first in range(0, len(SEEDS), 12)]
VARIANTS = {kind: [name for name in our_subjects() if name.split()[0] == kind] for kind in mixers.kinds()}


def alarms(subjects, laws, seeds):
    """Subject, law, seed and evidence of every accusation."""
    options = ["--law", ",".join(laws), "--quick", "--json", "--jobs", "1"]
    options += ["--seed", str(seeds.start), "--seeds", str(len(seeds))]
    done = subprocess.run(
        [sys.executable, "-m", "linsight", "check", *subjects, *options], capture_output=True, text=True
    )
    found = json.loads(done.stdout)["subjects"]
    assert [[verdict["law"] for verdict in one["verdicts"]] for one in found] == [list(laws)] * len(subjects)
    return [
        (one["name"], verdict["law"], verdict["seed"], verdict["detail"])
        for one in found
        for verdict in one["verdicts"]
        if verdict["outcome"] not in ("kept", "inapplicable", "unpromised")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", PARTS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
@pytest.mark.parametrize("name", HONEST)
def test_no_seed_accuses_an_honest_mixer(name, seeds):
    make = HONEST[name].make
    assert alarms([f"{inspect.getfile(make)}:{make.__name__}"], DIRECT, seeds) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", VARIANTS)
def test_no_seed_uses_up_a_budget(kind):
    """Every variant has the same five seeds: how near it comes to a budget is its own."""
    assert alarms(VARIANTS[kind], BUDGETED, SEEDS[:5]) == []
