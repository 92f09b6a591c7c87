// Socket.IO as one would use it for this: a room for each generation, WebSocket only, no compression.
const http = require("http");
const { Server } = require("socket.io");

const upstream = new URL(process.env.UPSTREAM + "/chat/completions");
let streams = 0;

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const id = String(++streams);
    relay(Buffer.concat(parts), id);
    response.writeHead(201, { "content-type": "application/json" });
    response.end(JSON.stringify({ id }));
  });
});

const io = new Server(server, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
io.on("connection", (socket) => {
  socket.on("watch", (id, done) => (socket.join(id), done?.()));
  socket.on("leave", (id, done) => (socket.leave(id), done?.()));
});

function relay(body, id) {
  const options = { method: "POST", headers: { "content-type": "application/json", "content-length": body.length } };
  const outgoing = http.request(upstream, options, (reply) => {
    let rest = "";
    reply.setEncoding("utf8");
    reply.on("data", (text) => {
      const events = (rest + text).split("\n\n");
      rest = events.pop();
      for (const event of events) io.to(id).emit("chunk", event.slice("data: ".length));
    });
  });
  outgoing.end(body);
}

server.listen(Number(process.env.PORT), "127.0.0.1", 4096);
