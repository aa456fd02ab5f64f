// What everything here is made of. Text comes into the page as text alone, never as markup.

// An element with attributes, properties that begin with `on`, and children: elements or text.
const el = (name, given, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (key === 'class') made.className = value;
    else made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined));
  return made;
};

const svg = (name, given, ...children) => {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(given || {})) made.setAttribute(key, value);
  made.append(...children.flat(Infinity));
  return made;
};

const fill = (parent, ...children) => parent.replaceChildren(...children.flat(Infinity).filter(child => child !== null));

// A measured value for people, as the program prints it: four decimals, more where those would hide it.
const number = value => {
  if (typeof value !== 'number' || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size < 1e-4 || size >= 1e15) return value.toExponential(4);
  if (size < 1e-2) return value.toFixed(6);
  if (size >= 1e6) return String(value);
  return value.toFixed(4);
};

// A number on an axis.
const brief = value => {
  const size = Math.abs(value);
  if (size === 0) return '0';
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace('e+', 'e');
  return String(Number(value.toPrecision(4)));
};

// A time in its two largest units, such as 2h 5m.
const shortly = seconds => {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor(s % 3600 / 60)}m`;
  return `${Math.floor(s / 86400)}d ${Math.floor(s % 86400 / 3600)}h`;
};

const many = (n, one, more) => `${n} ${n === 1 ? one : more || one + 's'}`;

// What a screen reader is told.
const say = text => { document.getElementById('said').textContent = text; };

const HUES = ['blue', 'orange', 'green', 'pink', 'gold', 'violet', 'grey'];

// The page's colours as they are now, light or dark.
let palette = null;
const colours = () => {
  if (!palette) {
    const style = getComputedStyle(document.documentElement);
    palette = {};
    for (const name of [...HUES, 'ink', 'dim', 'line', 'paper', 'card', 'bad', 'focus']) {
      palette[name] = style.getPropertyValue(`--${name}`).trim();
    }
  }
  return palette;
};

// What is drawn when it comes into sight, and again when it has changed, the scheme or the width.
const drawn = new Map();
const draw = host => {
  const state = drawn.get(host);
  if (state && state.seen && state.stale && host.clientWidth > 0) {
    state.stale = false;
    state.paint();
  }
};
const sight = new IntersectionObserver(entries => {
  for (const entry of entries) {
    const state = drawn.get(entry.target);
    if (!state) continue;
    state.seen = entry.isIntersecting;
    draw(entry.target);
  }
}, { rootMargin: '200px' });
const sizes = new ResizeObserver(entries => {
  for (const entry of entries) {
    const state = drawn.get(entry.target);
    if (!state || state.width === entry.contentRect.width) continue;
    state.width = entry.contentRect.width;
    state.stale = true;
    draw(entry.target);
  }
});
const whenSeen = (host, paint) => {
  drawn.set(host, { paint, seen: false, stale: true, width: 0 });
  sight.observe(host);
  sizes.observe(host);
};
const changed = host => {
  const state = drawn.get(host);
  if (state) { state.stale = true; draw(host); }
};
const redrawAll = () => { palette = null; for (const host of drawn.keys()) changed(host); };
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redrawAll);
addEventListener('beforeprint', () => {
  for (const [host, state] of drawn) { state.seen = true; draw(host); }
});

// What can wait is done piece by piece, so that the page never stands still for long: the newest job of each name, once.
const waiting = new Map();
const later = (owner, name, job) => {
  const key = `${owner} ${name}`;
  if (waiting.size === 0) setTimeout(one_piece, 0);
  waiting.set(key, job);
};
const one_piece = () => {
  const [key, job] = waiting.entries().next().value;
  waiting.delete(key);
  const began = performance.now();
  job();
  window.srnas.tasks.push(performance.now() - began);
  if (window.srnas.tasks.length > 100) window.srnas.tasks.shift();
  if (waiting.size > 0) setTimeout(one_piece, 0);
};
// What the last updates took, for whoever measures it.
window.srnas = { updates: [], tasks: [], first: null };

// A button that copies what `text` gives.
const copying = (label, text) => {
  const button = el('button', { type: 'button', onclick: async () => {
    const copied = text();
    try {
      await navigator.clipboard.writeText(copied);
    } catch {
      // Without the clipboard's permission (a page that is not served by https or this machine): by a selection.
      const area = el('textarea', { class: 'hidden', readonly: true });
      area.value = copied;
      document.body.append(area);
      area.select();
      document.execCommand('copy');
      area.remove();
    }
    button.dataset.copied = copied;
    button.textContent = 'Copied';
    say(`${label}: copied`);
    setTimeout(() => { button.textContent = label; }, 1500);
  } }, label);
  return button;
};

// A plain table. Columns: [title, is a number?].
const table = (caption, columns, rows) => el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption || 'table' },
  el('table', {}, caption ? el('caption', {}, caption) : null,
    el('thead', {}, el('tr', {}, columns.map(([title, right]) => el('th', { scope: 'col', class: right ? 'number' : null }, title)))),
    el('tbody', {}, rows.map(row => el('tr', {}, row.map((cell, i) =>
      el('td', { class: columns[i][1] ? 'number' : 'name' }, cell)))))));
