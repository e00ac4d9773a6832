"""Correct mixers are accused of nothing, whatever is drawn: 50 seeds of every law.

Seed 0, in full length, is tried in test_planted_faults.py and in tests/contracts. The others run through the
command line, in a process where shapes are not checked, which takes a third of the time. Laws that trace a
module are left out: their graphs do not depend on the seed.
"""

import inspect
import json
import subprocess
import sys

import pytest
from honest import HONEST

from linsight import mixers
from linsight.conformance import LAWS, our_subjects

DIRECT = [name for name in LAWS if name not in ("export", "compile", "cost-growth")]
BUDGETED = ["gradients", "dtype-ladder"]
"""Laws whose tolerance is a budget, of which a correct mixer uses more or less as the seed has it."""
SEEDS = range(1, 50)
VARIANTS = {kind: [name for name in our_subjects() if name.split()[0] == kind] for kind in mixers.kinds()}


def alarms(subjects, laws, seeds):
    """Subject, law, seed and evidence of every accusation."""
    options = ["--law", ",".join(laws), "--quick", "--json"]
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
@pytest.mark.parametrize("name", HONEST)
def test_no_seed_accuses_an_honest_mixer(name):
    make = HONEST[name].make
    assert alarms([f"{inspect.getfile(make)}:{make.__name__}"], DIRECT, SEEDS) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", mixers.kinds())
def test_no_seed_accuses_a_mixer_of_ours(kind):
    """The variants of a kind share the seeds: what differs between them is one function."""
    variants = VARIANTS[kind]
    for number, name in enumerate(variants):
        first, end = (len(SEEDS) * place // len(variants) for place in (number, number + 1))
        assert alarms([name], DIRECT, SEEDS[first:end]) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", mixers.kinds())
def test_no_seed_uses_up_a_budget(kind):
    """Every variant has every seed here: how near it comes to a budget is its own."""
    assert alarms(VARIANTS[kind], BUDGETED, SEEDS) == []
