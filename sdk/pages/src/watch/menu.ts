/**
 * The quality menu: a menu button with radio items (WAI-ARIA, "Menu Button"). Arrow keys move, Enter and Space
 * choose, Escape and Tab close; the focus goes back to the button.
 */

import { element } from '../dom.ts';

export interface Choice {
  value: string;
  label: string;
  detail: string;
}

export class QualityMenu {
  readonly #button = element('quality', HTMLButtonElement);
  readonly #menu = element('menu', HTMLElement);
  readonly #choose: (value: string) => void;
  #shown = '';

  constructor(choose: (value: string) => void) {
    this.#choose = choose;
    this.#button.addEventListener('click', () => this.toggle());
    this.#button.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowUp' || event.key === 'ArrowDown') {
        event.preventDefault();
        this.#open();
      }
    });
    this.#menu.addEventListener('keydown', (event) => this.#onKey(event));
    this.#menu.addEventListener('focusout', (event) => {
      const target = event.relatedTarget;
      if (!(target instanceof Node) || (!this.#menu.contains(target) && target !== this.#button)) this.close(false);
    });
  }

  get isOpen(): boolean {
    return !this.#menu.hidden;
  }

  /** Replaces the items, unless they are the same. */
  fill(choices: readonly Choice[], chosen: string): void {
    const shown = JSON.stringify([choices, chosen]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const focused = this.#items().findIndex((item) => item === document.activeElement);
    this.#menu.replaceChildren(...choices.map((choice) => this.#item(choice, choice.value === chosen)));
    if (focused >= 0) this.#items()[Math.min(focused, choices.length - 1)]?.focus();
    const label = choices.find((choice) => choice.value === chosen)?.label;
    this.#button.setAttribute('aria-label', label === undefined ? 'Quality' : `Quality: ${label}`);
    this.#button.title = label === undefined ? 'Quality' : `Quality: ${label}`;
  }

  toggle(): void {
    if (this.isOpen) this.close(true);
    else this.#open();
  }

  close(takesFocus: boolean): void {
    if (!this.isOpen) return;
    this.#menu.hidden = true;
    this.#button.setAttribute('aria-expanded', 'false');
    if (takesFocus) this.#button.focus();
  }

  #open(): void {
    this.#menu.hidden = false;
    this.#button.setAttribute('aria-expanded', 'true');
    const items = this.#items();
    (items.find((item) => item.getAttribute('aria-checked') === 'true') ?? items[0])?.focus();
  }

  #item(choice: Choice, isChosen: boolean): HTMLButtonElement {
    const item = document.createElement('button');
    item.type = 'button';
    item.tabIndex = -1;
    item.setAttribute('role', 'menuitemradio');
    item.setAttribute('aria-checked', String(isChosen));
    const detail = document.createElement('small');
    detail.textContent = choice.detail;
    item.append(choice.label, detail);
    item.addEventListener('click', () => {
      // Closed first: choosing makes the items anew, and would lose the focus.
      this.close(true);
      this.#choose(choice.value);
    });
    return item;
  }

  #items(): HTMLElement[] {
    return [...this.#menu.querySelectorAll<HTMLElement>('[role="menuitemradio"]')];
  }

  #onKey(event: KeyboardEvent): void {
    const items = this.#items();
    const at = items.findIndex((item) => item === document.activeElement);
    const moves: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      Home: 0,
      End: items.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) items[(to + items.length) % items.length]?.focus();
    else if (event.key === 'Escape') this.close(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
