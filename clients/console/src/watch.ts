import { Client, type StreamEvent } from "stream-gateway";
import type { Admin } from "./admin.js";
import { at, say, toggle } from "./dom.js";
import { counted, seconds } from "./format.js";
import { standing } from "./health.js";

/** Characters of an answer that are shown. */
const SHOWN = 100_000;
const PERIOD = 1000;

/** The window in which one stream is watched, and can be cut. */
export class Watch {
  private readonly _dialog = at<HTMLDialogElement>("watch");
  private readonly _text = at("watch-text");
  private _id = "";
  private _turn = 0; // counts what was opened: the same stream may be opened twice
  private _client: Client | null = null;
  private _timer: ReturnType<typeof setInterval> | undefined;
  private _pending = "";
  private _drawing = false;

  /** @param url the data plane's address, once it is known */
  constructor(
    private readonly _admin: Admin,
    private readonly _url: () => string | null,
  ) {
    at("watch-close").addEventListener("click", () => this._dialog.close());
    at("watch-cut").addEventListener("click", () => this._confirm(true));
    at("watch-keep").addEventListener("click", () => this._confirm(false));
    at("watch-really").addEventListener("click", () => void this._cut());
    this._dialog.addEventListener("close", () => this._leave());
  }

  /** Show a stream, and what it says from its beginning on. With `cut`, ask whether it is to be cut. */
  open(id: string, cut = false): void {
    this._leave();
    const turn = this._turn;
    this._id = id;
    say(at("watch-id"), id);
    for (const part of ["watch-state", "watch-numbers", "watch-note"]) say(at(part), "");
    this._text.replaceChildren(document.createTextNode(""));
    at<HTMLButtonElement>("watch-cut").disabled = false;
    if (!this._dialog.open) this._dialog.showModal();
    this._confirm(cut);
    this._timer = setInterval(() => void this._look(turn), PERIOD);
    void this._look(turn);
    void this._read(turn, id);
  }

  private async _look(turn: number): Promise<void> {
    try {
      const { model, status, health, age, events, subscribers } = await this._admin.stream(this._id);
      if (turn !== this._turn) return;
      say(at("watch-state"), standing(status, health) + (health?.reason ? `: ${health.reason}` : ""));
      const numbers = `${counted(events, "event")}, ${counted(subscribers, "reader")} with you`;
      say(at("watch-numbers"), `${model}, ${seconds(age)} old, ${numbers}`);
      if (status === "running" || status === "created") return;
      at<HTMLButtonElement>("watch-cut").disabled = true;
      this._confirm(false);
      clearInterval(this._timer);
    } catch {
      // The text's own reader says what is wrong.
    }
  }

  private async _read(turn: number, id: string): Promise<void> {
    try {
      const { token, cursor } = await this._admin.watch(id);
      const url = this._url();
      if (turn !== this._turn) return;
      if (url === null) throw new Error("The gateway itself has not been reached yet.");
      let first: string | null = token;
      this._client = new Client(url, {
        token: async () => {
          const good = first ?? (await this._admin.watch(id)).token; // they are good for minutes
          first = null;
          return good;
        },
      });
      for await (const event of this._client.attach(id, { after: cursor })) if (turn === this._turn) this._take(event);
    } catch (error) {
      if (turn === this._turn) say(at("watch-note"), (error as Error).message);
    }
    if (turn === this._turn) void this._look(turn);
  }

  private _take(event: StreamEvent): void {
    if ("text" in event) this._append(event.text);
    else if (event.type === "tool_call.delta") this._append(`${event.name ? `\n${event.name} ` : ""}${event.arguments ?? ""}`);
    else if (event.type === "notice") say(at("watch-note"), event.message);
    else if (event.type === "stream.finished") say(at("watch-note"), "It has come to its end.");
    else if (event.type === "stream.failed") say(at("watch-note"), `It failed: ${event.message}`);
    else if (event.type === "stream.cancelled") say(at("watch-note"), `It was cut (${event.reason}).`);
  }

  /** Show more text, once for each picture, and keep its end in sight if that was in sight. */
  private _append(text: string): void {
    this._pending = (this._pending + text).slice(-SHOWN); // pictures stop while nobody looks, and text does not
    if (this._drawing) return;
    this._drawing = true;
    requestAnimationFrame(() => {
      this._drawing = false;
      const { _text: box } = this;
      const node = box.firstChild as Text;
      const near = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      node.appendData(this._pending);
      this._pending = "";
      if (node.length > SHOWN * 1.2) node.replaceData(0, node.length - SHOWN, "…");
      if (near) box.scrollTop = box.scrollHeight;
    });
  }

  private _confirm(asked: boolean): void {
    const within = at("watch-sure").contains(document.activeElement);
    toggle(at("watch-sure"), asked);
    toggle(at("watch-acts"), !asked);
    if (asked) at("watch-keep").focus();
    else if (within) at("watch-close").focus();
  }

  private async _cut(): Promise<void> {
    try {
      await this._admin.cut(this._id);
    } catch (error) {
      say(at("watch-note"), (error as Error).message);
    }
    this._confirm(false);
    void this._look(this._turn);
  }

  private _leave(): void {
    clearInterval(this._timer);
    this._client?.close();
    this._client = null;
    this._id = this._pending = "";
    this._turn++;
  }
}
