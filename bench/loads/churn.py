"""A new connection for every request: what coming and going costs."""

from bench.client import Client
from bench.histogram import Histogram
from bench.loads.run import Run
from bench.loop import now_ns
from bench.tally import Tally
from bench.wire import Script

_CHUNKS = 3


def churn(run: Run, *, clients: int, warm: float, seconds: float) -> None:
    """Each of `clients` connects, reads a short stream to its end, closes, and starts again (a closed loop)."""
    start = run.soon()
    opens, closes = start + int(warm * 1e9), start + int((warm + seconds) * 1e9)
    took: list[int] = []
    request = run.chat(Script(n=_CHUNKS))

    def come() -> None:
        began = now_ns()
        if began >= closes:
            return
        client = Client(run.loop, run.place.port)
        tally = Tally()

        def ended(problem: str) -> None:
            client.close()
            if problem:
                run.broken(problem)
                run.loop.after(0.05, come)
                return
            run.account(tally, _CHUNKS)
            if opens <= (ends := now_ns()) < closes:
                took.append(ends - began)
            come()

        client.send(request, tally.body, ended)

    for _ in range(clients):
        come()
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    run.drive(until=closes + 50_000_000)
    histogram = Histogram.of(took)
    result = run.result
    result.latency = histogram.to_json()
    result.values["connections_per_s"] = len(took) / result.window_s if result.window_s else 0.0
    result.tell(histogram, p50_ms=50, p99_ms=99)
    cost = run.meter.cpu_us_per(len(took))
    if cost is not None:
        result.values["cpu_us_per_connection"] = cost
