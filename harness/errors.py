"""Everything the harness itself can raise.

HarnessError                 the instrument failed                          exit 3
├── UsageError               bad input: nothing was started, nothing lost   exit 4
├── UnavailableError         this machine lacks something that was asked    exit 4
├── InterruptedRunError      Ctrl-C or SIGTERM; faults healed, all stopped  exit 2
├── CacheError               a server could not be downloaded or verified   exit 3
├── ServiceError             a real server did not start, or died           exit 3
├── TargetError              the dispatcher under test did not start        exit 3
├── LoadError                the load generator failed                      exit 3
├── ProbeError               the health probe no longer looks               exit 3
├── FaultError               a fault could not be injected or healed        exit 3
├── CollectError             what was persisted could not be read           exit 3
├── NotJudgedError           a test asked for a run that gave no verdict    exit 7
└── LedgerError              what was collected contradicts itself          exit 3

Each message is one sentence: what is wrong, where, and what would be right.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process exits with: pytest's codes, extended by 7."""

    WITHIN_BUDGET = 0
    OVER_BUDGET = 1
    INTERRUPTED = 2
    HARNESS_ERROR = 3
    USAGE = 4
    NOTHING_JUDGED = 5
    INCONCLUSIVE = 7


class HarnessError(Exception):
    """Root of all errors of the instrument; never raised for what a target does."""

    exit_code: ClassVar[ExitCode] = ExitCode.HARNESS_ERROR


class UsageError(HarnessError):
    """The caller asked for something that cannot be done as written."""

    exit_code = ExitCode.USAGE


class UnavailableError(HarnessError):
    """This machine cannot do what was asked; the message says how to get it."""

    exit_code = ExitCode.USAGE


class InterruptedRunError(HarnessError):
    """The run was interrupted from outside and has been cleaned up."""

    exit_code = ExitCode.INTERRUPTED


class CacheError(HarnessError):
    """A server could not be brought into the cache, or its checksum is wrong."""


class ServiceError(HarnessError):
    """A real server did not come up, or died while it was needed."""


class TargetError(HarnessError):
    """The dispatcher under test did not come up, or died when no fault asked it to."""


class LoadError(HarnessError):
    """The load generator did not run, or its journal cannot be read."""


class ProbeError(HarnessError):
    """The health probe no longer looks at the target."""


class FaultError(HarnessError):
    """A fault could not be injected or healed."""


class EvidenceError(HarnessError):
    """A record of what happened has a gap, so nothing may be concluded from it."""


class CollectError(HarnessError):
    """What the target persisted could not be read."""


class LedgerError(HarnessError):
    """What was collected contradicts itself, so no verdict can be drawn from it."""


class NotJudgedError(HarnessError):
    """A test asked for a run, and the run says nothing about the target."""

    exit_code = ExitCode.INCONCLUSIVE
