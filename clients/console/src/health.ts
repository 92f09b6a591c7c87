/** The states that a running stream may be in, worst last: each with a sign of its own, for whom colours do not tell. */
export const HEALTH = {
  flowing: { sign: "●", means: "text comes" },
  slow: { sign: "◐", means: "late first token, or a slow provider" },
  lagging: { sign: "▲", means: "a client does not keep up" },
  recovering: { sign: "↻", means: "an attempt failed, the next one is under way" },
  stalled: { sign: "■", means: "nothing comes" },
} as const;

export type State = keyof typeof HEALTH;

export const STATES = Object.keys(HEALTH) as State[];

/** The sign and the word for a state. */
export const told = (state: string): string => `${HEALTH[state as State]?.sign ?? "○"} ${state}`;

/** What an ended or running stream is shown as. */
export const standing = (status: string, health: { state: string } | null): string =>
  health && status === "running" ? told(health.state) : `○ ${status}`;
