/** The console: what the gateway does right now and did in the last ten minutes, for as long as the page is open. */
import { Admin } from "./admin.js";
import { Chart, type ChartOptions } from "./chart.js";
import { at, say, toggle } from "./dom.js";
import { Feed, type Standing } from "./feed.js";
import { number, rate, seconds } from "./format.js";
import { Panels } from "./panels.js";
import { Series } from "./series.js";
import type { Snapshot } from "./snapshot.js";
import { Streams } from "./streams.js";
import { Watch } from "./watch.js";

/** Milliseconds without a snapshot after which what is shown is old. */
const STALE = 5000;

const DASHED = [7, 4];
const DOTTED = [2, 3];

const CHARTS: ChartOptions[] = [
  {
    id: "chart-events",
    title: "Throughput",
    format: rate,
    least: 4,
    lines: [
      { column: "events", label: "events", colour: "accent", fill: true },
      { column: "merged", label: "merged", colour: "third", dash: DASHED },
    ],
  },
  {
    id: "chart-streams",
    title: "Streams and clients",
    format: number,
    least: 4,
    lines: [
      { column: "running", label: "running", colour: "accent", fill: true },
      { column: "lagging", label: "lagging", colour: "second", dash: DASHED },
      { column: "paused", label: "paused", colour: "third", dash: DOTTED },
    ],
  },
  {
    id: "chart-first",
    title: "First token",
    format: seconds,
    least: 0.001,
    lines: [
      { column: "first50", label: "p50", colour: "accent" },
      { column: "first90", label: "p90", colour: "second", dash: DASHED },
      { column: "first99", label: "p99", colour: "third", dash: DOTTED },
    ],
  },
  {
    id: "chart-between",
    title: "Between chunks",
    format: seconds,
    least: 0.001,
    lines: [
      { column: "between50", label: "p50", colour: "accent" },
      { column: "between90", label: "p90", colour: "second", dash: DASHED },
      { column: "between99", label: "p99", colour: "third", dash: DOTTED },
    ],
  },
];

const admin = new Admin();
const series = new Series();
const charts = CHARTS.map((options) => new Chart(options, series));
const watch = new Watch(admin, () => feed.url);
const panels = new Panels((stream) => watch.open(stream));
const feed = new Feed(admin, { take, tell });
const streams = new Streams(
  admin,
  { watch: (stream) => watch.open(stream), cut: (stream) => watch.open(stream, true) },
  () => feed.stream,
);

let newest: Snapshot | null = null;
let drawing = false;
let arrived = 0;

function take(snapshot: Snapshot): void {
  if (!series.push(snapshot)) return;
  newest = snapshot;
  arrived = Date.now();
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(draw); // not while nobody looks, and once for all that has come
}

function draw(): void {
  drawing = false;
  for (const chart of charts) chart.draw();
  if (newest) panels.show(newest);
  at("board").setAttribute("aria-busy", "false");
}

function tell({ kind, text, problem = "" }: Standing): void {
  at("status").dataset["state"] = kind === "live" ? "connected" : kind;
  say(at("status-text"), text);
  say(at("problem"), problem);
  toggle(at("problem"), problem !== "");
}

setInterval(() => {
  const silent = Date.now() - arrived;
  at("board").classList.toggle("stale", arrived > 0 && silent > STALE);
  say(at("since"), arrived > 0 && silent > STALE ? `what you see is ${seconds(Math.round(silent / 1000))} old` : "");
}, 1000);

void feed.run();
void streams.renew();
