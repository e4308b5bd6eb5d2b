"""Everything the harness itself can raise.

HarnessError                 the instrument failed                          exit 3
├── UsageError               bad input: nothing was started, nothing lost   exit 4
├── UnavailableError         this machine lacks something that was asked    exit 4
├── InterruptedRunError      Ctrl-C or SIGTERM; faults healed, all stopped  exit 2
├── CacheError               a server could not be downloaded or verified   exit 3
├── ServiceError             a real server did not start, or died           exit 3
│   └── AbsentError          a server has no such thing to undo             exit 3
├── TargetError              the dispatcher under test did not start        exit 3
├── LoadError                the load generator failed                      exit 3
├── ProbeError               the health probe no longer looks               exit 3
├── FaultError               a fault could not be injected or healed        exit 3
├── CollectError             what was persisted could not be read           exit 3
├── NotJudgedError           a test asked for a run that gave no verdict    exit 7
├── AlteredError             a recorded run was changed since               exit 3
└── LedgerError              what was collected contradicts itself          exit 3

Each message is one sentence: what is wrong, where, and what would be right. Passwords in it
are made unreadable, and what could move a terminal's cursor is left out, as it is raised.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process exits with: pytest's codes, extended by 7.

    Where several apply, the gravest decides, in this order: interrupted, usage, harness error,
    nothing judged, inconclusive, over budget, within budget. What was not judged outweighs
    what was: a pipeline must not take it for judged.
    """

    WITHIN_BUDGET = 0
    OVER_BUDGET = 1
    INTERRUPTED = 2
    HARNESS_ERROR = 3
    USAGE = 4
    NOTHING_JUDGED = 5
    INCONCLUSIVE = 7

    @classmethod
    def gravest(cls, codes: Iterable[ExitCode]) -> ExitCode:
        """Return the code that decides among several; of none, that nothing was judged."""
        order = (
            *(cls.INTERRUPTED, cls.USAGE, cls.HARNESS_ERROR, cls.NOTHING_JUDGED),
            *(cls.INCONCLUSIVE, cls.OVER_BUDGET, cls.WITHIN_BUDGET),
        )
        return min(codes, key=order.index, default=cls.NOTHING_JUDGED)


# Up to the last @ of a word, since a password may hold one, and a slash as well.
_USERINFO = re.compile(r"""(?<=://)[^\s"'<>\\`]*@""")
_VALUE = r"""(?:'[^']*'|"[^"]*"|[^\s"'&;,)}{\\]+)"""
_NAMES = (
    r"(?:password|passwd|passphrase|pwd|secret|token|credential|signature|\bsig"
    r"|(?:api|access|account|private|shared)[_-]?key)[\w-]*"
)
_NAMED = re.compile(rf"""({_NAMES}\s*=\s*){_VALUE}""", re.IGNORECASE)
# As JSON and Python write it; without its quotes a name with a colon is the place of an error.
_QUOTED = re.compile(rf"""(["'][\w.-]*?{_NAMES}["']\s*:\s*){_VALUE}""", re.IGNORECASE)
# A sentence may stand behind the name of a header as well; a value is one word, or has a scheme.
_HEADER = re.compile(
    r"""((?<![\w.-])(?:(?:proxy-)?authorization|x-[\w-]*(?:key|token|secret))["']?\s*[=:]\s*["']?)"""
    r"""(?:(?:basic|bearer|digest|token|negotiate|apikey)\s+[^\s"']+|[^\s"']+(?=["',]|\s*$))""",
    re.IGNORECASE | re.MULTILINE,
)
_COOKIE = re.compile(
    r"""((?<![\w.-])(?:set-)?cookie["']?:\s*["']?)[^\r\n"'=]+=[^\r\n"']*""", re.IGNORECASE
)
_OPTION = re.compile(
    rf"""(--?(?:password|passwd|secret|token|api-key)\s+){_VALUE}""", re.IGNORECASE
)
# user:password@host where no scheme stands before it; an image's digest is none.
_BARE_USERINFO = re.compile(
    r"""(?<![^\s"'<>/=(,])([\w.+%-]+:)[^\s"'<>/:@]+@(?!sha256:)(?=[\w(\[])"""
)
_CONTROL = re.compile("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029]+")
HIDDEN = "***"


def redacted(text: str) -> str:
    """Return a text without the passwords in it: of URLs, headers, ``password=…`` and the like.

    A name counts where a value follows it, so that the place of an error stays readable.
    """
    if "@" in text:
        text = _USERINFO.sub(f"{HIDDEN}@", text)
        text = _BARE_USERINFO.sub(rf"\g<1>{HIDDEN}@", text)
    for rule in (_HEADER, _COOKIE, _OPTION, _QUOTED, _NAMED):
        text = rule.sub(rf"\g<1>{HIDDEN}", text)
    return text


def traceback_of(error: BaseException) -> str:
    """Return an error's traceback without the passwords in it."""
    return redacted("".join(traceback.format_exception(error)))


def plain(text: str) -> str:
    """Return a text without what a terminal would act on; its lines and tabs stay."""
    return _CONTROL.sub("", text)


class HarnessError(Exception):
    """Root of all errors of the instrument; never raised for what a target does."""

    exit_code: ClassVar[ExitCode] = ExitCode.HARNESS_ERROR

    def __init__(self, *args: object) -> None:
        super().__init__(*(plain(redacted(a)) if isinstance(a, str) else a for a in args))


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


class AbsentError(ServiceError):
    """A server was asked to undo what it does not have, such as a toxic that was never added."""


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


class AlteredError(HarnessError):
    """A recorded run differs from the digests that were taken when it was recorded."""


class LedgerError(HarnessError):
    """What was collected contradicts itself, so no verdict can be drawn from it."""


class NotJudgedError(HarnessError):
    """A test asked for a run, and the run says nothing about the target."""

    exit_code = ExitCode.INCONCLUSIVE
