// When chunks came, and whether all did.
import assert from "node:assert/strict";
import { test } from "node:test";
import { compare, Seen } from "../src/compare.js";
import { extent, height, KEPT, quantile, Timeline } from "../src/timeline.js";

test("gaps are between chunks of one connection, and not over a cut", () => {
  const line = new Timeline();
  line.mark(0, "connected");
  line.chunk(0.25, "Hello", "a");
  line.chunk(0.5, " world", "b");
  line.mark(0.75, "cut");
  line.mark(5, "resumed");
  line.chunk(5.25, "!", "c");
  assert.deepEqual(line.chunks.map(({ gap }) => gap), [null, 0.25, null]);
  assert.deepEqual(line.chunks.map(({ number, size }) => [number, size]), [[1, 5], [2, 6], [3, 1]]);
  assert.deepEqual(line.summary(), { chunks: 3, characters: 12, first: 0.25, p50: 0.25, p99: 0.25, longest: 0.25 });
  assert.equal(line.text, "Hello world!");
  assert.equal(line.span, 5.25);
});

test("nothing yet is nothing, and not zero", () => {
  const nothing = { chunks: 0, characters: 0, first: null, p50: null, p99: null, longest: null };
  assert.deepEqual(new Timeline().summary(), nothing);
});

test("long answers keep their newest chunks, and count all", () => {
  const line = new Timeline();
  for (let index = 0; index < KEPT + 10; index++) line.chunk(index, "x", String(index));
  assert.equal(line.chunks.length, KEPT);
  assert.equal(line.chunks[0]!.number, 11);
  assert.equal(line.summary().chunks, KEPT + 10);
});

test("quantiles are values that there were", () => {
  const sorted = Array.from({ length: 100 }, (_, index) => index + 1);
  assert.deepEqual([0, 0.5, 0.99, 1].map((share) => quantile(sorted, share)), [1, 50, 99, 100]);
  assert.equal(quantile([7], 0.99), 7);
  assert.equal(quantile([], 0.5), null);
});

test("a time line has a round length with room for what is on it", () => {
  assert.deepEqual([0, 1.9, 2, 9.9, 61, 700, 5000].map(extent), [2, 2, 5, 20, 120, 1200, 5400]);
});

test("every chunk can be seen, and none is higher than the line", () => {
  assert.ok(height(0) > 0.1);
  assert.ok(height(10) < height(100));
  assert.equal(height(1e9), 1);
});

test("an answer is compared with the log", () => {
  assert.deepEqual(compare("abc", "abc", 0), { lost: 0, twice: 0, total: 3, same: true });
  assert.deepEqual(compare("ac", "abc", 0), { lost: 1, twice: 0, total: 3, same: false });
  assert.deepEqual(compare("", "abc", 0), { lost: 3, twice: 0, total: 3, same: false });
  assert.deepEqual(compare("abcbc", "abc", 1), { lost: 0, twice: 1, total: 3, same: false });
  assert.equal(compare("abx", "abc", 0).lost, 1);
});

test("an event that came a second time is counted", () => {
  const seen = new Seen();
  for (const cursor of ["a", "b", "b", "c", "a"]) seen.add(cursor);
  assert.equal(seen.twice, 2);
});
