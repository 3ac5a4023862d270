/** The card over the picture: what is the matter, and what a person can do about it. */

import { element, say } from './dom.ts';

/** What stands on a card. */
export interface Message {
  title: string;
  text: string;
  /** The word for programs and for reports, such as `auth_failed`. */
  code?: string | undefined;
  /** The one thing to do about it. */
  action?: { label: string; run: () => void } | undefined;
}

export class Card {
  readonly #card = element('card', HTMLElement);
  readonly #title = element('card-title', HTMLElement);
  readonly #text = element('card-text', HTMLElement);
  readonly #code = element('card-code', HTMLElement);
  readonly #action = element('card-action', HTMLButtonElement);
  readonly #status = element('status', HTMLElement);
  #run: () => void = () => {};

  constructor() {
    this.#action.addEventListener('click', () => this.#run());
  }

  show(message: Message): void {
    say(this.#title, message.title);
    say(this.#text, message.text);
    say(this.#code, message.code ?? '');
    this.#action.hidden = message.action === undefined;
    say(this.#action, message.action?.label ?? '');
    this.#run = message.action?.run ?? (() => {});
    this.#card.hidden = false;
    say(this.#status, `${message.title}. ${message.text}`);
  }

  hide(): void {
    this.#card.hidden = true;
  }

  /** For those who hear the page. */
  announce(text: string): void {
    say(this.#status, text);
  }
}
