// The client with a gateway in memory and a clock that the test turns.
import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { Client, type ClientOptions, type Status } from "../src/index.js";
import { FakeGateway, settle } from "./fake.js";

const REQUEST = { model: "m", messages: [{ role: "user", content: "hello" }] };
let gateway: FakeGateway;
let statuses: Status[];
const page = new EventTarget();

function connect(options: ClientOptions = {}): Client {
  const onStatus = (status: Status) => void statuses.push(status);
  return new Client("http://gateway.test", { transports: ["sse"], fetch: gateway.fetch, onStatus, ...options });
}

/** Turn the clock by so many seconds, in small steps, as time goes. */
async function pass(seconds: number): Promise<void> {
  for (let step = 0; step < seconds * 4; step++) {
    mock.timers.tick(250);
    await settle();
  }
}

function define(name: string, value: unknown): void {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}

beforeEach(() => {
  gateway = new FakeGateway();
  statuses = [];
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1e12 });
  const kept = new Map<string, string>();
  define("sessionStorage", {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => kept.set(name, value),
    removeItem: (name: string) => kept.delete(name),
  });
  define("addEventListener", page.addEventListener.bind(page));
  define("navigator", { onLine: true });
});

afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

test("resumes after the last event, drops what comes twice, and says what has become of its connection", async () => {
  const stream = connect().stream(REQUEST);
  const text = stream.text();
  const first = await gateway.connection(1);
  first.say(1, 2);
  await settle();
  first.cut();
  await pass(1);
  const second = await gateway.connection(2);
  assert.equal(second.url.searchParams.get("after"), "s.e.2");
  second.say(2, 3, "end");
  assert.equal(await text, "1 2 3 ");
  assert.deepEqual(
    statuses.map(({ kind, transport }) => `${kind} ${transport}`),
    ["connected sse", "lost sse", "connected sse"],
  );
  assert.equal(stream.connects, 2);
  assert.equal(gateway.created.length, 1);
  assert.equal(gateway.created[0]!.body.lease, 60);
  assert.deepEqual(gateway.cancelled, []);
});

test("a create is repeated with the same key", async () => {
  const fetched: string[] = [];
  const fetch: typeof globalThis.fetch = async (url, init) => {
    const response = await gateway.fetch(url, init);
    if (init?.method === "POST" && fetched.push(String(url)) < 3) throw new TypeError("the answer was lost");
    return response;
  };
  const text = connect({ fetch }).stream(REQUEST).text();
  await pass(4);
  (await gateway.connection(1)).say(1, "end");
  assert.equal(await text, "1 ");
  assert.equal(gateway.created.length, 3);
  assert.equal(new Set(gateway.created.map(({ key }) => key)).size, 1);
});

test("waits grow, are random, and end with patience", async () => {
  gateway.refusing = Infinity;
  mock.method(Math, "random", () => 0.999);
  const text = connect({ settings: { firstPatience: 100 } }).stream(REQUEST).text();
  text.catch(() => undefined);
  await pass(200);
  await assert.rejects(text, { name: "Unreachable" });
  const waits = statuses.map(({ wait }) => Math.round(wait!));
  assert.deepEqual(waits.slice(0, 7), [0, 1, 2, 4, 8, 16, 30]);
});

test("time offline is free, and the way back online is short", async () => {
  gateway.refusing = Infinity;
  define("navigator", { onLine: false });
  mock.method(Math, "random", () => 0.999);
  const text = connect().stream(REQUEST).text();
  await pass(600);
  const { tries } = gateway;
  assert.ok(tries > 10);
  gateway.refusing = 0;
  define("navigator", { onLine: true });
  page.dispatchEvent(new Event("online"));
  await settle();
  (await gateway.connection(1)).say(1, "end");
  assert.equal(await text, "1 ");
});

test("a response of before the network changed is given up at once", async () => {
  const text = connect().stream(REQUEST).text();
  (await gateway.connection(1)).say(1);
  await settle();
  page.dispatchEvent(new Event("online"));
  await pass(1);
  (await gateway.connection(2)).say(2, "end");
  assert.equal(await text, "1 2 ");
  assert.equal(statuses[1]!.kind, "lost");
});

test("a machine that slept for hours asks anew, and goes on", async () => {
  const text = connect().stream(REQUEST).text();
  (await gateway.connection(1)).say(1);
  await settle();
  mock.timers.tick(8 * 3600 * 1000);
  await pass(1);
  (await gateway.connection(2)).say(2, "end");
  assert.equal(await text, "1 2 ");
});

test("a link that says nothing, not even a keepalive, is dead", async () => {
  const text = connect().stream(REQUEST).text();
  (await gateway.connection(1)).say(1);
  await pass(44);
  assert.equal(gateway.asked.length, 1);
  await pass(2);
  (await gateway.connection(2)).say(2, "end");
  assert.equal(await text, "1 2 ");
  assert.match(statuses[1]!.reason!, /^silent for 45/);
});

test("a page that comes back goes on where it was", async () => {
  const before = connect().stream(REQUEST, { remember: "chat" });
  const first = before.next();
  const asked = await gateway.connection(1);
  asked.say(1, 2);
  await first;
  const after = connect().recall("chat")!; // the page is gone, and never said so
  const text = after.text();
  const again = await gateway.connection(2);
  assert.equal(again.url.searchParams.get("after"), "s.e.1");
  again.say(2, 3, "end");
  assert.equal(await text, "2 3 ");
  assert.equal(connect().recall("chat"), null);
  assert.equal(gateway.created.length, 1);
});

test("a page that comes back before it was answered asks once more with the same key", async () => {
  gateway.refusing = 1;
  connect().stream(REQUEST, { remember: "chat" }).next();
  await settle();
  const text = connect().recall("chat")!.text();
  (await gateway.connection(1)).say(1, "end");
  assert.equal(await text, "1 ");
  await settle();
  assert.equal(gateway.created[0]!.body.messages[0].content, "hello");
});

test("a whole answer can be recalled", async () => {
  const before = connect().stream(REQUEST, { remember: "chat" });
  const first = before.next();
  (await gateway.connection(1)).say(1);
  await first;
  const text = connect().recall("chat", { whole: true })!.text();
  const again = await gateway.connection(2);
  assert.equal(again.url.searchParams.get("after"), null);
  again.say(1, 2, "end");
  assert.equal(await text, "1 2 ");
});

test("break leaves, cancels at the provider, and forgets", async () => {
  const client = connect();
  const reading = (async () => {
    for await (const event of client.stream(REQUEST, { remember: "chat" })) return event;
  })();
  (await gateway.connection(1)).say(1, 2);
  await reading;
  await settle();
  assert.deepEqual(gateway.cancelled, ["/v1/streams/s"]);
  assert.equal(client.recall("chat"), null);
});

test("a lease lets it go on", async () => {
  const client = connect();
  const stream = client.stream({ ...REQUEST, lease: "finish" });
  const reading = stream.next();
  (await gateway.connection(1)).say(1);
  await reading;
  stream.leave();
  await settle();
  assert.equal(gateway.created[0]!.body.lease, "finish");
  assert.deepEqual(gateway.cancelled, []);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("a signal ends a read that waits, with its reason", async () => {
  const abort = new AbortController();
  const reading = connect().stream(REQUEST, { signal: abort.signal }).next();
  await gateway.connection(1);
  await settle();
  abort.abort(new Error("the user has left"));
  await assert.rejects(reading, /the user has left/);
  await settle();
  assert.deepEqual(gateway.cancelled, ["/v1/streams/s"]);
});

test("a client that is closed ends its streams", async () => {
  const client = connect();
  const stream = client.stream(REQUEST);
  const reading = stream.next();
  await gateway.connection(1);
  client.close();
  await assert.rejects(reading, /the client is closed/);
  await assert.rejects(client.stream(REQUEST).next(), /the client is closed/);
});

test("two readers of one stream are told so", async () => {
  const stream = connect().stream(REQUEST);
  stream.next().catch(() => undefined);
  await assert.rejects(stream.next(), /attach to it once more/);
});

test("a token is asked for each time", async () => {
  let count = 0;
  const text = connect({ token: async () => `token-${++count}` }).stream(REQUEST).text();
  const first = await gateway.connection(1);
  first.say(1);
  await settle();
  first.cut();
  await pass(1);
  const second = await gateway.connection(2);
  second.say("end");
  await text;
  assert.deepEqual([first, second].map(({ headers }) => headers["Authorization"]), ["Bearer token-2", "Bearer token-3"]);
});

test("an answer that is not whole is no answer", async () => {
  const endings = {
    "The answer is not whole: it broke": '{"type":"stream.failed","code":"x","message":"it broke"}',
    "The answer is not whole: cancelled (lease)": '{"type":"stream.cancelled","reason":"lease"}',
  };
  for (const [message, ending] of Object.entries(endings)) {
    const text = connect().stream(REQUEST).text();
    (await gateway.connection(gateway.asked.length + 1)).say(1, ending);
    await assert.rejects(text, { name: "Incomplete", message, text: "1 " });
  }
});

test("a gap is an event right before the first one after it, once, and only when there is one", async () => {
  const stream = connect().attach("s", { after: "s.e.1" });
  const reading = stream.next();
  const first = await gateway.connection(1);
  first.say(1, 3); // the one seen before; and a number that is left out is no gap
  assert.deepEqual((await reading).value, { type: "text.delta", text: "3 " });
  first.cut();
  const later = stream.next();
  await pass(1);
  const second = await gateway.connection(2);
  second.gap(4, 7);
  second.say(8, 9);
  const { value } = await later;
  assert.deepEqual(value, {
    type: "notice",
    code: "gap",
    message: "4 events before s.e.8 are lost: they were no longer kept.",
    data: { reason: "retention", missed: 4 },
  });
  assert.equal(stream.cursor, "s.e.3");
  assert.deepEqual((await stream.next()).value, { type: "text.delta", text: "8 " });
  assert.deepEqual((await stream.next()).value, { type: "text.delta", text: "9 " });
});

test("a text with a hole is not the text", async () => {
  const text = connect().attach("s", { after: "s.e.1" }).text();
  const asked = await gateway.connection(1);
  asked.gap(4, 5);
  asked.say(6, "end");
  await assert.rejects(text, { name: "Incomplete", text: "" });
});

test("without a WebSocket in this Node, it is server-sent events", async () => {
  define("WebSocket", undefined);
  const stream = connect({ transports: ["websocket", "sse"] }).stream(REQUEST);
  const text = stream.text();
  (await gateway.connection(1)).say(1, "end");
  await text;
  assert.equal(stream.transport, "sse");
  assert.throws(() => connect({ transports: ["websocket"] }), { name: "RangeError", message: /no WebSocket/ });
});

test("what is no address", () => {
  for (const url of ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://[::1", "nonsense"]) {
    assert.throws(() => new Client(url), { name: "WrongUrl", message: /something like http:/ }, url);
  }
});
