// The same table of cases that the Python machines pass (see tests/protocols/reconnect/test_cases.py).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Backoff, Ladder, Patience, Probe, Rhythm, Silence, Trail, onClose, onStatus } from "../src/reconnect/index.js";

type Step = [method: string, args: any[], expected: unknown];
interface Case {
  machine: string;
  case: string;
  make: any;
  steps: Step[];
}

const TABLE = new URL("../../../../tests/protocols/reconnect/cases.json", import.meta.url);
const cases: Case[] = JSON.parse(readFileSync(TABLE, "utf8"));

const MACHINES: Record<string, (make: any) => any> = {
  backoff: ({ chance, base, cap, ...rest }) => Object.assign(new Backoff(() => chance, base, cap), rest),
  patience: ({ limit, now }) => new Patience(limit, now),
  ladder: ({ retry_better }) => new Ladder(["websocket", "sse", "poll"], retry_better),
  silence: ({ now }) => {
    const rhythm = new Rhythm();
    return Object.assign(new Silence(rhythm, now), { announce: (text: string | null) => rhythm.announce(text) });
  },
  probe: ({ after, now }) => new Probe(after, now),
  trail: ({ cursor }) => new Trail(cursor),
  on_status: () => ({ verdict: (status: number, said: string | null) => told(onStatus(status, said)) }),
  on_close: () => ({ verdict: (code: number, reason: string) => told(onClose(code, reason)) }),
};

function told({ comeBack, after }: { comeBack: boolean; after?: number }): object {
  return { come_back: comeBack, after: after ?? null };
}

for (const { machine, case: name, make, steps } of cases) {
  test(`${machine}: ${name}`, () => {
    const made = MACHINES[machine]!(make);
    for (const [method, args, expected] of steps) {
      const given = (method === "cursor" ? made.cursor : made[method](...args)) ?? null;
      if (typeof expected == "number") assert.ok(Math.abs(given - expected) < 1e-9, `${method}: ${given}`);
      else assert.deepEqual(given, expected, `${method}(${args})`);
    }
  });
}
