/** Seconds by the wall clock, which unlike `performance.now` goes on while a machine sleeps. */
export const now = (): number => Date.now() / 1000;

/** `setTimeout` in seconds. */
export function later(seconds: number, callback: () => void): ReturnType<typeof setTimeout> {
  return setTimeout(callback, seconds * 1000);
}

/** What a promise brings; `failure` is thrown when that takes longer, or `signal` is aborted. */
export function within<T>(seconds: number, promise: Promise<T>, failure: unknown, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", expire);
    };
    const expire = () => {
      end();
      reject(failure);
    };
    const timer = later(signal?.aborted ? 0 : seconds, expire);
    signal?.addEventListener("abort", expire);
    promise.then(resolve, reject).finally(end);
  });
}

/** Wait for so long, or until the signal is aborted. */
export function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  return within(seconds, new Promise<void>(() => undefined), 0, signal).catch(() => undefined);
}
