import { at, say } from "./dom.js";

const KEPT = "stream-gateway-admin"; // in sessionStorage: for this tab alone, until it is closed

/** A refusal of the control plane. */
export class AdminError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** How a stream can be read on the data plane. */
export interface Way {
  stream: string;
  cursor: string;
  token: string;
}

/** A stream as the admin's API shows it. */
export interface StreamView {
  id: string;
  model: string;
  status: string;
  health: { state: string; reason: string | null } | null;
  age: number;
  events: number;
  bytes: number;
  subscribers: number;
  lag: number;
  target: string | null;
}

/** Asks the control plane; when it wants a token, asks the user for that first. */
export class Admin {
  private _asking: Promise<void> | null = null;

  /** Open the console's feed. */
  feed(): Promise<Way> {
    return this._ask("admin/feed", "POST");
  }

  /** A way to read somebody's stream. */
  watch(stream: string): Promise<Way> {
    return this._ask(`admin/streams/${encodeURIComponent(stream)}/watch`, "POST");
  }

  stream(stream: string): Promise<StreamView> {
    return this._ask(`admin/streams/${encodeURIComponent(stream)}`);
  }

  streams(query: Record<string, string>): Promise<{ streams: StreamView[]; next: string | null }> {
    return this._ask(`admin/streams?${new URLSearchParams(query)}`);
  }

  /** End a stream at its provider. */
  cut(stream: string): Promise<StreamView> {
    return this._ask(`admin/streams/${encodeURIComponent(stream)}`, "DELETE");
  }

  /** @throws AdminError: it refuses. TypeError: it cannot be reached. */
  private async _ask<Answer>(path: string, method = "GET"): Promise<Answer> {
    for (;;) {
      await this._asking;
      const token = sessionStorage.getItem(KEPT);
      const headers: HeadersInit = token ? { Authorization: `Bearer ${token}` } : {};
      const signal = AbortSignal.timeout(10_000);
      const response = await fetch(`/${path}`, { method, headers, signal, cache: "no-store" });
      if (response.ok) return (await response.json()) as Answer;
      if (response.status !== 401) throw new AdminError(await sentence(response), response.status);
      if (token === sessionStorage.getItem(KEPT)) await (this._asking ??= this._login(token !== null));
    }
  }

  private async _login(again: boolean): Promise<void> {
    const dialog = at<HTMLDialogElement>("login");
    const input = at<HTMLInputElement>("login-token");
    say(at("login-note"), again ? "That one was not accepted." : "");
    input.value = "";
    dialog.showModal();
    const stay = (event: Event) => event.preventDefault(); // there is nothing to see without it
    dialog.addEventListener("cancel", stay);
    await new Promise<void>((resolve) => {
      at("login-form").onsubmit = (event) => {
        event.preventDefault();
        if (input.value.trim()) resolve();
      };
    });
    sessionStorage.setItem(KEPT, input.value.trim());
    input.value = "";
    dialog.removeEventListener("cancel", stay);
    dialog.close();
    this._asking = null;
  }
}

async function sentence(response: Response): Promise<string> {
  const body = (await response.json().catch(() => null)) as { error?: { message?: string } } | null;
  return body?.error?.message ?? `The control plane answered ${response.status}.`;
}
