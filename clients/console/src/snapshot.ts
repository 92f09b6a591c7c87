/** What the feed says once a second: the gateway at one moment. docs/operating.md has its fields. */

export interface Percentiles {
  count: number;
  p50: number | null;
  p90: number | null;
  p99: number | null;
}

export interface Target {
  route: string;
  target: string;
  circuit: string;
  in_flight: number;
  waiting: number;
  latency: number;
  attempts: number;
  failures: number;
}

export interface Laggard {
  stream: string;
  model: string;
  lag: number;
  held_up: number;
}

export interface Mishap {
  time: number;
  route: string;
  code: string;
  target?: string | null;
  stream?: string | null;
}

export interface Snapshot {
  time: number;
  connections: number;
  protocols: Record<string, number>;
  running: number;
  retained: number;
  health: Record<string, number>;
  live: number;
  lagging: number;
  paused: number;
  created: number;
  events: number;
  merged: number;
  first_token: Percentiles;
  between_chunks: Percentiles;
  targets: Target[];
  laggards: Laggard[];
  errors: Mishap[];
  memory: { logs: number; logs_limit: number; compressors: number; compressors_limit: number };
  draining: boolean;
}

/** The snapshot in one of the feed's events; null: it has none. */
export function snapshotOf(event: { type: string; code?: string; data?: unknown }): Snapshot | null {
  if (event.type !== "notice" || event.code !== "console.snapshot") return null;
  return (event.data as { snapshot?: Snapshot } | undefined)?.snapshot ?? null;
}
