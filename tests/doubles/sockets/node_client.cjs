// A client on npm's `ws`: does what its first argument (JSON) says, and prints what it saw as JSON.
// Second argument: the folder whose node_modules has the packages.
"use strict";
const { createRequire } = require("node:module");

const plan = JSON.parse(process.argv[2]);
const load = createRequire(process.argv[3] + "/");
const WebSocket = load("ws");
const msgpack = load("@msgpack/msgpack");

const binary = plan.protocol.endsWith("msgpack");
const encode = (message) => (binary ? msgpack.encode(message) : JSON.stringify(message));
const decode = (data) => (binary ? msgpack.decode(data) : JSON.parse(data.toString()));

const terminal = new Set(["stream.finished", "stream.failed", "stream.cancelled"]);
const seen = { protocol: null, extensions: null, text: "", ids: [], errors: [], pongs: 0, sockets: 0, close: null };

function run(after) {
  const socket = new WebSocket(plan.url, [plan.protocol], { perMessageDeflate: plan.deflate });
  let stream = plan.stream;
  let count = 0;
  const say = (type, ref, fields) => socket.send(encode({ type, ref, ...fields }));
  socket.on("open", () => {
    seen.sockets += 1;
    seen.protocol = socket.protocol;
    seen.extensions = socket.extensions;
    socket.ping("there?");
    say("nonsense", "bad", {});
    if (after) say("stream.subscribe", "s", { stream: (stream = after.split(".")[0]), after });
    else say("stream.create", "c", { request: plan.request, lease: 60 });
  });
  socket.on("pong", (data) => (seen.pongs += data.toString() === "there?" ? 1 : 0));
  socket.on("message", (data, isBinary) => {
    if (isBinary !== binary) throw new Error("a message of the wrong kind");
    const message = decode(data);
    if (message.type === "error") seen.errors.push([message.ref, message.code]);
    if (message.type !== "event") return;
    seen.ids.push(message.id);
    seen.text += message.event.text ?? "";
    count += 1;
    if (terminal.has(message.event.type)) socket.close(4321, "enough");
    else if (count === plan.cut && seen.sockets === 1) socket.terminate();
  });
  socket.on("error", (error) => fail(error));
  socket.on("close", (code, reason) => {
    if (code === 1006) return run(seen.ids.at(-1));
    seen.close = [code, reason.toString()];
    console.log(JSON.stringify(seen));
  });
}

function fail(error) {
  console.log(JSON.stringify({ failed: String(error) }));
  process.exit(1);
}

run(null);
