"""The cases, in the order of the report. One question a file."""

from bench.cases import (
    burst,
    carriers,
    churn,
    compression,
    fan_out,
    first_chunk,
    idle,
    leave,
    plain,
    slow,
    steady,
    storm,
)
from bench.cases.case import Case, Metric

CASES: dict[str, Case] = {
    module.CASE.name: module.CASE
    for module in (first_chunk, steady, burst, plain, fan_out, carriers, compression, storm, leave, slow, idle, churn)
}

__all__ = ["CASES", "Case", "Metric"]
