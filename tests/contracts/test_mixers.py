"""Every registered mixer, and every op, under every law of the conformance kit (spec/mixers.md, 2)."""

import json
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsight import mixers
from linsight.conformance import LAWS, examine, our_subjects

SUBJECTS = our_subjects()
CAUSAL = [kind for kind in mixers.kinds() if True in mixers.config(kind).directions]
OF_PARTS = {"decay-extremes", "unbiased-features", "stable-discretisation", "options-count", "refusals"}
"""Laws of parts that neither mixer has, or that are tested by name elsewhere (test_mixer_refusals.py)."""


def test_every_registered_kind_is_a_subject():
    """A new mixer is tested by being registered."""
    assert set(CAUSAL) <= set(SUBJECTS)
    both = [kind for kind in mixers.kinds() if False in mixers.config(kind).directions]
    assert {f"{kind} bidirectional" for kind in both} <= set(SUBJECTS)


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_laws_say_something_of_every_causal_mixer(kind):
    """A law that silently does not apply proves nothing."""
    subject = SUBJECTS[kind]
    adapter = subject.build()
    silent = {law.name for law in LAWS.values() if law.inapplicable(adapter, subject)}
    growing = {"step-cost", "accumulation", "long-row"} if adapter.state_grows else set()
    drawn = {"unbiased-features"} if subject.features else set()
    steps = {"stable-discretisation"} if subject.discretise else set()
    assert silent == growing | OF_PARTS - drawn - steps


@pytest.mark.slow
@pytest.mark.parametrize("part", ["default", "variants"])
@pytest.mark.parametrize("kind", [*mixers.kinds(), "ops"])
def test_every_law_is_kept(kind, part):
    """All laws that judge, through the command line, in a process without shape checks.

    The default of a kind is tried in full length, its variants on the shorter rows of `--quick`. Laws that
    trace a graph, which is one for all variants of a kind, are tried on its default alone.
    """
    variants = part == "variants"
    names = [name for name in SUBJECTS if re.split("[ .]", name)[0] == kind and ("=" in name) == variants]
    if not names:
        pytest.skip("there are none")
    left_out = ("cost-growth", *(("export", "compile") if variants else ()))
    laws = [law for law in LAWS if law not in left_out]
    command = [sys.executable, "-m", "linsight", "check", *names, "--law", ",".join(laws), "--json"]
    command += ["--jobs", "1", *(["--quick"] if variants else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout)["subjects"]
    broken = [
        (subject["name"], verdict["law"], verdict["detail"])
        for subject in found
        for verdict in subject["verdicts"]
        if verdict["outcome"] == "broken"
    ]
    assert broken == []
    assert [subject["name"] for subject in found] == names
    assert [[v["law"] for v in subject["verdicts"]] for subject in found] == [laws] * len(names)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("law", ["split", "causality", "padding", "ragged", "forms", "carried-gradients"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_law_is_kept_on_whatever_is_drawn(subject, law):
    """Splits, lengths, orders and tokens come from the seed; shapes are checked at every call."""

    @settings(max_examples=1 if "=" in subject else 2)
    @given(seed=st.integers(1, 2**31))
    def of(seed):
        verdict = examine(SUBJECTS[subject], LAWS[law], seeds=[seed], quick=True)
        assert verdict.outcome in ("kept", "inapplicable"), f"seed {seed}: {verdict.detail}"

    of()
