import { at, button, cells, make, row, Rows, say, toggle } from "./dom.js";
import { bytes, clock, counted, number, rate, seconds, short } from "./format.js";
import { HEALTH, STATES } from "./health.js";
import type { Laggard, Mishap, Snapshot, Target } from "./snapshot.js";

const CIRCUITS: Record<string, string> = { closed: "● closed", open: "■ open", "half-open": "◐ half-open" };

/** Seconds beyond which an expected first token is no measurement, but what failures have made of it. */
const PENALTY = 60;

/** All that is not a chart and not the list of streams: it shows the newest snapshot, and keeps nothing. */
export class Panels {
  private readonly _counts = new Map<string, { count: HTMLElement; bar: HTMLElement }>();
  private readonly _targets: Rows<Target>;
  private readonly _laggards: Rows<Laggard>;
  private readonly _errors: Rows<Mishap>;

  /** @param watch is called with the stream of a row that is clicked */
  constructor(private readonly _watch: (stream: string) => void) {
    for (const state of STATES) this._counts.set(state, this._state(state));
    this._targets = new Rows(at("targets"), ({ route, target }) => `${route} ${target}`, () => row(6, [3, 4, 5]), fillTarget);
    this._laggards = new Rows(
      at("laggards"),
      ({ stream }) => stream,
      ({ stream }) => this._linked(row(4, [2, 3]), 0, stream),
      fillLaggard,
    );
    this._errors = new Rows(
      at("errors"),
      ({ time, route, code, stream }) => `${time} ${route} ${code} ${stream}`,
      ({ stream }) => this._linked(row(4), 3, stream),
      fillError,
    );
  }

  show(s: Snapshot): void {
    say(at("tile-running"), number(s.running));
    say(at("tile-running-note"), `${number(s.retained)} ended, kept`);
    say(at("tile-clients"), number(s.live + s.lagging));
    say(at("tile-clients-note"), `on ${counted(s.connections, "connection")}`);
    say(at("tile-events"), rate(s.events));
    say(at("tile-events-note"), `${rate(s.created)} new streams`);
    say(at("tile-first"), seconds(s.first_token.p50));
    say(at("tile-first-note"), `p99 ${seconds(s.first_token.p99)}`);
    say(at("tile-between"), seconds(s.between_chunks.p50));
    say(at("tile-between-note"), `p99 ${seconds(s.between_chunks.p99)}`);
    say(at("tile-memory"), bytes(s.memory.logs));
    say(at("tile-memory-note"), `of ${bytes(s.memory.logs_limit)} for logs`);
    this._health(s);
    this._list("targets", this._targets, s.targets);
    this._list("laggards", this._laggards, s.laggards);
    this._list("errors", this._errors, s.errors);
  }

  private _list<Item>(name: string, rows: Rows<Item>, items: readonly Item[]): void {
    toggle(at(`${name}-none`), items.length === 0);
    toggle(at(`${name}-table`), items.length > 0);
    rows.show(items);
  }

  private _state(state: (typeof STATES)[number]): { count: HTMLElement; bar: HTMLElement } {
    const count = make("b", "", "0");
    const sign = make("i", `sign ${state}`, HEALTH[state].sign);
    sign.ariaHidden = "true";
    const item = make("li", "", sign, make("span", "", state), count);
    item.title = HEALTH[state].means;
    const bar = make("i", state);
    at("health").append(item);
    at("health-bar").append(bar);
    return { count, bar };
  }

  private _health({ health, running }: Snapshot): void {
    for (const [state, { count, bar }] of this._counts) {
      const streams = health[state] ?? 0;
      say(count, number(streams));
      toggle(bar, streams > 0);
      bar.style.flexGrow = String(running ? streams / running : 0);
    }
  }

  /** Let a cell of a row lead to its stream. */
  private _linked(made: HTMLTableRowElement, cell: number, stream?: string | null): HTMLTableRowElement {
    if (!stream) return made;
    const link = button(short(stream), "link", () => this._watch(stream));
    link.setAttribute("aria-label", `Watch ${short(stream)}`);
    link.title = stream;
    made.cells[cell]!.append(link);
    return made;
  }
}

function fillTarget(made: HTMLTableRowElement, target: Target): void {
  const { route, circuit, in_flight, waiting, latency, attempts, failures } = target;
  const queue = waiting ? `${number(in_flight)} + ${number(waiting)} waiting` : number(in_flight);
  const failing = failures ? `${rate(attempts)}, ${rate(failures)} fail` : rate(attempts);
  const first = latency > PENALTY ? `> ${seconds(PENALTY)}` : seconds(latency || null);
  cells(made, route, target.target, CIRCUITS[circuit] ?? circuit, queue, first, failing);
  made.cells[2]!.className = circuit;
}

function fillLaggard(made: HTMLTableRowElement, { model, lag, held_up }: Laggard): void {
  say(made.cells[1]!, model);
  say(made.cells[2]!, `${number(lag)} events`);
  say(made.cells[3]!, held_up ? seconds(held_up) : "no");
}

function fillError(made: HTMLTableRowElement, { time, route, code, target }: Mishap): void {
  say(made.cells[0]!, clock(time));
  say(made.cells[1]!, code);
  say(made.cells[2]!, target ? `${route} → ${target}` : route);
}
