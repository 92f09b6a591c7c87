/** The playground: one question, and how its answer comes. Cut the connection, and see what that does. */
import { Unauthorized, type Transport } from "stream-gateway";
import type { Verdict } from "./compare.js";
import { at, cells, make, row, say, toggle } from "./dom.js";
import { counted, NONE, number, seconds } from "./format.js";
import { locate, obstacle, reach, UNKNOWN } from "./gateway.js";
import { Line } from "./line.js";
import { Run, type State } from "./run.js";

const KEPT = "stream-gateway-key"; // in sessionStorage: for this tab alone, until it is closed
const CARRIERS = { websocket: "WebSocket", sse: "SSE", ndjson: "NDJSON", poll: "long polls" };
const DEMOS = ["demo-n120-gap60", "demo", "demo-n1000-gap20", "demo-n200-gap20-first500", "demo-n100-gap30-fail50"];
const ROWS = 200;
const RETRY = 3000;

const line = new Line(at<HTMLCanvasElement>("line"));
const key = at<HTMLInputElement>("key");
const model = at<HTMLInputElement>("model");
const text = at("text");

let url: string | null = null;
let run: Run | null = null;
let said = 0; // characters of the answer that are shown
let rowed = 0; // chunks that have a row
let drawing = false;

// ---- the gateway

/** Find the gateway, and the models that it has; try again for as long as something is in the way. */
async function connect(): Promise<void> {
  const problem = await find().catch(() => "The control plane cannot be reached.");
  say(at("problem"), problem);
  toggle(at("problem"), problem !== "");
  tell(problem ? "lost" : "connected", problem ? "Not connected" : `Gateway at ${url}`);
  at<HTMLButtonElement>("send").disabled = problem !== "";
  if (problem) setTimeout(() => void connect(), RETRY);
}

/** What is in the way; an empty text: nothing. */
async function find(): Promise<string> {
  url = (await locate())?.replace(/\/*$/, "") ?? null;
  if (url === null) return UNKNOWN;
  const reached = await reach(url);
  if (reached !== "open") return obstacle(reached, url);
  await offer(url);
  return "";
}

async function offer(url: string): Promise<void> {
  const headers: HeadersInit = key.value ? { Authorization: `Bearer ${key.value}` } : {};
  const response = await fetch(`${url}/v1/models`, { headers, cache: "no-store", signal: AbortSignal.timeout(10_000) });
  if (response.status === 401) unlock(key.value !== "");
  if (!response.ok) return;
  const { data } = (await response.json()) as { data: { id: string }[] };
  const names = new Set([...DEMOS, ...data.map(({ id }) => id).filter((id) => !id.includes("*"))]);
  at("models").replaceChildren(...[...names].map((name) => new Option(name, name)));
}

function unlock(again: boolean): void {
  toggle(at("locked"), true);
  say(at("key-note"), again ? "The gateway does not accept that key." : "The gateway wants to know who you are.");
  key.focus();
}

function tell(state: string, words: string): void {
  at("status").dataset["state"] = state;
  say(at("status-text"), words);
}

// ---- the answer

function send(): void {
  if (url === null || !model.value.trim()) return;
  run?.leave();
  said = rowed = 0;
  text.replaceChildren(document.createTextNode(""));
  at("chunks").replaceChildren();
  const request = {
    model: model.value.trim(),
    prompt: at<HTMLTextAreaElement>("prompt").value,
    chunking: at<HTMLInputElement>("chunking").value.trim(),
  };
  const fresh: Run = new Run(url, key.value, request, (error) => {
    if (run !== fresh) return; // another question was asked meanwhile
    if (error instanceof Unauthorized) unlock(key.value !== "");
    else if (error) void connect(); // which says what is in the way, if anything is
    change();
  });
  run = fresh;
  fresh.start(transport());
  change();
}

const transport = (): Transport => at<HTMLSelectElement>("transport").value as Transport;

/** Something has happened: show it with the next picture. */
function change(): void {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (run) show(run);
  });
}

function show(run: Run): void {
  const near = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
  (text.firstChild as Text).appendData(run.timeline.text.slice(said));
  said = run.timeline.text.length;
  if (near) text.scrollTop = text.scrollHeight;
  say(at("note"), run.note);
  offerActs(run.state);
  facts(run);
  line.draw(run.timeline);
  list(run);
}

/** The buttons that make sense now; who was on one that does not is put on its counterpart. */
function offerActs(state: State): void {
  const focused = document.activeElement;
  at<HTMLButtonElement>("cut").disabled = state !== "running" || !run?.id;
  at<HTMLButtonElement>("resume").disabled = state !== "cut";
  at<HTMLButtonElement>("stop").disabled = state === "ended" || !run?.id;
  if (focused === at("cut") && state === "cut") at("resume").focus();
  if (focused === at("resume") && state === "running") at("cut").focus();
}

function facts({ timeline, transport, connections, cursor, id, verdict, state }: Run): void {
  const { chunks, characters, first, p50, p99, longest } = timeline.summary();
  say(at("fact-transport"), transport ? CARRIERS[transport] : NONE);
  say(at("fact-connections"), connections ? number(connections) : NONE);
  say(at("fact-first"), seconds(first));
  say(at("fact-chunks"), counted(chunks, "chunk"));
  say(at("fact-characters"), number(characters));
  say(at("fact-gaps"), `${seconds(p50)} · ${seconds(p99)} · ${seconds(longest)}`);
  say(at("fact-stream"), id ?? NONE);
  say(at("fact-cursor"), cursor ?? NONE);
  at("fact-cursor").title = cursor ?? "";
  say(at("fact-check"), verdict ? judged(verdict) : state === "ended" ? "comparing with the log…" : "when it has ended");
  at("fact-check").className = verdict ? (verdict.same ? "good" : "bad") : "quiet";
  at("line").setAttribute("aria-label", `Time line: ${counted(chunks, "chunk")}, ${counted(connections, "connection")}`);
}

const judged = ({ same, lost, twice, total }: Verdict): string =>
  `${same ? "✓" : "✗"} lost ${number(lost)} · twice ${number(twice)} of ${counted(total, "character")}`;

/** The newest chunks as rows, newest first. */
function list({ timeline }: Run): void {
  if (!at<HTMLDetailsElement>("table").open) return;
  const body = at("chunks");
  for (const chunk of timeline.chunks.slice(-ROWS)) {
    if (chunk.number <= rowed) continue;
    const made = row(5, [0, 1, 2, 3]);
    cells(made, number(chunk.number), seconds(chunk.at), seconds(chunk.gap), number(chunk.size));
    made.cells[4]!.append(make("code", "", JSON.stringify(chunk.text)));
    made.cells[4]!.className = "said";
    body.prepend(made);
    rowed = chunk.number;
  }
  while (body.childElementCount > ROWS) body.lastElementChild!.remove();
}

// ---- what the user does

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
at("cut").addEventListener("click", () => run?.cut());
at("resume").addEventListener("click", () => run?.resume(transport()));
at("stop").addEventListener("click", () => void run?.stop());
at("table").addEventListener("toggle", change);
at("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
});
key.addEventListener("change", () => {
  sessionStorage.setItem(KEPT, key.value);
  say(at("key-note"), "");
  void connect();
});

key.value = sessionStorage.getItem(KEPT) ?? "";
toggle(at("locked"), key.value !== "");
model.value = DEMOS[0]!;
line.draw(null);
void connect();
