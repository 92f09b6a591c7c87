// The demo page: a chat that neither a lost connection nor a reload can interrupt. All that is hard is in the client.
import { Client, Incomplete, Unauthorized } from "/demo/stream-gateway.js";

const NAME = "demo"; // under which the client keeps the running answer's place
const CHAT = "stream-gateway-demo"; // under which this page keeps the conversation, and what was chosen
const OWN = [
  ["demo-gap120", "demo, at reading pace"],
  ["demo", "demo, quick"],
  ["demo-n1000-gap60", "demo, a minute long"],
];
const CARRIERS = { websocket: "WebSocket", sse: "Server-sent events", ndjson: "Lines of JSON", poll: "Long polls" };

const at = (id) => document.getElementById(id);
const [scroll, log, form, text, model, token, status] = "scroll log form text model token status".split(" ").map(at);

const chat = { messages: [], model: OWN[0][0], token: "", ...JSON.parse(sessionStorage.getItem(CHAT) ?? "{}") };
const client = new Client("/", { token: () => chat.token, onStatus: tell });
let running = null;
let resumed = false;

// ---- what is said

function save() {
  sessionStorage.setItem(CHAT, JSON.stringify(chat));
}

/** Show a message; the element that its text goes into. */
function show(role, words) {
  const item = document.createElement("li");
  const said = document.createElement("div");
  item.className = role;
  said.className = "said";
  said.textContent = words;
  item.append(said);
  log.append(item);
  log.hidden = at("clear").hidden = false;
  at("welcome").hidden = true;
  return item;
}

function note(item, words, bad = false) {
  const line = document.createElement("div");
  line.className = bad ? "note bad" : "note";
  line.textContent = words;
  item.append(line);
}

/** Do something that may make the page longer, and keep its end in sight if it was. */
function following(change) {
  const near = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  change();
  if (near) scroll.scrollTop = scroll.scrollHeight;
}

async function follow(stream) {
  running = stream;
  busy(true);
  const item = show("assistant", "");
  const [said] = item.children;
  item.setAttribute("aria-busy", "true");
  scroll.scrollTop = scroll.scrollHeight;
  let whole = "";
  try {
    for await (const piece of stream.texts()) {
      whole += piece;
      following(() => said.append(piece));
    }
  } catch (error) {
    const stopped = error instanceof Incomplete && error.event?.type === "stream.cancelled";
    following(() => note(item, stopped ? "Stopped." : error.message, !stopped));
    if (error instanceof Unauthorized) unlock();
  }
  item.setAttribute("aria-busy", "false");
  if (running !== stream) return; // the conversation has been cleared
  if (whole) chat.messages.push({ role: "assistant", content: whole });
  save();
  running = null;
  resumed = false;
  busy(false);
}

function ask() {
  const content = text.value.trim();
  if (running || !content) return;
  text.value = "";
  chat.messages.push({ role: "user", content });
  save();
  show("user", content);
  const { messages } = chat;
  follow(client.stream({ model: chat.model, messages: [...messages] }, { remember: NAME }));
}

function stop() {
  if (!running) return;
  if (running.id) client.cancel(running.id).catch((error) => note(log.lastElementChild, error.message, true));
  else running.leave();
}

function clear() {
  stop();
  running?.leave();
  running = null;
  chat.messages = [];
  save();
  log.replaceChildren();
  log.hidden = at("clear").hidden = true;
  at("welcome").hidden = false;
  busy(false);
  text.focus();
}

// ---- how it stands

function tell({ kind, transport, reason, wait }) {
  const lost = kind === "lost";
  const again = resumed || running?.connects > 1;
  status.dataset.state = kind;
  status.title = lost ? reason : "";
  status.firstChild.textContent = lost
    ? `Reconnecting${wait >= 1 ? ` in ${Math.ceil(wait)} s` : ""}…`
    : CARRIERS[transport] + (again ? ", resumed" : "");
}

function busy(yes) {
  const focused = document.activeElement;
  at("send").hidden = yes;
  at("stop").hidden = !yes;
  if (focused === at("stop") || focused === at("send")) text.focus();
  if (!yes && status.dataset.state === "lost") {
    status.dataset.state = "idle";
    status.firstChild.textContent = "Ready";
  }
}

function unlock() {
  at("locked").hidden = false;
  token.focus();
}

/** Offer the models that there are; the demo's own are there in any case. */
async function offer() {
  for (const [name, label] of OWN) model.add(new Option(label, name));
  const headers = chat.token ? { Authorization: `Bearer ${chat.token}` } : {};
  const response = await fetch("/v1/models", { headers }).catch(() => null);
  if (response?.status === 401) unlock();
  const { data = [] } = response?.ok ? await response.json() : {};
  const known = [...model.options].map(({ value }) => value);
  for (const { id } of data) if (!known.includes(id) && !id.includes("*")) model.add(new Option(id, id));
  if ([...model.options].some(({ value }) => value === chat.model)) model.value = chat.model;
  else chat.model = model.value;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
at("stop").addEventListener("click", stop);
at("clear").addEventListener("click", clear);
model.addEventListener("change", () => {
  chat.model = model.value;
  save();
});
token.addEventListener("change", () => {
  chat.token = token.value; // for this tab alone, and until it is closed
  save();
});

for (const { role, content } of chat.messages) show(role, content);
scroll.scrollTop = scroll.scrollHeight;
const before = client.recall(NAME, { whole: true });
if (before) {
  resumed = true;
  follow(before);
}
offer();
