/** The few lines between this page and the DOM. Text is always text: nothing here reads markup. */

/** The element with that id; the page has it. */
export const byId = (id) => document.getElementById(id);

/**
 * An element with attributes and children; strings become text.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] `on…` listens, `true` is an attribute without a value, `null` and `false` are left out
 * @param {...(Node | string | null)} children
 */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false && value !== undefined) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Sets text only where it differs, so that screen readers hear changes only. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Calls `draw` once before the next frame, however often it was asked for; not while nobody looks. */
export function everyFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}
