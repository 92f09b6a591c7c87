/**
 * What a browser says when links may be dead: the network came or went; a page was out of sight, and perhaps frozen.
 *
 * Elsewhere, as in Node, nothing is ever said, and silence has to be enough.
 */
export function onWake(callback: (network: boolean) => void, signal: AbortSignal): void {
  for (const type of ["online", "offline", "visibilitychange"]) {
    const listener = () => globalThis.document?.hidden || callback(type.endsWith("line"));
    globalThis.addEventListener?.(type, listener, { signal });
  }
}

/** Whether the browser knows that there is no network at all. */
export const offline = (): boolean => globalThis.navigator?.onLine === false;
