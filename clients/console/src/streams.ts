import type { Admin, StreamView } from "./admin.js";
import { at, button, row, Rows, say, toggle } from "./dom.js";
import { bytes, number, seconds, short } from "./format.js";
import { standing } from "./health.js";

const PERIOD = 2000;
const PAGE = 100;

export interface StreamActions {
  watch(stream: string): void;
  cut(stream: string): void;
}

/**
 * The list of streams, renewed every two seconds while it can be seen. While somebody points at it, rows are written in
 * place and none comes or goes: nothing slips away under a click.
 */
export class Streams {
  private _limit = PAGE;
  private _shown: StreamView[] = [];
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _asking = false;
  private readonly _rows: Rows<StreamView>;
  private readonly _panel = at("streams-panel");

  /** @param own the id of the feed's own stream, which is not shown */
  constructor(
    private readonly _admin: Admin,
    private readonly _actions: StreamActions,
    private readonly _own: () => string | null,
  ) {
    this._rows = new Rows(at("streams"), ({ id }) => id, (stream) => this._fresh(stream), fill);
    for (const id of ["filter-status", "filter-health"]) at(id).addEventListener("change", () => this._anew());
    at("streams-more").addEventListener("click", () => {
      this._limit += PAGE;
      void this.renew(true);
    });
    document.addEventListener("visibilitychange", () => document.hidden || void this.renew());
  }

  /** Ask, show, and do so again after a while. */
  async renew(anew = false): Promise<void> {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => void this.renew(), PERIOD);
    if (document.hidden || this._asking) return;
    this._asking = true;
    try {
      const { streams, next } = await this._admin.streams(this._query());
      this._show(streams.filter(({ id }) => id !== this._own()), anew);
      toggle(at("streams-more"), next !== null && this._limit < 1000);
    } catch {
      // The feed's standing tells that the gateway is away; the list stays as it was.
    } finally {
      this._asking = false;
    }
  }

  private _anew(): void {
    this._limit = PAGE;
    void this.renew(true);
  }

  private _query(): Record<string, string> {
    const query: Record<string, string> = { limit: String(this._limit) };
    const [status, health] = ["filter-status", "filter-health"].map((id) => at<HTMLSelectElement>(id).value);
    if (health) return { ...query, health };
    return status ? { ...query, status } : query;
  }

  private _show(streams: StreamView[], anew: boolean): void {
    const held = !anew && this._shown.length > 0 && this._panel.matches(":has(tbody:hover, tbody :focus-visible)");
    if (held) {
      const found = new Map(streams.map((stream) => [stream.id, stream]));
      streams = this._shown.map((stream) => found.get(stream.id) ?? { ...stream, status: "ended", health: null });
    }
    this._shown = streams;
    toggle(at("streams-held"), held);
    toggle(at("streams-none"), streams.length === 0);
    toggle(at("streams-table"), streams.length > 0);
    this._rows.show(streams);
  }

  private _fresh({ id }: StreamView): HTMLTableRowElement {
    const made = row(8, [3, 4, 5, 6]);
    const watch = button(short(id), "link", () => this._actions.watch(id));
    watch.setAttribute("aria-label", `Watch ${short(id)}`);
    watch.title = id;
    made.cells[0]!.append(watch);
    const cut = button("Cut", "plain small", () => this._actions.cut(id));
    cut.setAttribute("aria-label", `Cut ${short(id)}`);
    made.cells[7]!.append(cut);
    return made;
  }
}

function fill(made: HTMLTableRowElement, stream: StreamView): void {
  const state = made.cells[1]!;
  say(state, standing(stream.status, stream.health));
  state.className = stream.health?.state ?? "";
  state.title = stream.health?.reason ?? "";
  say(made.cells[2]!, stream.model);
  say(made.cells[3]!, seconds(stream.age));
  say(made.cells[4]!, number(stream.events));
  say(made.cells[5]!, number(stream.subscribers));
  say(made.cells[6]!, stream.lag ? number(stream.lag) : "0");
  made.cells[2]!.title = `${bytes(stream.bytes)} kept${stream.target ? `, from ${stream.target}` : ""}`;
  (made.cells[7]!.firstElementChild as HTMLButtonElement).disabled = stream.status !== "running";
}
