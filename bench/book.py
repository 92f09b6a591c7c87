"""All that a benchmark found, as it is reported: medians over repeats, and what to think of them."""

import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any

from bench.cases import CASES, Case, Metric
from bench.histogram import Histogram
from bench.result import TOO_BUSY, TOO_LATE_US, Result


@dataclasses.dataclass
class Cell:
    """One target's answer to one variant of a case."""

    repeats: list[Result] = dataclasses.field(default_factory=list)
    reason: str = ""
    """Why there is no result; "n/a" if the target cannot do this at all."""

    @property
    def verdict(self) -> str:
        """What was wrong in any repeat; empty if nothing was."""
        return next((result.verdict for result in self.repeats if result.failed), "")

    @property
    def problem(self) -> str:
        return next((result.problem for result in self.repeats if result.problem), "")

    def median(self, key: str) -> float | None:
        values = [result.values[key] for result in self.repeats if key in result.values]
        return statistics.median(values) if values else None

    def spread(self, key: str) -> tuple[float, float] | None:
        """Smallest and largest of the repeats, where there are several."""
        values = [result.values[key] for result in self.repeats if key in result.values]
        return (min(values), max(values)) if len(values) > 1 else None

    def histogram(self) -> Histogram:
        merged = Histogram()
        for result in self.repeats:
            merged.merge(result.histogram())
        return merged

    def notes(self) -> list[str]:
        return list(dict.fromkeys(note for result in self.repeats for note in result.notes))

    def busiest(self) -> tuple[float, float]:
        """The largest CPU shares of upstream and load."""
        return (
            max((result.upstream_cpu for result in self.repeats), default=0.0),
            max((result.load_cpu for result in self.repeats), default=0.0),
        )


@dataclasses.dataclass
class Book:
    """The whole benchmark."""

    created: str
    machine: dict[str, str]
    settings: dict[str, Any]
    about: dict[str, str]
    """What each target is, in the order of the report."""
    kinds: dict[str, str]
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    """Targets that could not be had, and why."""
    cells: dict[tuple[str, str, str], Cell] = dataclasses.field(default_factory=dict)

    @property
    def one_core(self) -> bool:
        """Upstream and load share a core."""
        return bool(self.settings.get("harness_shares_a_core"))

    def targets(self) -> list[str]:
        return [name for name in self.about if name not in self.skipped]

    def cell(self, case: str, variant: str, target: str) -> Cell:
        return self.cells.setdefault((case, variant, target), Cell())

    def sections(self) -> Iterator[tuple[Case, str]]:
        """Each case and variant that was run, in the order of the table of cases."""
        for case in CASES.values():
            for variant in case.variants:
                if any(key[:2] == (case.name, variant) for key in self.cells):
                    yield case, variant

    def value(self, case: Case, variant: str, target: str, metric: Metric) -> float | None:
        cell = self.cells.get((case.name, variant, target))
        if cell is None:
            return None
        if not metric.minus_direct:
            return cell.median(metric.key)
        direct = self.cells.get((case.name, variant, "direct"))
        if direct is None or target == "direct":
            return None
        differences = [
            there.values[metric.minus_direct] - here.values[metric.minus_direct]
            for there, here in zip(cell.repeats, direct.repeats, strict=False)
            if metric.minus_direct in there.values and metric.minus_direct in here.values
        ]
        return statistics.median(differences) if differences else None

    def harness_limit(self, cell: Cell) -> str:
        """Says so if the harness, not the target, may have set the pace; else empty."""
        upstream, load = cell.busiest()
        if self.one_core:
            busy = [("upstream and load, which share a core, were", upstream + load)]
        else:
            busy = [("the upstream was", upstream), ("the load generator was", load)]
        over = [name for name, share in busy if share > TOO_BUSY]
        return f"{over[0]} busy for more than {TOO_BUSY:.0%} of it: may be faster than shown" if over else ""

    def harness_late(self, cell: Cell) -> str:
        """Says so if the upstream could not keep to its plan; else empty."""
        if max((result.upstream_late_us for result in cell.repeats), default=0.0) <= TOO_LATE_US:
            return ""
        return f"the upstream was over {TOO_LATE_US / 1000:.0f} ms late by its own plan: chunks came in clumps"

    def to_json(self) -> dict[str, Any]:
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain["cells"] = [
            {
                "case": case,
                "variant": variant,
                "target": target,
                "reason": cell.reason,
                "failed": bool(cell.verdict),
                "verdict": cell.verdict,
                "harness_limit": self.harness_limit(cell),
                "values": self._values(case, variant, target),
                "repeats": [result.to_json() for result in cell.repeats],
            }
            for (case, variant, target), cell in self.cells.items()
        ]
        return plain

    def _values(self, case: str, variant: str, target: str) -> dict[str, float]:
        metrics = CASES[case].metrics
        values = {metric.key: self.value(CASES[case], variant, target, metric) for metric in metrics}
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Book":
        cells = {
            (cell["case"], cell["variant"], cell["target"]): Cell(
                [Result.from_json(result) for result in cell["repeats"]], cell["reason"]
            )
            for cell in data["cells"]
        }
        return cls(**{**data, "cells": cells})
