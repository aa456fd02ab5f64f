// Every measurement in a table that is sorted and filtered, a page of it at a time.

const PAGE = 100;
// A filter such as `loss <= 0.3`, `op=conv` or a word.
const TERM = /^(.+?)(<=|>=|!=|=|<|>)(.+)$/;

// `rows` of a search: see search.js. `chosen` is told the row that is chosen.
const measurementTable = ({ chosen }) => {
  let data = null, order = [], page = 0, sorted = { column: '#', down: true }, picked = -1;
  const filter = el('input', { type: 'search', placeholder: 'e.g. loss<=0.3 op=conv', oninput: () => later(true) });
  const kind = el('select', { onchange: () => later(true) }, ['all', 'with a value', 'infeasible', 'beyond limits', 'on the front', 'full trainings'].map(name => el('option', {}, name)));
  const count = el('p', { class: 'dim', role: 'status' });
  const head = el('tr'), body = el('tbody');
  const whole = el('table', { 'aria-rowcount': '0' }, el('thead', {}, head), body);
  const turn = (label, to) => el('button', { type: 'button', onclick: () => { page = to(); render(); } }, label);
  const last = () => Math.max(0, Math.ceil(order.length / PAGE) - 1);
  const first_button = turn('First', () => 0), before = turn('Previous', () => Math.max(0, page - 1));
  const next = turn('Next', () => Math.min(last(), page + 1)), end = turn('Last', last);
  const root = el('section', { class: 'card wide' }, el('h3', {}, 'All measurements'),
    el('div', { class: 'row' }, el('label', {}, 'Filter ', filter), el('label', {}, 'Show ', kind), count),
    el('div', { class: 'scroll', role: 'region', 'aria-label': 'All measurements', tabindex: '0' }, whole),
    el('div', { class: 'row' }, first_button, before, next, end));

  // While somebody types, not at every letter.
  let waiting = 0;
  const later = from_the_start => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (from_the_start) page = 0; arrange(); render(); }, 60);
  };

  // Columns: { name, of: row → value, right: whether numbers, text: value → what is shown }.
  const columns = () => {
    const r = data.rows, all = [
      { name: '#', of: i => i + 1, right: true, text: String },
      { name: data.metric, of: i => r.value[i], right: true, text: number },
    ];
    for (const name of data.metrics) {
      if (name !== data.metric) all.push({ name, of: i => r.metrics[name][i], right: true, text: number });
    }
    if (data.unit) all.push({ name: data.unit, of: i => r.trained[i], right: true, text: brief });
    if (data.paid) all.push({ name: 'cost', of: i => r.cost[i], right: true, text: number });
    all.push({ name: 'architecture', of: i => r.architecture[i], text: String });
    all.push({ name: 'says', of: i => r.reason[i] || r.broken[i] || (r.cost[i] === 0 ? 'measured elsewhere' : ''), text: String });
    return all;
  };

  const value_of = name => {
    const column = columns().find(one => one.name === name);
    if (column) return column.of;
    const d = data.space.decisions.findIndex(decision => decision.name === name);
    return d < 0 ? null : i => { const c = data.rows.choices[i][d]; return c === null ? null : data.space.decisions[d].choices[c]; };
  };

  // Whether a row passes the filter.
  const passes = () => {
    const r = data.rows;
    const shown = { 'with a value': i => r.value[i] !== null, infeasible: i => r.reason[i] !== null, 'beyond limits': i => r.broken[i] !== null,
      'on the front': i => data.front.has(i), 'full trainings': i => r.full[i] }[kind.value] || (() => true);
    const terms = filter.value.trim().split(/\s+(?![<>=!])(?<![<>=])/).filter(Boolean).map(term => {
      const found = TERM.exec(term), of = found && value_of(found[1].trim());
      if (of) {
        const wanted = found[3].trim(), as_number = Number(wanted);
        return i => {
          const value = of(i);
          if (value === null || value === undefined) return false;
          const same = !Number.isNaN(as_number) && !Number.isNaN(Number(value)) ? Number(value) === as_number : String(value) === wanted;
          return { '=': same, '!=': !same, '<': value < as_number, '>': value > as_number, '<=': value <= as_number, '>=': value >= as_number }[found[2]];
        };
      }
      const word = term.toLowerCase();
      return i => r.architecture[i].toLowerCase().includes(word) || (r.reason[i] || r.broken[i] || '').toLowerCase().includes(word);
    });
    return i => shown(i) && terms.every(term => term(i));
  };

  const arrange = () => {
    const keep = passes(), column = columns().find(one => one.name === sorted.column) || columns()[0];
    order = [];
    for (let i = 0; i < data.rows.value.length; i += 1) if (keep(i)) order.push(i);
    const keys = order.map(column.of), place = new Map(order.map((row, i) => [row, keys[i]]));
    const sign = sorted.down ? -1 : 1;
    order.sort((a, b) => {
      const x = place.get(a), y = place.get(b);
      // What has none comes last, either way.
      if (x === null || x === undefined || y === null || y === undefined) return (x === null || x === undefined) - (y === null || y === undefined) || a - b;
      return (x < y ? -sign : x > y ? sign : 0) || a - b;
    });
    page = Math.min(page, last());
  };

  const render = () => {
    const all = columns();
    fill(head, all.map(column => {
      const here = sorted.column === column.name, sort = here ? (sorted.down ? 'descending' : 'ascending') : 'none';
      const arrow = here ? (sorted.down ? ' ↓' : ' ↑') : '';
      return el('th', { scope: 'col', 'aria-sort': sort, class: column.right ? 'number' : null }, el('button', { type: 'button', onclick: () => {
        sorted = { column: column.name, down: here ? !sorted.down : false };
        arrange(); render();
        head.children[all.indexOf(column)].firstChild.focus();
      } }, column.name + arrow));
    }));
    const shown = order.slice(page * PAGE, (page + 1) * PAGE);
    whole.setAttribute('aria-rowcount', String(order.length + 1));
    fill(body, shown.map((i, k) => el('tr', { 'data-row': i, 'aria-rowindex': page * PAGE + k + 2, class: i === picked ? 'chosen' : null },
      all.map(column => {
        const value = column.of(i), none = value === null || value === undefined;
        if (column.name === 'architecture') {
          return el('td', { class: 'name' }, el('button', { type: 'button', onclick: () => chosen(i), 'aria-label': `show measurement ${i + 1}` }, '▸'), ' ', el('code', {}, value));
        }
        const bad = column.name === 'says' && data.rows.reason[i] !== null;
        return el('td', { class: `${column.right ? 'number' : 'name'}${bad ? ' bad' : ''}`, 'data-value': none ? null : String(value) }, none ? '–' : column.text(value));
      }))));
    const n = data.rows.value.length;
    count.textContent = `${order.length === n ? many(n, 'measurement') : `${order.length} of ${many(n, 'measurement')}`}, page ${page + 1} of ${last() + 1}`;
    first_button.disabled = before.disabled = page === 0;
    next.disabled = end.disabled = page === last();
  };

  return {
    root,
    show: now => { data = now; arrange(); render(); },
    mark: row => { picked = row; render(); },
  };
};
