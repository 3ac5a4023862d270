/**
 * Reading the control plane's rows. A row that lacks what its type promises is an error here, and not an
 * `undefined` somewhere in the caller's code. Fields that we do not know are left out.
 */

import { StreamsError } from './streams-errors.ts';

/** A row whose fields are read one by one. */
export class Row {
  readonly #fields: Record<string, unknown>;
  readonly #what: string;

  constructor(value: unknown, what: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new StreamsError('BAD_RESPONSE', `${what}: expected an object`);
    }
    this.#fields = value as Record<string, unknown>;
    this.#what = what;
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== 'string') throw this.#bad(name, 'a string');
    return value;
  }

  optionalText(name: string): string | undefined {
    const value = this.#fields[name];
    return typeof value === 'string' ? value : undefined;
  }

  integer(name: string): number {
    const value = this.#fields[name];
    if (!Number.isSafeInteger(value)) throw this.#bad(name, 'a whole number');
    return value as number;
  }

  #bad(name: string, expected: string): StreamsError {
    return new StreamsError('BAD_RESPONSE', `${this.#what}: expected ${name} to be ${expected}`);
  }
}

/** The rows of a list. */
export function rows(value: unknown, what: string): Row[] {
  if (!Array.isArray(value)) throw new StreamsError('BAD_RESPONSE', `${what}: expected a list`);
  return value.map((each) => new Row(each, what));
}
