// What a person who cannot see well, or not at all, needs of a page: names of what can be worked, and contrast.
// Sources: WCAG 2.2, 4.1.2 (name, role, value), 1.4.3 (contrast 4.5:1, large text 3:1).

/** Controls that a screen reader cannot name. */
export async function namelessControls(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send('Accessibility.getFullAXTree');
  await session.detach();
  const roles = new Set(['button', 'slider', 'combobox', 'textbox', 'checkbox', 'menuitemradio', 'meter', 'Video', 'video']);
  const found = nodes.filter((node) => !node.ignored && roles.has(node.role?.value));
  if (found.length === 0) return ['no control at all'];
  return found.filter((node) => !(node.name?.value ?? '').trim()).map((node) => node.role.value);
}

/** Texts that are hard to read, with their contrast. */
export function contrastFaults(page) {
  return page.evaluate(() => {
    const parse = (text) => {
      const [r = 0, g = 0, b = 0, a = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
      return text === 'transparent' ? [0, 0, 0, 0] : [r, g, b, a];
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
    const luminance = (rgb) => {
      const [r, g, b] = rgb.map((value) => {
        const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    /** What lies under an element; over a picture the worst one, a white frame, is taken. */
    const ground = (element) => {
      const layers = [];
      for (let each = element; each !== null; each = each.parentElement) {
        const style = getComputedStyle(each);
        if (each.classList.contains('controls')) layers.push([3, 5, 8, 0.7]);
        const colour = parse(style.backgroundColor);
        if (colour[3] > 0) layers.push(colour);
        if (each.id === 'stage') {
          const isCard = element.closest('.card') !== null && document.querySelector('video').videoWidth === 0;
          layers.push(isCard ? [29, 40, 51, 1] : [255, 255, 255, 1]);
        }
        if (layers.at(-1)?.[3] === 1) break;
      }
      return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const faults = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const element = walk.currentNode.parentElement;
      const text = walk.currentNode.data.trim();
      if (text === '' || element.closest('.visually-hidden, script, noscript, svg, option') !== null) continue;
      if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      if (element.closest(':disabled') !== null) continue;
      const style = getComputedStyle(element);
      const back = ground(element);
      const front = over(parse(style.color), back);
      const [light, dark] = [luminance(front), luminance(back)].sort((a, b) => b - a);
      const contrast = (light + 0.05) / (dark + 0.05);
      const size = Number.parseFloat(style.fontSize);
      const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (contrast < (isLarge ? 3 : 4.5)) faults.push(`${contrast.toFixed(2)}: ${text.slice(0, 40)}`);
    }
    return faults;
  });
}
