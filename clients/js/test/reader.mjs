// Reads streams from a gateway as the plan in its first argument says, and prints what it saw as JSON.
import WebSocket from "ws";

const plan = JSON.parse(process.argv[2]);
const { Client } = await import(plan.bundle ? "../dist/stream-gateway.min.js" : "../dist/index.js");
const told = [];
const client = new Client(plan.url, {
  WebSocket,
  transports: plan.transports,
  settings: plan.settings,
  token: plan.token,
  onStatus: (status) => told.push(status),
});

async function read(asked) {
  const stream = asked.id ? client.attach(asked.id, { after: asked.after }) : client.stream(asked);
  const seen = { text: "", ids: [], types: [] };
  try {
    for await (const event of stream) {
      seen.types.push(event.type);
      seen.ids.push(stream.cursor);
      if (event.type === "text.delta") seen.text += event.text;
      if (seen.ids.length === plan.leave) break;
      if (seen.ids.length === plan.tell) console.error("reached"); // the test waits for this
    }
  } catch (error) {
    seen.error = [error.name, error.message, error.code];
  }
  const { id, cursor, connects, transport } = stream;
  return { ...seen, id, cursor, connects, transport };
}

const streams = await Promise.all(plan.streams.map(read));
for (const asked of plan.then ?? []) streams.push(await read(asked));
const transports = told.filter(({ kind }) => kind === "connected").map(({ transport }) => transport);
client.close();
console.log(JSON.stringify({ streams, statistics: client.statistics, transports }));
