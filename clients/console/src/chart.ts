import uPlot from "uplot";
import { at, make, say } from "./dom.js";
import { clock, NONE } from "./format.js";
import type { Column, Series } from "./series.js";

const HEIGHT = 164;
const AXIS = 58;

/** One line: what it is called, and how it is drawn. Dashes tell lines apart where colours do not. */
export interface Line {
  column: Column;
  label: string;
  colour: "accent" | "second" | "third" | "warn";
  dash?: number[];
  fill?: boolean;
}

export interface ChartOptions {
  id: string;
  title: string;
  lines: Line[];
  format: (value: number) => string;
  /** What the scale reaches at least. */
  least: number;
}

const sync = uPlot.sync("console");

/** A chart over time with its legend, whose values are the newest, or those under the pointer. */
export class Chart {
  private readonly _figure: HTMLElement;
  private readonly _plotted: HTMLElement;
  private readonly _values: HTMLElement[] = [];
  private readonly _swatches: HTMLElement[] = [];
  private readonly _colours = new Map<Element, string>();
  private readonly _when = make("span", "when");
  private readonly _plot: uPlot;

  constructor(
    private readonly _options: ChartOptions,
    private readonly _series: Series,
  ) {
    this._figure = at(_options.id);
    this._plotted = make("div", "plot");
    this._plotted.setAttribute("role", "img");
    this._figure.append(this._caption(), this._plotted);
    this._plot = new uPlot(this._plotting(), [[], ..._options.lines.map(() => [])], this._plotted);
    new ResizeObserver(() => this._plot.setSize(this._size())).observe(this._plotted);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this._colours.clear();
      this._plot.redraw();
    });
  }

  /** Show what there is now. */
  draw(): void {
    const { times, columns } = this._series;
    const data = [times, ...this._options.lines.map(({ column }) => columns[column])] as uPlot.AlignedData;
    const [min, max] = this._series.window();
    this._plot.batch(() => {
      this._plot.setData(data, false);
      this._plot.setScale("x", { min, max });
    });
    this._legend();
  }

  private _caption(): HTMLElement {
    const legend = make("ul", "legend");
    for (const { label, colour, dash } of this._options.lines) {
      const swatch = make("i", `swatch ${colour}${dash ? (dash[0]! < 4 ? " dotted" : " dashed") : ""}`);
      const value = make("b", "", NONE);
      this._swatches.push(swatch);
      this._values.push(value);
      legend.append(make("li", "", swatch, make("span", "", label), value));
    }
    return make("figcaption", "", make("h3", "", this._options.title), this._when, legend);
  }

  private _plotting(): uPlot.Options {
    const { lines, format, least } = this._options;
    return {
      ...this._size(),
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: sync.key } },
      padding: [10, 26, 0, 0],
      scales: { x: { time: true }, y: { range: (_, __, max) => [0, ceiling(Math.max(max || 0, least))] } },
      axes: [
        { ...this._axis(), space: 70, size: 22, values: (_, ticks) => ticks.map((tick) => clock(tick)) },
        { ...this._axis(), space: 34, size: AXIS, values: (_, ticks) => ticks.map((tick) => format(tick)) },
      ],
      series: [
        {},
        ...lines.map((line, index) => ({
          stroke: () => this._colour(this._swatches[index]!),
          width: 1.75,
          points: { show: false },
          spanGaps: false,
          ...(line.dash ? { dash: line.dash } : {}),
          ...(line.fill ? { fill: () => `color-mix(in srgb, ${this._colour(this._swatches[index]!)} 12%, transparent)` } : {}),
        })),
      ],
      hooks: { setCursor: [() => this._legend()] },
    };
  }

  private _axis(): uPlot.Axis {
    return {
      stroke: () => this._colour(this._when),
      grid: { stroke: () => this._colour(this._figure, "borderTopColor"), width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
      gap: 6,
    };
  }

  /** As the sheet has it for the user's scheme: custom properties do not say what they come to. Asked once: it is dear. */
  private _colour(element: Element, property: "color" | "borderTopColor" = "color"): string {
    let colour = this._colours.get(element);
    if (!colour) this._colours.set(element, (colour = getComputedStyle(element)[property]));
    return colour;
  }

  private _size(): { width: number; height: number } {
    return { width: Math.max(160, this._plotted.clientWidth), height: HEIGHT };
  }

  private _legend(): void {
    if (!this._plot) return; // it calls back while it is made
    const { times, columns } = this._series;
    const pointed = this._plot.cursor.idx ?? null;
    const index = pointed ?? times.length - 1;
    const time = times[index];
    say(this._when, pointed === null || time === undefined ? "now" : clock(time));
    const told = this._options.lines.map(({ column, label }, line) => {
      const value = columns[column][index] ?? null;
      const text = value === null ? NONE : this._options.format(value);
      say(this._values[line]!, text);
      return `${label} ${value === null ? "none" : text}`;
    });
    if (pointed === null) this._plotted.setAttribute("aria-label", `${this._options.title}, now: ${told.join(", ")}`);
  }
}

/** The next number above that is easy to divide. */
function ceiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * power >= value * 1.05) ?? 12);
}
