"""Replies that are not streamed, asked for as fast as they come: requests a second."""

from bench.client import Client
from bench.histogram import Histogram
from bench.loads.run import Run
from bench.loop import now_ns
from bench.wire import Script


def plain(run: Run, *, connections: int, warm: float, seconds: float) -> None:
    """Each of `connections` sends its next request when it has its reply (a closed loop)."""
    start = run.soon()
    opens, closes = start + int(warm * 1e9), start + int((warm + seconds) * 1e9)
    took: list[int] = []
    request = run.chat(Script(n=1), stream=False)

    def ask(client: Client) -> None:
        began = now_ns()
        if began >= closes:
            client.close()
            return

        def ended(problem: str) -> None:
            ends = now_ns()
            if problem:
                run.broken(problem)
                # A target that refuses at once would otherwise be asked without a pause.
                run.loop.after(0.05, lambda: ask(run.pool.take()))
                return
            if opens <= ends < closes:
                took.append(ends - began)
            ask(client if client.usable else run.pool.take())

        client.send(request, lambda data, now: None, ended)

    for _ in range(connections):
        ask(run.pool.take())
    run.loop.at(opens, run.meter.start)
    run.loop.at(closes, run.meter.stop)
    run.drive(until=closes + 50_000_000)
    histogram = Histogram.of(took)
    result = run.result
    result.latency = histogram.to_json()
    result.values["requests_per_s"] = len(took) / result.window_s if result.window_s else 0.0
    result.tell(histogram, p50_ms=50, p99_ms=99)
    cost = run.meter.cpu_us_per(len(took))
    if cost is not None:
        result.values["cpu_us_per_request"] = cost
