"""Compressed streams in clients that others have written: each decodes an event when it arrives."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import openai
import pytest
import trio

from stream_protocols.encodings import Codec, Grant
from tests.doubles.certificates import Certificates
from tests.doubles.chromium import visit
from tests.doubles.gate import Gate
from tests.doubles.gateway_client import CHAT, chat_body
from tests.doubles.openai_script import Script, words
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.sdk import MESSAGES, unfinished_generators
from tests.doubles.served_gateway import Serve, ServedGateway

pytestmark = unfinished_generators

BODY = json.dumps(chat_body("demo-n50"))
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("flag", ["--http1.1", "--http2-prior-knowledge"])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate", "br", "zstd"])
async def test_curl(gateway: ServedGateway, flag: str, coding: str | None) -> None:
    """As `--compressed` asks by itself, and for each coding that this curl can decode."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    ask = ["-H", f"Accept-Encoding: {coding}"] if coding else []
    url = f"{gateway.base_url}{CHAT}"
    command = ["curl", "-sSN", flag, "--compressed", *ask, url, "-d", BODY]
    done = await trio.run_process([*command, "-w", "%header{content-encoding} %{size_download}"], capture_stdout=True)
    text = done.stdout.decode()
    assert "data: [DONE]" in text
    found, size = text.rpartition("\n")[2].split()
    assert found == (coding or "gzip")
    assert int(size) < 0.2 * len(text)


@pytest.mark.parametrize("coding", [None, "gzip", "deflate", "br", "zstd"])
async def test_httpx(upstream: OpenAIServer, gateway: ServedGateway, coding: str | None) -> None:
    gate = Gate(1)
    upstream.scripts["m"] = script = Script(deltas=words(10), gate=gate)
    headers = {"Accept-Encoding": coding} if coding else {}
    async with (
        httpx.AsyncClient() as client,
        client.stream("POST", f"{gateway.base_url}{CHAT}", json=chat_body("m"), headers=headers) as response,
    ):
        assert response.headers["content-encoding"] == (coding or "gzip")
        text = ""
        pieces = response.aiter_text()
        for number in range(len(script.deltas)):
            while f'"w{number} "' not in text:  # before the next one is made
                text += await anext(pieces)
            gate.release()
        async for piece in pieces:
            text += piece
        assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("coding", [None, "gzip", "br", "zstd"])
async def test_the_openai_sdk(
    upstream: OpenAIServer, gateway: ServedGateway, sdk: openai.AsyncOpenAI, coding: str | None
) -> None:
    """It asks for compression without being told to; its first chunk must not wait for a second one."""
    gate = Gate(1)
    upstream.scripts["m"] = script = Script(deltas=words(10), gate=gate)
    more = {"extra_headers": {"Accept-Encoding": coding}} if coding else {}
    stream = await sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True, **more)  # type: ignore[arg-type]
    assert stream.response.headers["content-encoding"] == (coding or "gzip")
    assert gateway.now.compression_bytes > 0
    said = []
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            said.append(chunk.choices[0].delta.content)
            assert said == list(script.deltas[: len(said)])
            gate.release()  # only now is the next one made
    assert "".join(said) == script.text


PAGE = """<!DOCTYPE html><title>t</title><script>
const results = {};
const messages = [{role: "user", content: "Hi"}];
const body = JSON.stringify({model: "demo-n20-gap20", lease: 60, stream: true, messages});
async function viaFetch(gateway) {
  const response = await fetch(gateway + "/v1/chat/completions", {method: "POST", body});
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pieces = 0, text = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    pieces += 1;
    text += value;
  }
  return {pieces, complete: text.includes("data: [DONE]")};
}
async function viaEventSource(gateway) {
  const created = await (await fetch(gateway + "/v1/streams", {method: "POST", body})).json();
  const source = new EventSource(gateway + created.links.events);
  const times = [];
  return new Promise(resolve => source.onmessage = message => {
    times.push(performance.now());
    if (JSON.parse(message.data).type != "stream.finished") return;
    source.close();
    resolve({events: times.length, moments: new Set(times.map(Math.floor)).size});
  });
}
(async () => {
  for (const [coding, gateway] of Object.entries(GATEWAYS))
    results[coding] = {fetched: await viaFetch(gateway), events: await viaEventSource(gateway)};
  await fetch("/", {method: "POST", body: JSON.stringify(results)});
})().catch(error => fetch("/", {method: "POST", body: JSON.stringify({error: String(error)})}));
</script>"""


@pytest.mark.deadline(90)
async def test_chromium(serve: Serve, tmp_path: Path) -> None:
    """Streaming fetch and EventSource of a page, from a gateway for each coding; br and zstd it takes over TLS only."""
    files = Certificates(tmp_path)
    codings = ("gzip", "br", "zstd", "deflate")
    gateways = {}
    for coding in codings:
        gateways[coding] = await serve(server=files.section, compression={"codings": [coding]})
    urls = {coding: f"https://localhost:{gateway.port}" for coding, gateway in gateways.items()}
    results = await visit(PAGE.replace("GATEWAYS", json.dumps(urls)), tmp_path / "profile")
    assert set(results) == set(codings), results
    for coding, result in results.items():
        assert result["fetched"]["complete"], coding
        assert result["fetched"]["pieces"] > 5, coding
        assert result["events"]["events"] == 24, coding
        assert result["events"]["moments"] > 5, coding


DICTIONARY_PAGE = """<!DOCTYPE html><title>t</title><script>
const messages = [{role: "user", content: "Hi"}];
const body = JSON.stringify({model: "demo-n20-gap5", stream: true, messages});
(async () => {
  const dictionary = await fetch("GATEWAY/v1/dictionaries/current");
  await dictionary.arrayBuffer();
  const results = [];
  while (results.length < 15) {
    const response = await fetch("GATEWAY/v1/chat/completions", {method: "POST", body});
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let pieces = 0, text = "";
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      pieces += 1;
      text += read.value;
    }
    results.push({pieces, complete: text.includes("data: [DONE]")});
  }
  await fetch("/", {method: "POST", body: JSON.stringify(results)});
})().catch(error => fetch("/", {method: "POST", body: JSON.stringify(String(error))}));
</script>"""


@pytest.mark.deadline(90)
async def test_chromium_keeps_the_dictionary_and_uses_it(
    gateway: ServedGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stores the dictionary in its own time, so it is asked several times; then it says that it takes dcz."""
    granted: list[str] = []
    budget = gateway.gateway._compression.budget
    take = budget.take

    def watched(codecs: Sequence[Codec]) -> Grant | None:
        grant = take(codecs)
        granted.extend([] if grant is None else [grant.codec.name])
        return grant

    monkeypatch.setattr(budget, "take", watched)
    results = await visit(DICTIONARY_PAGE.replace("GATEWAY", gateway.base_url), tmp_path / "profile")
    assert granted[-1] == "dcz", granted
    assert all(result["complete"] for result in results), results
    assert results[-1]["pieces"] > 5


@pytest.mark.deadline(30)
async def test_the_example_of_a_codec_serves_and_reads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """examples/custom_codec.py, as the server's codec and as a client in a process of its own."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.delitem(sys.modules, "custom_codec", raising=False)
    gateway = await serve(compression={"codings": ["custom_codec:Envelope", "gzip"]})
    command = [sys.executable, str(EXAMPLES / "custom_codec.py"), gateway.base_url]
    done = await trio.run_process(command, capture_stdout=True, stdin=subprocess.DEVNULL)
    assert len(done.stdout.split()) > 10
    response = await gateway.chat("demo", headers={"Accept-Encoding": "x-envelope"})
    assert response.head["content-encoding"] == "x-envelope"
