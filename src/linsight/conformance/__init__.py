"""The conformance kit: the contract as laws with evidence, for our mixers and for anybody's module."""

from linsight.conformance.adapter import Adapter, Native
from linsight.conformance.check import Report, check, examine
from linsight.conformance.foreign import Stepped, Whole
from linsight.conformance.formed import Attention, Cached
from linsight.conformance.law import Breach, Evidence, Law, Verdict
from linsight.conformance.load import load_subject
from linsight.conformance.ours import our_subjects, small_options
from linsight.conformance.subject import Subject, kind_subject
from linsight.conformance.table import LAWS
from linsight.conformance.trial import Trial

__all__ = [
    "LAWS",
    "Adapter",
    "Attention",
    "Breach",
    "Cached",
    "Evidence",
    "Law",
    "Native",
    "Report",
    "Stepped",
    "Subject",
    "Trial",
    "Verdict",
    "Whole",
    "check",
    "examine",
    "kind_subject",
    "load_subject",
    "our_subjects",
    "small_options",
]
