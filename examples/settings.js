/** What the fragment of the page's address says. */
export const settings = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));

/** Shows a line on the page. */
export function log(...words) {
  const line = document.createElement('li');
  line.textContent = words.join(' ');
  document.querySelector('#log').append(line);
}
