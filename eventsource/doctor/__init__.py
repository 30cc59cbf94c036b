"""`eventsource doctor`: what is wrong with an app's log, and how to mend it."""

from eventsource.doctor.ending import Ended, end_hanging
from eventsource.doctor.examination import RULES, Diagnosis, examine, judge
from eventsource.doctor.facts import Decision, Facts, Hanging, PartitionHistory
from eventsource.doctor.finding import Finding, Severity
from eventsource.doctor.rule import Depth, Rule
from eventsource.doctor.start import START_RULES, check_accepted, check_start

__all__ = [
    "RULES",
    "START_RULES",
    "Decision",
    "Depth",
    "Diagnosis",
    "Ended",
    "Facts",
    "Finding",
    "Hanging",
    "PartitionHistory",
    "Rule",
    "Severity",
    "check_accepted",
    "check_start",
    "end_hanging",
    "examine",
    "judge",
]
