"""What a case is: one question, the load that answers it, and the figures that are the answer."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure of a case."""

    key: str
    """Its name among a result's values."""
    label: str
    unit: str
    definition: str
    """One sentence: how it is measured."""
    better: Literal["lower", "higher"] = "lower"
    minus_direct: str = ""
    """The key of the metric from which `direct`'s value of the same run is taken off, giving this one."""
    chart: bool = False
    """Drawn as bars by target."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    question: str
    load: str
    """The name of a load in `bench.load.LOADS`."""
    variants: Mapping[str, Mapping[str, Any]]
    """The load's arguments, by the label of the variant."""
    metrics: tuple[Metric, ...]
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments for every variant of a quick run …"""
    full: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """… and of a full one."""
    quick_variants: tuple[str, ...] | None = None
    """Those which a quick run takes; None: all."""
    needs: str = ""
    """What the target must be able to do, beside the `way` of a variant; a variant without a way needs "chat"."""
    of_a_process: bool = False
    """Asks about the target's process, so `direct` has no answer."""
    glance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Variants whose first metric is shown at the top of the report, with a name for it there."""
    fresh: bool = False
    """Wants a target that has just been started."""
    latency: str = ""
    """What the latency histogram of this case is of; drawn as a distribution. Empty: not drawn."""
    obstacle: Callable[[], str] = lambda: ""
    """Why this machine cannot do it, as a sentence; empty if it can."""
    deadline: float = 60.0
    """Seconds after which the load has failed."""

    def arguments(self, variant: str, full: bool) -> dict[str, Any]:
        return {**self.variants[variant], **(self.full if full else self.quick)}

    def chosen(self, full: bool) -> tuple[str, ...]:
        if full or self.quick_variants is None:
            return tuple(self.variants)
        return self.quick_variants


def milliseconds(key: str, label: str, definition: str, **more: Any) -> Metric:
    return Metric(key=key, label=label, unit="ms", definition=definition, **more)
