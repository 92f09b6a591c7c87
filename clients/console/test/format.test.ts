// Numbers as people read them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, clock, counted, NONE, number, rate, seconds, short } from "../src/format.js";

const plain = (text: string) => text.replaceAll("\u202f", " ");

test("numbers have three digits, or all that stand before the point", () => {
  const told = [0, 1, 0.5, 9.994, 9.996, 12.34, 99.96, 1234.5, 1e6].map(number);
  assert.deepEqual(told, ["0", "1", "0.50", "9.99", "10.0", "12.3", "100", "1,235", "1,000,000"]);
});

test("times are in the unit that suits them, on both sides of each border", () => {
  const times = [0, 0.0000004, 0.000412, 0.0009994, 0.0009996, 0.00321, 0.25, 0.9994, 0.9996, 12.34, 119.9, 120, 7199, 7200];
  assert.deepEqual(times.map((time) => plain(seconds(time))), [
    "0 ms", "0 µs", "412 µs", "999 µs", "1.00 ms", "3.21 ms", "250 ms", "999 ms", "1.00 s", "12.3 s", "120 s", "2 min", "119 min", "2 h",
  ]);
  assert.equal(seconds(null), NONE);
});

test("sizes, rates and counts say what they count", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 5 * 2 ** 30].map((size) => plain(bytes(size))), ["0 B", "1,023 B", "1 KiB", "1.50 KiB", "5 GiB"]);
  assert.equal(plain(rate(12.5)), "12.5 /s");
  assert.deepEqual([counted(1, "event"), counted(0, "event"), counted(2, "entry", "entries")], ["1 event", "0 events", "2 entries"]);
});

test("the time of day has two digits everywhere", () => assert.match(clock(0), /^\d\d:\d\d:\d\d$/));

test("long identifiers keep their ends", () => {
  assert.equal(short("abcdefghijklmn"), "abcdefghijklmn");
  assert.equal(short("abcdefghijklmnop"), "abcdefghi…mnop");
});
