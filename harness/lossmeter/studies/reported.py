"""Known reports of losses, each with the experiment by which anyone can see it, or see it mended.

They are data, in ``experiments/reported/reports.toml``; the experiments stand beside it. Their
runs are kept as those of the board, see ``studies.standing``; two reports may ask for the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lossmeter.errors import UsageError
from lossmeter.plan.catalogue import Catalogue, cells
from lossmeter.plan.tables import first_problem, read_tables
from lossmeter.plugins import unknown
from lossmeter.studies.board import FOLDER, target_file
from lossmeter.studies.standing import Entry, Made, Plan, State, digests_of, worst

REPORTED, FILE = "reported", "reports.toml"
REPEATS = 3
# Written into pages as it stands.
_URL = r"^https://[\w./-]+$"
SeenBy = Literal["lost", "held", "late", "duplicated"]
# The runs that are kept, and their page.
STATE, PAGE = "reported.json", "reported.md"


class Report(BaseModel):
    """One report: what it says, and how it is asked here.

    Attributes:
        of: the versions that it was reported of.
        says: what was to be seen.
        experiment: a file beside the reports; ``target``: a configuration of the board.
        seen_by: the class of event that shows it.
        differs: what is not as reported; empty for nothing.
        why_not: why no experiment can ask; empty where one does.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(pattern=_URL)] | Literal[""] = ""
    of: Annotated[str, Field(min_length=1)]
    says: Annotated[str, Field(min_length=1)]
    experiment: str = ""
    target: str = ""
    seen_by: SeenBy = "lost"
    differs: str = ""
    why_not: str = ""

    @model_validator(mode="after")
    def _asked_or_not(self) -> Self:
        if bool(self.experiment and self.target) == bool(self.why_not):
            raise ValueError("name either experiment and target, or why_not")
        return self

    def seen_in(self, run: Made) -> bool:
        """Return whether a run shows what was reported."""
        return bool(getattr(run.counts, self.seen_by))


class Row(BaseModel):
    """A report beside what the runs that still stand show of it.

    Attributes:
        runs: those that were judged, by repeat; ``asked``: how many there are to be.
    """

    name: str
    report: Report
    runs: list[Made] = []
    asked: int = 0

    @property
    def seen(self) -> int:
        """Return in how many of the runs it was seen."""
        return sum(self.report.seen_in(run) for run in self.runs)

    @property
    def worst(self) -> Made | None:
        """Return the worst of those in which it was seen, or else of all."""
        seen = [run for run in self.runs if self.report.seen_in(run)]
        return worst(seen or self.runs)


def read_reports(catalogue: Catalogue) -> dict[str, Report]:
    """Return the reports by their names.

    Raises:
        UsageError: the file is missing or wrong.
    """
    path = catalogue.file("experiments", f"{REPORTED}/{FILE}")
    found = {}
    for name, table in read_tables(path, "file of reports").items():
        try:
            found[name] = Report.model_validate(table)
        except ValidationError as error:
            raise UsageError(f"{path}: {name}: {first_problem(error)}") from None
    return found


def plan_of(catalogue: Catalogue, names: Sequence[str] = ()) -> Plan[Entry]:
    """Return the cells that the named reports ask for, or all; each once.

    Raises:
        UsageError: a file is missing or wrong, or there is no such report.
    """
    reports = read_reports(catalogue)
    for name in names:
        if name not in reports:
            raise UsageError(unknown("report", name, reports))
    asked = [each for name, each in reports.items() if not names or name in names]
    pairs = dict.fromkeys((each.experiment, each.target) for each in asked if not each.why_not)
    return Plan(REPEATS, [_entry(catalogue, *pair) for pair in pairs])


def _entry(catalogue: Catalogue, experiment: str, target: str) -> Entry:
    path = catalogue.file("experiments", f"{REPORTED}/{experiment}.toml")
    file = target_file(catalogue.file("targets", FOLDER), target)
    (cell,) = cells(catalogue, catalogue.experiment(str(path)), [str(file)], [])
    return Entry(experiment, cell, *digests_of(target, file, path))


def rows_of(catalogue: Catalogue, state: State) -> list[Row]:
    """Return each report beside its runs."""
    plan = plan_of(catalogue)
    made = {(each.column, each.target): state.of(each) for each in plan.entries}
    return [
        Row(
            name=name,
            report=report,
            runs=[r for r in made.get((report.experiment, report.target), []) if r.judged],
            asked=0 if report.why_not else plan.repeats,
        )
        for name, report in read_reports(catalogue).items()
    ]
