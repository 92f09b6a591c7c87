// Responses' bodies, cut anywhere, into events.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Batch } from "../src/carrier.js";
import { JsonLines, Lines, ServerSentEvents, type Format } from "../src/lines.js";

const SSE =
  "\uFEFF: hello\n" +
  'id: s.e.1\ndata: {"type":"text.delta","text":"ä\u2028€"}\n\n' +
  ':\nretry: 1500\nevent: x\nid: s.e.2\r\ndata: {"type":"text.delta",\r\ndata:"text":"😀"}\r\n\r\n' +
  'id: s.e.3\rdata: {"type":"text.delta","text":"c"}\r\r' +
  'id: s.e.4\ndata: {"type":"cut off"';
const NDJSON =
  '{"id":"s.e.1","event":{"type":"text.delta","text":"ä\u2028€"}}\n\n' +
  '{"id":"s.e.2","event":{"type":"text.delta","text":"😀"}}\n{"id":"s.e.3","event":{"type":"text.delta","text":"c"}}\n{"id"';
const EVENTS = ["ä\u2028€", "😀", "c"].map((text, index) => ({ id: `s.e.${index + 1}`, event: { type: "text.delta", text } }));

function decode(format: Format, bytes: Uint8Array, size: number): Batch {
  const lines = new Lines();
  const batch: Batch = { events: [] };
  for (let at = 0; at < bytes.length; at += size) {
    for (const line of lines.feed(bytes.subarray(at, at + size))) format.line(line, batch);
  }
  return batch;
}

for (const [name, Kind, text] of [
  ["server-sent events", ServerSentEvents, SSE],
  ["lines of JSON", JsonLines, NDJSON],
] as const) {
  test(`${name} may be cut anywhere, and an unfinished one is none`, () => {
    const bytes = new TextEncoder().encode(text);
    for (let size = 1; size <= bytes.length; size++) assert.deepEqual(decode(new Kind(), bytes, size).events, EVENTS);
  });
}

test("a server says how long to wait", () => {
  const format = new ServerSentEvents();
  decode(format, new TextEncoder().encode("retry: 1500\nretry: soon\n"), 5);
  assert.equal(format.retry, 1.5);
});

test("keepalives are known as such", () => {
  const batch: Batch = { events: [] };
  assert.equal(new ServerSentEvents().line(":", batch), true);
  assert.equal(new JsonLines().line("", batch), true);
  assert.equal(new ServerSentEvents().line("", batch), false);
});

test("a gap comes without an id, and is no event", () => {
  const data = { reason: "retention", missed: 4, resumes_after: "s.e.9" };
  const notice = JSON.stringify({ type: "notice", code: "gap", message: "", data });
  for (const [format, text] of [
    [new ServerSentEvents(), `data: ${notice}\n\n`],
    [new JsonLines(), `{"event":${notice}}\n`],
  ] as const) {
    const batch = decode(format, new TextEncoder().encode(text), 7);
    assert.deepEqual(batch, { events: [], gap: { reason: "retention", missed: 4, resume_seq: 9 } });
  }
});

test("what is no JSON, or no event, or has no end, is no gateway's", () => {
  const wrong = [
    [new ServerSentEvents(), "id: 1\ndata: <html>\n\n"],
    [new ServerSentEvents(), "id: 1\ndata: {}\n\n"],
    [new ServerSentEvents(), "data: 1\n".repeat(1001)],
    [new JsonLines(), "<html>\n"],
    [new JsonLines(), '{"id":"1","event":[]}\n'],
  ] as const;
  for (const [format, text] of wrong) {
    assert.throws(() => decode(format, new TextEncoder().encode(text), 4096), { name: "NotAGateway" });
  }
});
