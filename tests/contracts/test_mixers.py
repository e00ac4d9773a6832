"""Every registered mixer, and every op, under every law of the conformance kit (spec/mixers.md, 2)."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linsight import mixers
from linsight.conformance import LAWS, examine, our_subjects

SUBJECTS = our_subjects()
TRACED = ("export", "compile")
"""Laws that trace the module: the shape checks of this suite cannot be traced (jaxtyping #196)."""
OF_PARTS = {"decay-extremes", "unbiased-features", "stable-discretisation", "options-count", "refusals"}
"""Laws of parts that neither mixer has, or that are tested by name elsewhere (test_mixer_refusals.py)."""


def test_every_registered_kind_is_a_subject():
    """A new mixer is tested by being registered."""
    assert set(mixers.kinds()) <= set(SUBJECTS)
    assert {f"{kind} bidirectional" for kind in mixers.kinds()} <= set(SUBJECTS)


@pytest.mark.parametrize("kind", mixers.kinds())
def test_the_laws_say_something_of_every_causal_mixer(kind):
    """A law that silently does not apply proves nothing."""
    subject = SUBJECTS[kind]
    adapter = subject.build()
    silent = {law.name for law in LAWS.values() if law.inapplicable(adapter, subject)}
    growing = {"step-cost", "accumulation"} if adapter.state_grows else set()
    assert silent == growing | OF_PARTS


@pytest.mark.parametrize("law", [name for name in LAWS if name not in TRACED])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_law_is_kept(subject, law):
    verdict = examine(SUBJECTS[subject], LAWS[law])
    assert verdict.outcome != "broken", verdict.detail


@pytest.mark.parametrize("law", ["split", "causality", "padding", "ragged", "forms", "carried-gradients"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_law_is_kept_on_whatever_is_drawn(subject, law):
    """Splits, lengths, orders and tokens come from the seed."""

    @settings(max_examples=4)
    @given(seed=st.integers(1, 2**31))
    def of(seed):
        verdict = examine(SUBJECTS[subject], LAWS[law], seeds=[seed], quick=True)
        assert verdict.outcome in ("kept", "inapplicable"), f"seed {seed}: {verdict.detail}"

    of()


@pytest.mark.slow
def test_the_laws_of_traced_graphs_are_kept():
    """Through the command line, in a process of its own, where shapes are not checked."""
    subjects = [name for name in SUBJECTS if "=" not in name]
    laws = [word for law in TRACED for word in ("--law", law)]
    command = [sys.executable, "-m", "linsight", "check", *subjects, *laws, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout)["subjects"]
    broken = [
        (subject["name"], verdict["law"], verdict["detail"])
        for subject in found
        for verdict in subject["verdicts"]
        if verdict["outcome"] not in ("kept", "inapplicable")
    ]
    assert broken == []
    assert [subject["name"] for subject in found] == subjects
    assert done.returncode == 0, done.stderr
