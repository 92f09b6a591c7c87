"""Metrics tell the truth: known traffic in, its numbers out."""

from __future__ import annotations

import pytest
import trio

from tests.doubles.gate import Gate
from tests.doubles.gateway_client import last_id, openai_text, types
from tests.doubles.openai_script import BUSY, UNAUTHORIZED, Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.routes import in_order, routed
from tests.doubles.served_gateway import Serve, ServedGateway
from tests.doubles.waiting import until
from tests.e2e.observe.scrape import scrape

ALL = "*"
"""The route that takes every name which has none of its own."""


async def settled(gateway: ServedGateway) -> None:
    """Wait until nothing is under way, though clients may still be connected."""
    await until(lambda: not gateway.now.running and not gateway.now.upstream_busy)


async def test_whole_streams(gateway: ServedGateway, upstream: OpenAIServer) -> None:
    upstream.scripts["mock"] = Script(deltas=words(20))
    for _ in range(3):
        events = await (await gateway.chat("renamed", stream_options={"include_usage": True})).events().rest()
        assert openai_text(events)
    await settled(gateway)
    seen = scrape(gateway)
    usage = [event.json["usage"] for event in events if event.data != "[DONE]" and event.json.get("usage")][-1]
    model = {"gen_ai_request_model": "renamed"}
    assert seen.get("stream_gateway_streams_created_total", route="renamed") == 3
    assert seen.by("stream_gateway_streams_ended_total", "outcome", route="renamed") == {"finished": 3}
    assert seen.get("gen_ai_server_time_to_first_token_seconds_count", **model) == 3
    assert seen.get("gen_ai_server_request_duration_seconds_count", error_type="", **model) == 3
    assert seen.get("gen_ai_server_time_per_output_token_seconds_count", **model) == 3
    whole = seen.get("gen_ai_server_request_duration_seconds_sum", **model)
    assert 0 < seen.get("gen_ai_server_time_to_first_token_seconds_sum", **model) < whole
    target = {"route": "renamed", "gen_ai_provider_name": "mock", "gen_ai_request_model": "mock"}
    for kind, tokens in (("input", usage["prompt_tokens"]), ("output", usage["completion_tokens"])):
        assert seen.get("gen_ai_client_token_usage_sum", gen_ai_token_type=kind, **target) == 3 * tokens
    assert seen.get("gen_ai_client_operation_duration_seconds_count", **target) == 3
    assert seen.get("gen_ai_client_operation_time_to_first_chunk_seconds_count", **target) == 3
    assert seen.by("stream_gateway_attempts_total", "kind", **target) == {"first": 3}
    assert seen.by("stream_gateway_attempts_ended_total", "outcome", **target) == {"finished": 3}
    assert seen.by("stream_gateway_streams", "state") == {"retained": 3}
    assert seen.get("stream_gateway_memory_bytes", kind="logs") == gateway.now.log_bytes > 0


async def test_each_chunk_is_counted_and_timed(gateway: ServedGateway, upstream: OpenAIServer) -> None:
    gate = Gate()
    upstream.scripts["mock"] = Script(deltas=words(4), gate=gate)
    stream = (await gateway.create("renamed"))["id"]
    events = (await gateway.subscribe(stream)).events()
    await events.take(1)
    name = "gen_ai_client_operation_time_per_output_chunk_seconds"
    for number in range(4):
        gate.release()
        await events.take(1)
        assert scrape(gateway).get(f"{name}_count", gen_ai_request_model="renamed") == number
    gate.release()
    await events.rest()
    status = await gateway.status(stream)
    assert scrape(gateway).get("stream_gateway_events_total", route="renamed") == status["events"]


async def test_names_that_clients_make_up_make_no_metrics(gateway: ServedGateway) -> None:
    before = scrape(gateway)
    for number in range(20):
        await (await gateway.chat(f"made-up-{number}")).read()
        await (await gateway.chat(f"demo-n{number}")).read()
        await (await gateway.chat(f"whole-{number}", stream=False)).read()
    seen = scrape(gateway)
    assert seen.by("stream_gateway_streams_created_total", "route") == {ALL: 20, "demo": 20}
    assert before.by("stream_gateway_streams_created_total", "route") == {}
    assert seen.by("gen_ai_server_request_duration_seconds_count", "gen_ai_request_model") == {ALL: 40, "demo": 20}


@pytest.mark.parametrize("stream", [True, False])
async def test_failures(gateway: ServedGateway, upstream: OpenAIServer, stream: bool) -> None:
    upstream.scripts["mock"] = Script(refusal=UNAUTHORIZED)
    assert (await gateway.chat("renamed", stream=stream)).status == 401
    seen = scrape(gateway)
    assert seen.by("gen_ai_server_request_duration_seconds_count", "error_type") == {"401": 1}
    assert seen.by("stream_gateway_upstream_errors_total", "code") == {"http_4xx": 1}
    assert seen.by("stream_gateway_streams_ended_total", "outcome") == ({"failed": 1} if stream else {})


async def test_retries_hedges_and_circuits(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(**routed(in_order("a", "b"), breaker={"failures": 1}))
    upstream.scripts |= {"a": Script(refusal=BUSY), "b": Script()}
    for _ in range(2):
        await (await gateway.chat("r")).read()
    await settled(gateway)
    seen = scrape(gateway)
    assert seen.by("stream_gateway_attempts_total", "gen_ai_request_model", route="r", kind="first") == {"a": 1, "b": 1}
    assert seen.by("stream_gateway_attempts_total", "gen_ai_request_model", route="r", kind="retry") == {"b": 1}
    assert seen.by("stream_gateway_upstream_errors_total", "code", route="r") == {"http_503": 1}
    circuits = {m: seen.by("stream_gateway_target_circuit", "state", gen_ai_request_model=m, route="r") for m in "ab"}
    assert circuits == {"a": {"open": 1}, "b": {"closed": 1}}
    assert seen.by("stream_gateway_streams_ended_total", "outcome") == {"finished": 2}


async def test_clients_that_leave_come_back_and_find_gaps(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(streams={"retain_bytes": 2000})
    gate = Gate(3)
    upstream.scripts["mock"] = Script(deltas=words(40), gate=gate)
    stream = (await gateway.create("renamed", lease="finish"))["id"]
    events = (await gateway.subscribe(stream)).events()
    first = await events.take(2)
    await events.response.connection.aclose()
    await until(lambda: gateway.now.subscriptions == 0)
    seen = scrape(gateway)
    assert seen.get("stream_gateway_clients_left_total", route="renamed") == 1
    assert seen.get("stream_gateway_resumes_total") == 0
    events = (await gateway.subscribe(stream, last=last_id(first))).events()
    await events.take(1)
    assert scrape(gateway).get("stream_gateway_resumes_total", route="renamed") == 1
    assert scrape(gateway).get("stream_gateway_gaps_total") == 0
    gate.open()
    await events.rest()
    late = await (await gateway.subscribe(stream, last=last_id(first))).events().rest()
    assert types(late)[0] == "notice"
    await settled(gateway)
    seen = scrape(gateway)
    assert seen.by("stream_gateway_gaps_total", "reason") == {"retention": 1}
    assert seen.get("stream_gateway_clients_left_total") == 1


async def test_polls_do_not_come_back(gateway: ServedGateway) -> None:
    stream = (await gateway.create("demo-n10"))["id"]
    cursor, ended = "", False
    while not ended:
        answer = (
            await (await gateway.get(f"/v1/streams/{stream}/events?wait=5&after={cursor}")).json()
            if cursor
            else (await (await gateway.get(f"/v1/streams/{stream}/events?wait=5")).json())
        )
        cursor, ended = answer["cursor"], answer["ended"]
    assert scrape(gateway).get("stream_gateway_resumes_total") == 0


@pytest.mark.deadline(40)
async def test_backpressure(serve: Serve, upstream: OpenAIServer) -> None:
    """A client that takes nothing fills the log; its provider waits, and then the client is let go."""
    gateway = await serve(streams={"retain_bytes": 100_000, "stall_timeout": 0.5}, server={"send_buffer_bytes": 16_384})
    upstream.scripts["mock"] = Script(deltas=tuple("x" * 1000 for _ in range(2000)))
    stream = (await gateway.create("renamed", lease="finish"))["id"]
    lazy = await gateway.subscribe(stream, receive_buffer=4096)
    await until(lambda: scrape(gateway).get("stream_gateway_paused_streams") == 1)
    seen = scrape(gateway)
    assert seen.by("stream_gateway_stream_health", "state") == {"lagging": 1}
    assert seen.by("stream_gateway_subscriptions", "mode") == {"lagging": 1}
    assert seen.get("stream_gateway_lag_events") > 0
    health = (await gateway.status(stream))["health"]
    assert health["state"] == "lagging"
    assert health["reason"].startswith("its provider has waited ")
    await until(lambda: scrape(gateway).get("stream_gateway_clients_let_go_total", route="renamed") == 1)
    await until(lambda: gateway.now.running == 0)
    seen = scrape(gateway)
    assert seen.get("stream_gateway_backpressure_pauses_total", route="renamed") >= 1
    assert 0.5 <= seen.get("stream_gateway_backpressure_seconds_total", route="renamed") < 20
    assert seen.get("stream_gateway_paused_streams") == 0
    await lazy.connection.aclose()


async def test_what_is_merged_is_counted(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(streams={"chunking": "adaptive"})
    upstream.scripts["mock"] = Script(deltas=words(100))
    stream = (await gateway.create("renamed", lease="finish"))["id"]
    await until(lambda: gateway.now.running == 0)
    events = await (await gateway.subscribe(stream)).events().rest()
    status = await gateway.status(stream)
    # The log's records that were not shown one by one: all but the opaque ones, which native clients never see.
    assert len(events) < status["events"]
    merged = scrape(gateway).get("stream_gateway_merged_events_total", route="renamed")
    assert 99 - 5 <= merged <= status["events"] - len(events)


async def test_connections(gateway: ServedGateway) -> None:
    connection = await gateway.connect()
    await (await connection.request("GET", "/v1/models")).read()
    assert scrape(gateway).by("stream_gateway_connections", "protocol") == {"http/1.1": 1}
    await connection.reset()
    silent = await gateway.connect()
    await until(lambda: scrape(gateway).by("stream_gateway_connections", "protocol") == {"opening": 1})
    await silent.aclose()
    await gateway.idle()
    assert scrape(gateway).get("stream_gateway_connections_ended_total") == 2


async def test_the_health_of_a_stream_as_it_goes(gateway: ServedGateway, upstream: OpenAIServer) -> None:
    gate = Gate()
    upstream.scripts["mock"] = Script(deltas=words(3), head_gate=gate)
    stream = (await gateway.create("renamed"))["id"]
    waiting = (await gateway.status(stream))["health"]
    assert waiting["state"] == "flowing"
    assert waiting["reason"].startswith("waits for its first token since ")
    gate.open()
    await (await gateway.subscribe(stream)).events().rest()
    assert (await gateway.status(stream))["health"] is None
    assert scrape(gateway).by("stream_gateway_stream_health", "state") == {}


async def test_a_stream_recovers(serve: Serve, upstream: OpenAIServer) -> None:
    gateway = await serve(**routed(in_order("a", "b")))
    gate = Gate()
    upstream.scripts["a"] = Script(refusal=BUSY)
    upstream.scripts["b"] = Script(deltas=words(3), head_gate=gate)
    stream = (await gateway.create("r"))["id"]
    with trio.fail_after(5):
        while (health := (await gateway.status(stream))["health"])["state"] != "recovering":
            await trio.lowlevel.checkpoint()
    assert health["reason"] == "attempt 2 after http_503"
    assert scrape(gateway).by("stream_gateway_stream_health", "state") == {"recovering": 1}
    gate.open()
    await (await gateway.subscribe(stream)).events().rest()


async def test_pools(gateway: ServedGateway, upstream: OpenAIServer) -> None:
    gate = Gate()
    upstream.scripts["mock"] = Script(deltas=words(3), gate=gate)
    response = await gateway.chat("renamed")
    seen = scrape(gateway)
    assert seen.by("stream_gateway_upstream_connections", "state", provider="mock") == {"busy": 1}
    assert seen.get("stream_gateway_upstream_requests", provider="mock") == 1
    gate.open()
    await response.read()
    await settled(gateway)
    assert scrape(gateway).by("stream_gateway_upstream_connections", "state", provider="mock") == {"idle": 1}
