/** The few things that these pages do to their documents. */

/** The element of this id. */
export function at<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as Kind;
}

type Child = Node | string;

/** A new element with a class and children. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className = "",
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Say something else, if it is something else: what does not change is not drawn, nor read aloud again. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

export function toggle(element: HTMLElement, shown: boolean): void {
  if (element.hidden === shown) element.hidden = !shown;
}

/** A button. */
export function button(label: string, className: string, press: () => void): HTMLButtonElement {
  const made = make("button", className, label);
  made.type = "button";
  made.addEventListener("click", press);
  return made;
}

/**
 * The rows of a table's body, one for each item, in order. Rows that stay are changed and not made anew, so that neither
 * a focus nor a selection is lost.
 */
export class Rows<Item> {
  private readonly _rows = new Map<string, HTMLTableRowElement>();

  /**
   * @param key tells items apart
   * @param fresh makes the row of an item
   * @param fill writes an item into its row
   */
  constructor(
    private readonly _body: HTMLElement,
    private readonly _key: (item: Item) => string,
    private readonly _fresh: (item: Item) => HTMLTableRowElement,
    private readonly _fill: (row: HTMLTableRowElement, item: Item) => void,
  ) {}

  show(items: readonly Item[]): void {
    const gone = new Set(this._rows.keys());
    let place = this._body.firstElementChild;
    const shown = new Set<string>();
    for (const item of items) {
      let key = this._key(item);
      while (shown.has(key)) key += " "; // two that are alike are two rows
      shown.add(key);
      let row = this._rows.get(key);
      if (!row) this._rows.set(key, (row = this._fresh(item)));
      gone.delete(key);
      this._fill(row, item);
      if (row === place) place = row.nextElementSibling;
      else this._body.insertBefore(row, place);
    }
    for (const key of gone) {
      this._rows.get(key)!.remove();
      this._rows.delete(key);
    }
  }
}

/** A row of so many cells; `numbers` are those that are set right. */
export function row(cells: number, numbers: readonly number[] = []): HTMLTableRowElement {
  const made = make("tr");
  for (let index = 0; index < cells; index++) made.append(make("td", numbers.includes(index) ? "number" : ""));
  return made;
}

/** Write texts into a row's cells. */
export function cells(row: HTMLTableRowElement, ...texts: readonly string[]): void {
  texts.forEach((text, index) => say(row.cells[index]!, text));
}
