/** The page's elements by their ids. A page without one of them is a fault of ours, and says so. */
export function element<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} #${id}`);
  return found;
}

/** Replaces a text, but only when it differs: nothing is laid out or spoken anew for the same words. */
export function say(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Shows another symbol of the page's sprite. */
export function show(button: Element, symbol: string): void {
  button.querySelector('use')?.setAttribute('href', `#i-${symbol}`);
}

/** Bits a second in words. */
export function rate(bits: number): string {
  if (bits >= 1e6) return `${(bits / 1e6).toFixed(1)} Mbit/s`;
  return `${Math.round(bits / 1e3)} kbit/s`;
}

/** Milliseconds in words. */
export function duration(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms)} ms`;
}
