import { seconds } from "./format.js";
import { extent, height, type Timeline, type Turn } from "./timeline.js";

const PAD = { left: 12, right: 12, top: 26, bottom: 22 };
const STEPS = 5;

/** What a connection's mark says; all have words, so that nobody needs the colour. */
const WORDS: Record<Turn, string> = {
  connected: "connected",
  cut: "cut",
  lost: "lost",
  resumed: "resumed",
  ended: "end",
};

/** Draws when chunks came: a stroke for each, as high as its size, and a rule where a connection was made or lost. */
export class Line {
  private readonly _context: CanvasRenderingContext2D;
  private _timeline: Timeline | null = null;
  private _drawing = false;

  /** @param _canvas its colours are those of the sheet: text, and custom properties that the probe resolves */
  constructor(private readonly _canvas: HTMLCanvasElement) {
    this._context = _canvas.getContext("2d")!;
    new ResizeObserver(() => this.draw(this._timeline)).observe(_canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw(this._timeline));
  }

  /** Draw with the next picture. */
  draw(timeline: Timeline | null): void {
    this._timeline = timeline;
    if (this._drawing) return;
    this._drawing = true;
    requestAnimationFrame(() => {
      this._drawing = false;
      this._paint();
    });
  }

  private _paint(): void {
    const { _canvas: canvas, _context: context, _timeline: timeline } = this;
    const [width, tall, scale] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio];
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(tall * scale);
    context.scale(scale, scale);
    context.font = "11px system-ui, sans-serif";
    const span = extent(timeline?.span ?? 0);
    const x = (at: number) => PAD.left + (at / span) * (width - PAD.left - PAD.right);
    const base = tall - PAD.bottom;
    this._scale(x, span, base, width);
    if (!timeline) return;
    this._absences(timeline, x, base);
    context.fillStyle = this._colour("accent");
    for (const { at, size } of timeline.chunks) {
      const high = height(size) * (base - PAD.top);
      context.fillRect(x(at) - 0.75, base - high, 1.5, high);
    }
    this._marks(timeline, x, base);
  }

  private _scale(x: (at: number) => number, span: number, base: number, width: number): void {
    const { _context: context } = this;
    context.strokeStyle = this._colour("line");
    context.fillStyle = this._colour("quiet");
    context.textBaseline = "alphabetic";
    context.beginPath();
    context.moveTo(PAD.left, base + 0.5);
    context.lineTo(width - PAD.right, base + 0.5);
    for (let step = 0; step <= STEPS; step++) {
      const at = (span * step) / STEPS;
      context.textAlign = step === 0 ? "left" : step === STEPS ? "right" : "center";
      context.moveTo(x(at), base);
      context.lineTo(x(at), base + 4);
      context.fillText(step === 0 ? "0" : seconds(at), x(at), base + 17);
    }
    context.stroke();
  }

  /** Shade where there was no connection. */
  private _absences({ marks, span }: Timeline, x: (at: number) => number, base: number): void {
    let since: number | null = null;
    this._context.fillStyle = this._colour("shade");
    for (const { at, turn } of marks) {
      if (turn === "cut" || turn === "lost") since ??= at;
      else if (since !== null) {
        this._context.fillRect(x(since), PAD.top, x(at) - x(since), base - PAD.top);
        since = null;
      }
    }
    if (since !== null) this._context.fillRect(x(since), PAD.top, x(span) - x(since), base - PAD.top);
  }

  private _marks({ marks }: Timeline, x: (at: number) => number, base: number): void {
    const { _context: context } = this;
    let free = 0; // where the next word has room
    context.textAlign = "left";
    for (const { at, turn } of marks) {
      const gone = turn === "cut" || turn === "lost";
      context.strokeStyle = context.fillStyle = this._colour(gone ? "warn" : "good");
      context.setLineDash(gone ? [3, 3] : []);
      context.beginPath();
      context.moveTo(x(at), 16);
      context.lineTo(x(at), base);
      context.stroke();
      context.setLineDash([]);
      const wide = context.measureText(WORDS[turn]).width;
      const left = Math.min(x(at), this._canvas.clientWidth - PAD.right - wide);
      if (left < free) continue;
      context.fillText(WORDS[turn], left, 11);
      free = left + wide + 6;
    }
  }

  private _colour(name: string): string {
    return getComputedStyle(document.querySelector(`.probe.${name}`)!).color;
  }
}
