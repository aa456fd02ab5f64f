// Charts: a canvas with axes, what it shows in words, its points by the arrow keys, and its numbers as a table.

// So many dots are drawn at most; what is left out is said.
const MOST_DOTS = 4000;
// So many rows has a chart's table.
const MOST_ROWS = 500;

// Round values between two, about `wanted` of them.
const ticks = (low, high, wanted) => {
  const rough = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= rough * 0.999) || power * 10;
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
};

// The least and the largest of numbers, apart from each other.
const range = values => {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return [0, 1];
  if (low === high) { const margin = Math.abs(low) * 0.1 || 1; return [low - margin, high + margin]; }
  return [low, high];
};

// Makes a chart. `x` and `y`: { label, format?, ticks?: [[value, name]], from?, to? }. What it has is set by `show(series, words)`;
// a series is { kind: 'line' | 'step' | 'dots' | 'band' | 'spans', name, hue, xs, ys, lows?, rows?, cross? }.
const chart = ({ title, x, y, height = 240, picked }) => {
  const canvas = el('canvas', { role: 'img', tabindex: '0', 'aria-label': title });
  const words = el('figcaption');
  const legend = el('ul', { class: 'legend' });
  const as_table = el('details', { ontoggle: () => tabulate() }, el('summary', {}, 'As a table'));
  const figure = el('figure', {}, el('h3', {}, title), legend, canvas, words, as_table);
  let series = [], places = [], at = -1;

  const paint = () => {
    const wide = canvas.clientWidth, ratio = devicePixelRatio || 1, c = colours();
    canvas.style.height = `${height}px`;
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext('2d');
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, wide, height);
    pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
    const xs = range([...edge('xs'), x.from, x.to]), ys = range([...edge('ys'), ...edge('lows'), y.from, y.to]);
    if (!y.ticks) { const margin = (ys[1] - ys[0]) * 0.06; ys[0] -= margin; ys[1] += margin; }
    const marks = y.ticks || ticks(ys[0], ys[1], height / 50).map(v => [v, (y.format || brief)(v)]);
    const left = Math.min(wide * 0.4, Math.max(...marks.map(([, name]) => pen.measureText(name).width), 10) + 10);
    const right = wide - 10, bottom = height - 38, top = 8;
    const px = v => left + (v - xs[0]) / (xs[1] - xs[0]) * (right - left);
    const py = v => bottom - (v - ys[0]) / (ys[1] - ys[0]) * (bottom - top);
    pen.lineWidth = 1; pen.strokeStyle = c.line; pen.fillStyle = c.dim;
    pen.textAlign = 'right'; pen.textBaseline = 'middle';
    for (const [value, name] of marks) {
      pen.beginPath(); pen.moveTo(left, py(value)); pen.lineTo(right, py(value)); pen.stroke();
      pen.fillText(name, left - 6, py(value), left - 8);
    }
    pen.textAlign = 'center'; pen.textBaseline = 'top';
    const below = x.ticks || ticks(xs[0], xs[1], (right - left) / 80).map(v => [v, (x.format || brief)(v)]);
    let free = -Infinity;
    for (const [value, name] of below) {
      const half = pen.measureText(name).width / 2, place = Math.min(Math.max(px(value), left + half), right - half);
      if (place - half < free) continue;
      pen.fillText(name, place, bottom + 5);
      free = place + half + 8;
    }
    pen.fillText(x.label, (left + right) / 2, bottom + 21, right - left);
    places = [];
    for (const one of series) paintOne(pen, one, px, py, c);
    const place = places[at];
    if (place) {
      pen.strokeStyle = c.focus; pen.lineWidth = 2;
      pen.beginPath(); pen.arc(place[0], place[1], 7, 0, 7); pen.stroke();
    }
  };

  const edge = name => series.flatMap(one => (one[name] ? range(one[name]) : []));

  const paintOne = (pen, one, px, py, c) => {
    const { xs, ys } = one, n = xs.length;
    pen.strokeStyle = pen.fillStyle = c[one.hue] || c.blue;
    pen.lineWidth = 2;
    if (one.kind === 'band') {
      pen.globalAlpha = 0.2;
      pen.beginPath();
      for (let i = 0; i < n; i += 1) if (Number.isFinite(ys[i])) pen.lineTo(px(xs[i]), py(ys[i]));
      for (let i = n - 1; i >= 0; i -= 1) if (Number.isFinite(one.lows[i])) pen.lineTo(px(xs[i]), py(one.lows[i]));
      pen.fill();
      pen.globalAlpha = 1;
    } else if (one.kind === 'spans') {
      for (let i = 0; i < n; i += 1) {
        const from = px(one.lows_x[i]), wide = Math.max(1.5, px(xs[i]) - from);
        pen.fillStyle = c[one.hues[i]] || c.blue;
        pen.fillRect(from, py(ys[i]) - 6, wide, 12);
        if (one.hues[i] === 'bad') { pen.strokeStyle = c.paper; pen.beginPath(); pen.moveTo(from, py(ys[i]) - 6); pen.lineTo(from + wide, py(ys[i]) + 6); pen.stroke(); }
        places.push([from + wide / 2, py(ys[i]), one, i]);
      }
    } else if (one.kind === 'dots') {
      const every = Math.ceil(n / MOST_DOTS);
      pen.globalAlpha = n > 300 ? 0.55 : 0.85;
      for (let i = n - 1; i >= 0; i -= every) {
        if (!Number.isFinite(xs[i]) || !Number.isFinite(ys[i])) continue;
        const a = px(xs[i]), b = py(ys[i]);
        if (one.cross) { pen.lineWidth = 1.5; pen.beginPath(); pen.moveTo(a - 3, b - 3); pen.lineTo(a + 3, b + 3); pen.moveTo(a + 3, b - 3); pen.lineTo(a - 3, b + 3); pen.stroke(); }
        else pen.fillRect(a - 2, b - 2, 4, 4);
        places.push([a, b, one, i]);
      }
      pen.globalAlpha = 1;
    } else {
      pen.beginPath();
      let before = null;
      for (let i = 0; i < n; i += 1) {
        if (!Number.isFinite(ys[i])) { before = null; continue; }
        if (before === null) {
          pen.moveTo(px(xs[i]), py(ys[i]));
          // One alone is seen, too.
          if (!Number.isFinite(ys[i + 1])) pen.fillRect(px(xs[i]) - 2, py(ys[i]) - 2, 4, 4);
        }
        else { if (one.kind === 'step') pen.lineTo(px(xs[i]), before); pen.lineTo(px(xs[i]), py(ys[i])); }
        before = py(ys[i]);
        places.push([px(xs[i]), before, one, i]);
      }
      pen.stroke();
    }
  };

  // One point in words.
  const told = ([, , one, i]) => one.told ? one.told(i)
    : `${one.name ? one.name + ': ' : ''}${x.label} ${(x.format || brief)(one.xs[i])}, ${y.label} ${(y.format || number)(one.ys[i])}`;

  const point = place => {
    at = place;
    if (!places[at]) return;
    const text = told(places[at]);
    canvas.title = text;
    say(text);
    changed(canvas);
  };

  canvas.addEventListener('keydown', event => {
    const sorted = places.length;
    const go = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (go) point(Math.min(sorted - 1, Math.max(0, at + go)));
    else if (event.key === 'Home') point(0);
    else if (event.key === 'End') point(sorted - 1);
    else if (event.key === 'Enter' && places[at] && picked && places[at][2].rows) picked(places[at][2].rows[places[at][3]]);
    else return;
    event.preventDefault();
  });
  const nearest = event => {
    const box = canvas.getBoundingClientRect(), ex = event.clientX - box.left, ey = event.clientY - box.top;
    let best = 400, found = -1;
    places.forEach(([a, b], i) => { const d = (a - ex) ** 2 + (b - ey) ** 2; if (d < best) { best = d; found = i; } });
    return found;
  };
  canvas.addEventListener('mousemove', event => {
    const found = nearest(event);
    canvas.title = places[found] ? told(places[found]) : '';
  });
  canvas.addEventListener('click', event => {
    const found = nearest(event);
    if (!places[found]) return;
    point(found);
    if (picked && places[found][2].rows) picked(places[found][2].rows[places[found][3]]);
  });

  const tabulate = () => {
    if (!as_table.open) return;
    const all = series.filter(one => one.kind !== 'band');
    const rows = all.flatMap(one => Array.from(one.xs, (_, i) => one.told ? [one.told(i)]
      : [one.name || title, (x.format || number)(one.xs[i]), (y.format || number)(one.ys[i])]));
    const left_out = rows.length > MOST_ROWS ? `, the first ${MOST_ROWS} of ${rows.length}` : '';
    const columns = all.some(one => one.told) ? [['what', false]] : [['what', false], [x.label, true], [y.label, true]];
    as_table.replaceChildren(as_table.firstChild, table(`${title}${left_out}`, columns, rows.slice(0, MOST_ROWS)));
  };

  whenSeen(canvas, paint);
  const show = (now, text) => {
    series = now;
    // What was pointed at may be another now.
    at = -1;
    const dots = Math.max(0, ...series.filter(one => one.kind === 'dots').map(one => one.xs.length));
    const thinned = dots > MOST_DOTS ? ` Of ${dots} dots every ${Math.ceil(dots / MOST_DOTS)}th is drawn.` : '';
    words.textContent = `${text}${thinned}`;
    canvas.setAttribute('aria-label', `${title}. ${text} The arrow keys go from point to point.`);
    const named = series.filter(one => one.name && one.kind !== 'band');
    const names = named.map(one => `${one.hue}\n${one.name}`).join('\n\n');
    if (legend.dataset.names !== names) {
      legend.dataset.names = names;
      fill(legend, named.length > 1 ? named.map(one => {
        const swatch = el('i');
        swatch.style.background = `var(--${one.hue})`;
        return el('li', {}, swatch, one.name);
      }) : []);
    }
    if (as_table.open) tabulate();
    changed(canvas);
  };
  return { figure, show, axes: { x, y } };
};
