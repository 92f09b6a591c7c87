"""The cases, in the order of the report. One question a file."""

from bench.cases import (
    abuse,
    burst,
    chunking,
    churn,
    commands,
    compression,
    fairness,
    fan_out,
    first_chunk,
    idle,
    idle_sockets,
    leave,
    network,
    plain,
    slow,
    steady,
    storm,
)
from bench.cases.case import Case, Metric

CASES: dict[str, Case] = {
    module.CASE.name: module.CASE
    for module in (
        first_chunk,
        steady,
        burst,
        plain,
        fan_out,
        compression,
        chunking,
        storm,
        commands,
        fairness,
        leave,
        slow,
        network,
        idle,
        idle_sockets,
        churn,
        abuse,
    )
}

__all__ = ["CASES", "Case", "Metric"]
