"""Clients that others have written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import trio

from tests.doubles.certificates import Certificates
from tests.doubles.chromium import http2_requests, visit
from tests.doubles.gateway_client import CHAT, chat_body
from tests.doubles.served_gateway import Serve, ServedGateway

BODY = json.dumps(chat_body("demo-n5-gap5"))


async def run(*command: str) -> str:
    """What a program of this machine prints; the test is skipped where it is missing."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = await trio.run_process(command, capture_stdout=True, stdin=subprocess.DEVNULL)
    return done.stdout.decode()


async def test_curl(gateway: ServedGateway) -> None:
    url = f"{gateway.base_url}{CHAT}"
    text = await run("curl", "-sSN", "--http2-prior-knowledge", url, "-d", BODY, "-w", "%{http_version}")
    assert text.count("data: ") > 5
    assert text.endswith("2")


async def test_curl_offers_an_upgrade(gateway: ServedGateway) -> None:
    """`Upgrade: h2c` (RFC 9113 does without it) is not taken, and does no harm."""
    for method in (["-d", BODY], []):
        url = f"{gateway.base_url}{CHAT if method else '/v1/models'}"
        text = await run("curl", "-sSN", "--http2", url, *method, "-w", "%{http_code} %{http_version}")
        assert text.endswith("200 1.1")


async def test_curl_over_tls(serve: Serve, tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    gateway = await serve(server=files.section)
    common = ["curl", "-sSN", "--cacert", str(files.authority), f"https://localhost:{gateway.port}{CHAT}", "-d", BODY]
    for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
        text = await run(*common, flag, "-w", "%{http_version}")
        assert text.count("data: ") > 5
        assert text.endswith(version)


async def test_nghttp(gateway: ServedGateway, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(BODY)
    text = await run("nghttp", "-v", "-d", str(body), f"{gateway.base_url}{CHAT}")
    assert ":status: 200" in text
    assert "END_STREAM" in text
    assert "data: [DONE]" in text


async def test_nghttp_over_tls(serve: Serve, tmp_path: Path) -> None:
    gateway = await serve(server=Certificates(tmp_path).section)
    body = tmp_path / "body.json"
    body.write_text(BODY)
    text = await run("nghttp", "-v", "-d", str(body), f"https://localhost:{gateway.port}{CHAT}")
    assert "The negotiated protocol: h2" in text
    assert "data: [DONE]" in text


async def test_h2load(gateway: ServedGateway) -> None:
    """Two connections, fifty streams each, all of them answered."""
    text = await run("h2load", "-n", "2000", "-c", "2", "-m", "50", f"{gateway.base_url}/v1/models")
    assert re.search(r"2000 succeeded, 0 failed, 0 errored", text), text


async def test_h2load_of_streamed_bodies(gateway: ServedGateway, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(BODY)
    text = await run("h2load", "-n", "300", "-c", "3", "-m", "100", "-d", str(body), f"{gateway.base_url}{CHAT}")
    assert re.search(r"300 succeeded, 0 failed, 0 errored", text), text


async def test_httpx(serve: Serve, tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    gateway = await serve(server=files.section)
    url = f"https://localhost:{gateway.port}{CHAT}"
    async with httpx.AsyncClient(http2=True, verify=files.client()) as client, trio.open_nursery() as nursery:

        async def chat() -> None:
            async with client.stream("POST", url, json=chat_body("demo-n20-gap2")) as response:
                lines = [line async for line in response.aiter_lines()]
                assert response.http_version == "HTTP/2"
                assert lines[-2:] == ["data: [DONE]", ""]

        for _ in range(10):
            nursery.start_soon(chat)


PAGE = """<!DOCTYPE html><title>t</title><script>
const results = {};
const done = (name, value) => {
  results[name] = value;
  if (Object.keys(results).length < 3) return;
  fetch("/", {method: "POST", body: JSON.stringify(results)});
};
const gateway = "https://localhost:PORT";
const body = model => JSON.stringify({model, stream: true, lease: 60, messages: [{role: "user", content: "Hi"}]});
async function viaFetch() {
  const response = await fetch(gateway + "/v1/chat/completions", {method: "POST", body: body("demo-n20-gap20")});
  const reader = response.body.getReader();
  let pieces = 0, text = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    pieces += 1;
    text += new TextDecoder().decode(value);
  }
  done("fetch", {pieces, complete: text.includes("data: [DONE]")});
}
async function viaEventSource() {
  const created = await (await fetch(gateway + "/v1/streams", {method: "POST", body: body("demo-n20-gap20")})).json();
  const source = new EventSource(gateway + created.links.events);
  let events = 0;
  source.onmessage = message => {
    events += 1;
    if (JSON.parse(message.data).type == "stream.finished") { source.close(); done("events", events); }
  };
}
async function viaSocket() {
  // A socket shares an HTTP/2 connection that is there, and may carry cookies as it does.
  await fetch(gateway + "/v1/models", {mode: "no-cors", credentials: "include"});
  const socket = new WebSocket(gateway.replace("https", "wss") + "/v1/connect", ["stream-gateway.v1+json"]);
  let events = 0;
  const request = JSON.parse(body("demo-n20-gap20"));
  socket.onopen = () => socket.send(JSON.stringify({type: "stream.create", ref: 1, request}));
  socket.onmessage = message => {
    const data = JSON.parse(message.data);
    events += data.type == "event";
    if (data.type == "event" && data.event.type == "stream.finished") { socket.close(1000); done("socket", events); }
  };
  socket.onerror = () => done("socket", "error");
}
(async () => {
  await viaFetch();
  await Promise.all([viaEventSource(), viaSocket()]);
})();
</script>"""


@pytest.mark.deadline(90)
async def test_chromium(serve: Serve, tmp_path: Path) -> None:
    """Streaming fetch, EventSource and WebSocket of a page; its own net log says that it was HTTP/2."""
    files = Certificates(tmp_path)
    gateway = await serve(server=files.section)
    results = await visit(PAGE.replace("PORT", str(gateway.port)), tmp_path / "profile")
    assert results["fetch"]["complete"]
    assert results["fetch"]["pieces"] > 5
    assert results["events"] > 20
    assert results["socket"] > 20
    sent = {(fields[":method"], fields[":path"].split("/")[2]) for fields in http2_requests(tmp_path / "profile")}
    assert sent >= {("POST", "chat"), ("POST", "streams"), ("GET", "streams"), ("CONNECT", "connect")}, sent
