// Ten minutes of numbers, and never more.
import assert from "node:assert/strict";
import { test } from "node:test";
import { KEPT, Series } from "../src/series.js";
import { snapshotOf, type Snapshot } from "../src/snapshot.js";

function snapshot(time: number, events = 0): Snapshot {
  const none = { count: 0, p50: null, p90: null, p99: null };
  const memory = { logs: 0, logs_limit: 0, compressors: 0, compressors_limit: 0 };
  const counts = { connections: 0, running: 0, retained: 0, live: 0, lagging: 0, paused: 0, created: 0, merged: 0 };
  return {
    time, events, ...counts, memory, protocols: {}, health: {}, targets: [], laggards: [], errors: [],
    first_token: none, between_chunks: none, draining: false,
  };
}

test("memory is bounded, however long it runs", () => {
  const series = new Series();
  for (let second = 0; second < 4 * KEPT; second++) series.push(snapshot(1000 + second, second));
  assert.equal(series.times.length, KEPT + 1);
  for (const column of Object.values(series.columns)) assert.equal(column.length, series.times.length);
  assert.equal(series.columns.events.at(-1), 4 * KEPT - 1);
});

test("what comes twice or late after a resume is no news", () => {
  const series = new Series();
  assert.deepEqual([5, 6, 6, 4, 7].map((time) => series.push(snapshot(time))), [true, true, false, false, true]);
  assert.deepEqual(series.times, [5, 6, 7]);
});

test("nothing is drawn over a pause of which nothing is known", () => {
  const series = new Series();
  for (const time of [10, 11, 31]) series.push(snapshot(time, 3));
  assert.deepEqual(series.times, [10, 11, 21, 31]);
  assert.deepEqual(series.columns.events, [3, 3, null, 3]);
});

test("the window grows in steps, ends with the newest, and is never wider than what is kept", () => {
  const series = new Series();
  assert.deepEqual(series.window(), [0, 60]);
  const seen = new Set<number>();
  for (let second = 0; second < 2 * KEPT; second++) {
    series.push(snapshot(second));
    const [from, to] = series.window();
    assert.equal(to, second);
    seen.add(to - from);
  }
  assert.deepEqual([...seen], [60, 120, 300, 600]);
});

test("only the feed's own notices are snapshots", () => {
  const one = snapshot(1);
  assert.equal(snapshotOf({ type: "notice", code: "console.snapshot", data: { snapshot: one } }), one);
  assert.equal(snapshotOf({ type: "notice", code: "gap" }), null);
  assert.equal(snapshotOf({ type: "notice", code: "console.snapshot" }), null);
  assert.equal(snapshotOf({ type: "stream.started" }), null);
});
