import { collect, parse, type Batch } from "./carrier.js";
import { foreign } from "./errors.js";

/** Characters of one event: a peer that never ends its line would fill our memory, and an image comes in one. */
const MAX_LINE = 33_554_432;

/** Lines of one event; ours have one. */
const MAX_LINES = 1000;

/** Bytes, cut anywhere, to lines; each ends with LF, CR or CRLF. */
export class Lines {
  private readonly _utf8 = new TextDecoder(); // which takes away a BOM
  private _rest = "";
  private _afterCr = false;

  /** The lines that are whole now. */
  feed(bytes: Uint8Array): string[] {
    let text = this._utf8.decode(bytes, { stream: true });
    if (!text) return [];
    if (this._afterCr && text[0] === "\n") text = text.slice(1);
    this._afterCr = text.endsWith("\r");
    const lines = text.split(/\r\n|[\r\n]/);
    lines[0] = this._rest + lines[0];
    this._rest = lines.pop()!;
    if (this._rest.length > MAX_LINE) throw foreign("An endless line");
    return lines;
  }
}

/** What a response's lines mean. */
export interface Format {
  /** Its media type. */
  readonly type: string;
  /** Seconds to wait before coming back, once the server has said so. */
  retry?: number;
  /** Take one line; whether it is nothing but a keepalive. */
  line(line: string, batch: Batch): boolean;
}

/** Server-sent events (WHATWG HTML §9.2): an id and data make an event of ours. */
export class ServerSentEvents implements Format {
  readonly type = "text/event-stream";
  retry?: number;
  private _id?: string;
  private _data: string[] = [];

  line(line: string, batch: Batch): boolean {
    if (line[0] === ":") return true;
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line)!;
    if (!line) this._dispatch(batch);
    else if (field === "data") this._add(value!);
    else if (field === "id") this._id = value;
    else if (field === "retry" && /^\d{1,15}$/.test(value!)) this.retry = +value! / 1000;
    return false;
  }

  private _add(value: string): void {
    if (this._data.push(value) > MAX_LINES) throw foreign("An endless event");
  }

  private _dispatch(batch: Batch): void {
    if (this._data.length) collect(batch, this._id, parse(this._data.join("\n")));
    this._data = [];
  }
}

/** A JSON object a line; an empty line is a keepalive. */
export class JsonLines implements Format {
  readonly type = "application/x-ndjson";

  line(line: string, batch: Batch): boolean {
    if (!line) return true;
    const { id, event } = parse(line);
    collect(batch, id, event);
    return false;
  }
}
