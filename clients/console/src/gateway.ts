/** The data plane, as far as this page can reach it. */

export type Reach = "open" | "refused" | "away";

/** Where it is; null: the control plane cannot tell. */
export async function locate(): Promise<string | null> {
  const response = await fetch("/console/gateway.json", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
  return ((await response.json()) as { url: string | null }).url;
}

/** Whether pages of this origin may ask it. Browsers do not say why a request failed; one that is opaque tells the rest. */
export async function reach(url: string): Promise<Reach> {
  const path = `${url.replace(/\/*$/, "")}/v1/models`;
  const common = { cache: "no-store", credentials: "omit" } as const;
  try {
    await fetch(path, { ...common, signal: AbortSignal.timeout(5000) });
    return "open"; // whatever it answered, we could read it
  } catch {
    try {
      await fetch(path, { ...common, mode: "no-cors", signal: AbortSignal.timeout(5000) });
      return "refused";
    } catch {
      return "away";
    }
  }
}

/** What is in the way, and what to do about it. */
export function obstacle(reach: Exclude<Reach, "open">, url: string): string {
  if (reach === "refused") {
    return (
      `The gateway at ${url} does not let pages of ${location.origin} in. Add "${location.origin}" to cors.origins ` +
      "in its configuration, and reload it (SIGHUP)."
    );
  }
  return `The gateway cannot be reached at ${url} from this browser. If it is elsewhere for browsers, set control.gateway_url.`;
}

export const UNKNOWN =
  "The gateway listens on a Unix socket, which browsers cannot reach. " +
  "Set control.gateway_url to the address of what is in front of it.";
