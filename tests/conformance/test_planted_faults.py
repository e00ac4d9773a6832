"""The laws tested on planted defects: each is caught by the law that is there for it, no honest mixer is."""

import inspect
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
from catalogue import ALONE, CAUGHT, KEPT, MODULES
from honest import HONEST

from linsight.conformance import LAWS, Adapter, Subject, examine

TRACED = ("export", "compile")
"""Laws that trace the module: the shape checks of this suite cannot be traced (jaxtyping #196)."""
JUDGED = [name for name, law in LAWS.items() if name != "cost-growth"]
DIRECT = [name for name in JUDGED if name not in TRACED]


def subject_of(fault):
    return fault if isinstance(fault, Subject) else Subject(fault.__name__, fault)


def name_of(fault):
    return subject_of(fault).name


def pairs(table, laws):
    cases = [(fault, law) for law in laws for fault in table.get(law, [])]
    names = [f"{law}-{name_of(fault)}" for fault, law in cases]
    return pytest.mark.parametrize(("fault", "law"), cases, ids=names)


def breaks(fault, law, *, quick=False):
    return examine(subject_of(fault), LAWS[law], quick=quick).outcome == "broken"


@pytest.fixture(scope="module")
def traced():
    """The verdicts of the traced laws, through the command line, where shapes are not checked."""
    modules = {subject.make for subject in HONEST.values()} | {f for law in TRACED for f in CAUGHT[law]}
    subjects = [f"{inspect.getfile(module)}:{module.__name__}" for module in modules]
    command = [sys.executable, "-m", "linsight", "check", *subjects, "--law", ",".join(TRACED), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return {
        (subject["name"].rpartition(":")[2], verdict["law"]): verdict
        for subject in json.loads(done.stdout)["subjects"]
        for verdict in subject["verdicts"]
    }


@pairs(CAUGHT, DIRECT)
def test_a_fault_is_caught(fault, law):
    assert breaks(fault, law)


@pairs(CAUGHT, TRACED)
def test_a_fault_is_caught_where_it_is_traced(traced, fault, law):
    assert traced[name_of(fault), law]["outcome"] == "broken"


@pytest.mark.parametrize("law", DIRECT)
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_mixer_is_not_accused(name, law):
    verdict = examine(HONEST[name], LAWS[law])
    assert verdict.outcome in ("kept", "inapplicable"), verdict.detail


@pytest.mark.parametrize("law", TRACED)
@pytest.mark.parametrize("name", HONEST)
def test_an_honest_mixer_is_not_accused_where_it_is_traced(traced, name, law):
    verdict = traced[name, law]
    assert verdict["outcome"] == "kept", verdict["detail"]


def test_every_law_applies_to_an_honest_mixer():
    """A law that is never applied accuses nobody either."""
    adapters = [(subject.build(), subject) for subject in HONEST.values()]
    assert [law for law in JUDGED if all(LAWS[law].inapplicable(*pair) for pair in adapters)] == []


def test_every_law_catches_something():
    assert set(CAUGHT) == set(JUDGED)


def test_every_planted_fault_is_in_the_table():
    def planted(value, module):
        if isinstance(value, Subject):
            return True
        return inspect.isclass(value) and issubclass(value, Adapter) and value.__module__ == module.__name__

    found = {name_of(f) for m in MODULES for f in vars(m).values() if planted(f, m)}
    assert found == {name_of(fault) for fault in itertools.chain(*CAUGHT.values())}


@pairs(ALONE, DIRECT)
def test_a_subtle_fault_breaks_its_law_alone(fault, law):
    """Its own in full, as every fault is caught; the others have the inputs of `linsight check --quick`."""
    assert fault in CAUGHT[law]
    others = [name for name in DIRECT if name != law]
    assert [name for name in others if breaks(fault, name, quick=True)] == []


@pytest.mark.parametrize(
    ("fault", "law", "because"), KEPT, ids=[f"{law}-{name_of(fault)}" for fault, law, _ in KEPT]
)
def test_a_fault_keeps_the_laws_that_say_nothing_of_it(fault, law, because):
    verdict = examine(subject_of(fault), LAWS[law])
    assert verdict.outcome == "kept", f"{because}, yet: {verdict.detail}"
