/** Numbers as people read them: with units, three digits at most where more would only flicker, and none that are not there. */

/** What stands where there is no number. */
export const NONE = "–";

const SPACE = "\u202f"; // narrow, and never broken

const whole = new Intl.NumberFormat("en");

/** A number with three significant digits, and all digits before the point. */
export function number(value: number): string {
  if (Math.abs(value) >= 99.95 || Number.isInteger(value)) return whole.format(Math.round(value));
  return value.toFixed(Math.abs(value) >= 9.995 ? 1 : 2);
}

/** A count a second. */
export const rate = (value: number): string => `${number(value)}${SPACE}/s`;

/** A time in seconds, in the unit that suits it; null: there is none. */
export function seconds(value: number | null): string {
  if (value === null) return NONE;
  if (value === 0) return `0${SPACE}ms`;
  if (value < 0.0009995) return `${number(Math.round(value * 1e6))}${SPACE}µs`;
  if (value < 0.9995) return `${number(value * 1000)}${SPACE}ms`;
  if (value < 120) return `${number(value)}${SPACE}s`;
  if (value < 7200) return `${Math.floor(value / 60)}${SPACE}min`;
  return `${Math.floor(value / 3600)}${SPACE}h`;
}

/** A size in bytes. */
export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${number(value)}${SPACE}${units[unit]}`;
}

/** A number and what it counts. */
export const counted = (value: number, one: string, many = `${one}s`): string =>
  `${number(value)} ${value === 1 ? one : many}`;

/** The time of day of a Unix time, in the reader's zone. */
export function clock(time: number): string {
  const date = new Date(time * 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** A long identifier by its beginning and its end. */
export const short = (id: string, length = 14): string =>
  id.length <= length ? id : `${id.slice(0, length - 5)}…${id.slice(-4)}`;
