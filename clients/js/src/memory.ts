/** What is kept of a stream while its page is away: how to ask for it once more, or where to go on. */
export interface Kept {
  /** What was asked, while the gateway has not answered; the key makes asking twice the same as once. */
  request?: Record<string, unknown>;
  key?: string;
  id?: string;
  cursor?: string;
}

const PREFIX = "stream-gateway:";

/** What was kept under a name of the page's own; null when nothing was. */
export function recall(name: string): Kept | null {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name)!);
  } catch {
    return null; // there is no such storage here, it is forbidden, or somebody else has written there
  }
}

/** Keep this under a name, if there is one; null: forget what was kept. A storage that is full keeps nothing. */
export function keep(name: string | undefined, kept: Kept | null): void {
  try {
    if (!name) return;
    if (kept) sessionStorage.setItem(PREFIX + name, JSON.stringify(kept));
    else sessionStorage.removeItem(PREFIX + name);
  } catch {
    return;
  }
}
