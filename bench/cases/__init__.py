"""The cases, in the order of the report. One question a file."""

from bench.cases import burst, first_chunk, plain, steady
from bench.cases.case import Case, Metric

CASES: dict[str, Case] = {module.CASE.name: module.CASE for module in (first_chunk, steady, burst, plain)}

__all__ = ["CASES", "Case", "Metric"]
