// The page of a search.

// So many of the best has the plot of parallel coordinates.
const PARALLEL = 300;
// So many metrics of an architecture are shown before the others are asked for.
const METRICS = 5;
// So many decisions have a slice before the others are asked for.
const SLICES = 6;

const searchView = (about, tools) => {
  const space = about.space, goal = about.goal, first = goal.objectives[0], minimise = first.minimise;
  const better = (a, b) => (minimise ? a < b : a > b);
  let rows = null, head = null, picked = null;

  const heading = el('h2', {}, about.title), line = el('p'), budget = el('progress', { max: 1, 'aria-label': 'budget paid' });
  const left = el('p', { class: 'dim' }), how = el('p', { class: 'dim' }, about.how);
  const best = el('section', { class: 'card wide', 'aria-label': 'the best' });
  const slots = el('section', { class: 'card' }), workers = el('section', { class: 'card', hidden: true }), failures = el('section', { class: 'card' });
  const within = el('section', { class: 'card wide' });
  const card = (...parts) => el('section', { class: 'card' }, parts);
  const cost_axis = { label: about.counted, from: 0 };
  const value_axis = () => ({ label: first.metric });
  const over_cost = chart({ title: `Best ${first.metric} so far, over cost`, x: cost_axis, y: value_axis(), picked: row => choose(row) });
  const over_time = chart({ title: `Best ${first.metric} so far, over time`, x: { label: 'time since the beginning', format: shortly, from: 0 }, y: value_axis(), picked: row => choose(row) });
  const time_card = card(over_time.figure);
  const reports = chart({ title: `${about.reported} as the trainings reported it`, x: { label: about.unit || 'epoch or step' }, y: { label: about.reported }, height: 300, picked: row => choose(row) });
  const reports_card = el('section', { class: 'card wide', hidden: true }, reports.figure);
  const lanes = { label: 'slot', ticks: [] };
  const timeline = chart({ title: 'Timeline of slots', x: { label: 'time since the beginning', format: shortly, from: 0 }, y: lanes, height: 180, picked: row => choose(row) });
  const timeline_card = el('section', { class: 'card wide' }, timeline.figure);
  const front = el('section', { class: 'card wide', hidden: true });
  const front_table = el('div');
  const pair_of_metrics = goal.objectives.length > 1
    ? chart({ title: `Front of ${about.goal.words}`, x: { label: goal.objectives[1].metric }, y: value_axis(), height: 300, picked: row => choose(row) }) : null;
  if (pair_of_metrics) front.append(pair_of_metrics.figure, front_table);
  const importance = el('section', { class: 'card' });
  const shorter = el('section', { class: 'card', hidden: true });
  const agreements = about.shorter.map(name => chart({ title: `${name} against ${about.full_name}`, x: { label: `${first.metric} after ${name}` }, y: { label: first.metric }, picked: row => choose(row) }));
  const shorter_words = el('div');
  if (agreements.length > 0) shorter.append(el('h3', {}, 'What the shorter trainings said'), shorter_words, ...agreements.map(one => one.figure));
  const parallel = parallelPlot(space, first, row => choose(row));
  const slices = slicesOf(space, first, row => choose(row));
  const all = measurementTable({ chosen: row => choose(row) });
  const buttons = tools.buttons({ space, metrics: goal.objectives.map(o => o.metric) });
  const root = el('section', { class: 'view', 'aria-label': about.title }, heading, line, budget, left, buttons, how,
    el('div', { class: 'cards' }, best, within, slots, workers, failures, card(over_cost.figure), time_card, timeline_card, reports_card, front, importance, shorter,
      el('section', { class: 'card wide' }, parallel.figure), slices.root, all.root));

  // The measurement that is shown in place of the best.
  const choose = row => {
    picked = row;
    all.mark(row);
    showBest();
    best.scrollIntoView({ block: 'nearest' });
    say(`measurement ${row + 1}: ${rows.architecture[row]}`);
  };

  const as_json = row => {
    const parts = [];
    space.decisions.forEach((decision, d) => {
      const value = chosen(space, rows.choices[row], d);
      if (value !== null) parts.push(`${JSON.stringify(decision.name)}:${decision.literal ? value : JSON.stringify(value)}`);
    });
    return `{${parts.join(',')}}`;
  };

  let shown_best = '';
  const showBest = () => {
    const row = picked === null ? head.best : picked;
    const key = `${row} ${picked === null}`;
    if (shown_best === key) return;
    shown_best = key;
    if (row === null) { fill(best, el('h3', {}, 'Nothing has a value yet')); return; }
    const value = rows.value[row], name = picked === null ? 'Best' : `Measurement ${row + 1}`;
    const said = value === null ? `infeasible` : `${first.metric} ${number(value)}`;
    const metrics = Object.keys(rows.metrics).filter(metric => rows.metrics[metric][row] !== null && rows.metrics[metric][row] !== undefined);
    // What is searched comes first.
    const searched = goal.objectives.map(o => o.metric).filter(metric => metrics.includes(metric));
    const ordered = [...searched, ...metrics.filter(metric => !searched.includes(metric)).sort()];
    const cells = ordered.map(metric => [metric, number(rows.metrics[metric][row])]);
    fill(best,
      el('h3', { class: 'best' }, `${name}: ${said}`),
      rows.reason[row] || rows.broken[row] ? el('p', { class: 'bad' }, rows.reason[row] || rows.broken[row]) : null,
      el('code', { class: 'notation' }, rows.architecture[row]),
      el('div', { class: 'row' }, copying('Copy as JSON', () => as_json(row)), copying('Copy notation', () => rows.architecture[row]),
        picked === null ? null : el('button', { type: 'button', onclick: () => { picked = null; all.mark(-1); showBest(); } }, 'Back to the best')),
      el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'architecture' }, drawing(space, rows.choices[row], `The architecture of measurement ${row + 1}`)),
      table('What was measured of it', [['metric', false], ['value', true]], cells.slice(0, METRICS)),
      cells.length <= METRICS ? null : el('details', {}, el('summary', {}, `All ${cells.length} metrics`), table('', [['metric', false], ['value', true]], cells)));
  };

  const showState = () => {
    line.textContent = head.headline;
    budget.hidden = !head.state;
    if (head.state) budget.value = Math.min(1, head.spent / Math.max(1, head.state.budget));
    left.textContent = head.state && head.state.left !== null ? `${shortly(head.state.left)} left: ${head.state.basis}` : head.state ? head.state.basis : '';
    how.textContent = about.how;
    const running = head.state ? head.state.running : [], speak = running.some(one => one.said);
    slots.hidden = !head.state;
    // A page that is kept says how it was.
    const now = tools.now() ?? (head.state && head.state.now);
    fill(slots, el('h3', {}, `Slots: ${running.length} of ${head.state ? head.state.parallel : 0} at work`),
      running.length === 0 ? el('p', { class: 'dim' }, 'Nothing is measured now.')
        : table('Measured now', [['for', true], ['', false], ['reported last', false], ['architecture', false]].filter(([name]) => name !== 'reported last' || speak), running.map(one => [shortly(now - one.since), one.trained || '', ...(speak ? [one.said || ''] : []), one.architecture])));
    const workers_now = head.workers || [];
    workers.hidden = workers_now.length === 0;
    fill(workers, el('h3', {}, `Evaluators: ${workers_now.length}`),
      table('Who measures', [['name', false], ['heard before', true], ['measures', false], ['', false]], workers_now.map(one => [
        one.name, shortly(one.silent), one.measures.join(', ') || 'nothing',
        one.leaves ? 'ends when it has answered' : tools.dismissing(one.name)])));
    const by_reason = head.failures;
    fill(failures, el('h3', {}, `Failures: ${head.infeasible}`),
      by_reason.length === 0 ? el('p', { class: 'dim' }, 'Everything that was measured has a value.')
        : table('Why there is no value', [['times', true], ['reason', false]], by_reason.map(([reason, n]) => [String(n), reason])));
    within.hidden = head.within.length === 0;
    fill(within, el('h3', {}, 'Limits'), head.within.map(words => el('p', {}, words)));
  };

  // What a dot is, in words.
  const toldOf = row => `measurement ${row + 1}: ${rows.value[row] === null ? `infeasible, ${rows.reason[row]}` : `${first.metric} ${number(rows.value[row])}`}, ${rows.architecture[row]}`;

  const counting = i => rows.full[i] && rows.value[i] !== null && rows.broken[i] === null;

  const showCurves = () => {
    const n = rows.value.length, began = rows.began.find(t => t !== null);
    const dots = { xs: [], ys: [], rows: [] }, step = { xs: [], ys: [], rows: [] }, timed = { xs: [], ys: [], rows: [] }, times = { xs: [], ys: [], rows: [] };
    let spent = 0, so_far = null, end = null, best_row = null;
    for (let i = 0; i < n; i += 1) {
      spent += rows.cost[i];
      const t = rows.ended[i] === null || began === undefined ? null : rows.ended[i] - began;
      if (t !== null) end = Math.max(end || 0, t);
      if (!counting(i)) continue;
      const value = rows.value[i];
      dots.xs.push(spent); dots.ys.push(value); dots.rows.push(i);
      if (t !== null) { times.xs.push(t); times.ys.push(value); times.rows.push(i); }
      if (so_far === null || better(value, so_far)) {
        so_far = value; best_row = i;
        step.xs.push(spent); step.ys.push(value); step.rows.push(i);
        if (t !== null) { timed.xs.push(t); timed.ys.push(value); timed.rows.push(i); }
      }
    }
    const words = so_far === null ? 'Nothing within the limits has a value yet.'
      : `${many(dots.xs.length, 'full training')}; the best ${first.metric} is ${number(so_far)}, of measurement ${best_row + 1}.`;
    if (so_far !== null) { step.xs.push(spent); step.ys.push(so_far); step.rows.push(best_row); }
    if (so_far !== null && end !== null) { timed.xs.push(end); timed.ys.push(so_far); timed.rows.push(best_row); }
    const told = one => ({ ...one, told: i => toldOf(one.rows[i]) });
    over_cost.show([told({ kind: 'dots', name: 'a full training', hue: 'grey', ...dots }), { kind: 'step', name: 'best so far', hue: 'blue', ...step }], words);
    time_card.hidden = timeline_card.hidden = times.xs.length === 0;
    if (times.xs.length > 0) over_time.show([told({ kind: 'dots', name: 'a full training', hue: 'grey', ...times }), { kind: 'step', name: 'best so far', hue: 'blue', ...timed }], words);
  };

  // Lines by what became of them; what is drawn last is seen best.
  const FATES = [['grey', 'ended'], ['bad', 'stopped early'], ['green', 'runs'], ['blue', 'the best']];
  let shown_reports = '';
  const showReports = () => {
    reports_card.hidden = head.curves.length === 0;
    const key = `${head.best} ${JSON.stringify(head.curves)}`;
    if (reports_card.hidden || shown_reports === key) return;
    shown_reports = key;
    const fate = one => (one.row === null ? 2 : one.early ? 1 : one.row === head.best ? 3 : 0), named = new Set();
    const lines = [...head.curves].sort((a, b) => fate(a) - fate(b)).map(one => {
      const [hue, name] = FATES[fate(one)], xs = one.points.map(([at]) => at), ys = one.points.map(([, value]) => value);
      const which = one.row === null ? 'runs' : one.early ? `measurement ${one.row + 1}, stopped early` : `measurement ${one.row + 1}`;
      const line = { kind: 'line', hue, name: named.has(name) ? undefined : name, xs, ys, rows: one.row === null ? null : xs.map(() => one.row) };
      line.told = i => `${which} at ${brief(xs[i])}: ${about.reported} ${number(ys[i])}, ${one.architecture}`;
      named.add(name);
      return line;
    });
    reports.show(lines, `${many(lines.length, 'training')} that reported as ${lines.length === 1 ? 'it' : 'they'} went: of the best, the newest and what runs.`);
  };

  const showTimeline = () => {
    const began = rows.began.find(t => t !== null);
    if (began === undefined) return;
    // Each in the first slot that is free.
    const spans = { kind: 'spans', xs: [], lows_x: [], ys: [], hues: [], rows: [] }, free = [];
    const order = [];
    for (let i = 0; i < rows.value.length; i += 1) if (rows.began[i] !== null && rows.ended[i] !== null) order.push(i);
    order.sort((a, b) => rows.began[a] - rows.began[b]);
    for (const i of order.slice(-2000)) {
      // Ends are noted a moment after they are.
      let lane = free.findIndex(t => t <= rows.began[i] + 0.005);
      if (lane < 0) lane = free.push(0) - 1;
      free[lane] = rows.ended[i];
      spans.lows_x.push(rows.began[i] - began); spans.xs.push(rows.ended[i] - began); spans.ys.push(lane + 1); spans.rows.push(i);
      spans.hues.push(rows.value[i] === null ? 'bad' : rows.broken[i] !== null ? 'gold' : rows.full[i] ? 'blue' : 'green');
    }
    lanes.ticks = free.map((_, i) => [i + 1, String(i + 1)]);
    lanes.from = 0.4; lanes.to = free.length + 0.6;
    spans.told = k => `${toldOf(spans.rows[k])}, slot ${spans.ys[k]}, took ${shortly(spans.xs[k] - spans.lows_x[k])}`;
    const newest = order.length > 2000 ? ' The newest 2000 are drawn.' : '';
    timeline.show([spans], `When each of ${many(order.length, 'training')} began and ended. Blue: a full one; green: a shorter one; yellow: beyond limits; red and struck through: without a value.${newest}`);
  };

  const showFront = () => {
    front.hidden = !head.front || head.front.length === 0;
    if (front.hidden || !pair_of_metrics) return;
    const [a, b] = goal.objectives, on = new Set(head.front.map(point => point.row));
    const dots = { kind: 'dots', name: 'a full training', hue: 'grey', xs: [], ys: [], rows: [] };
    for (let i = 0; i < rows.value.length; i += 1) {
      if (!counting(i) || on.has(i)) continue;
      dots.xs.push(rows.metrics[b.metric][i]); dots.ys.push(rows.metrics[a.metric][i]); dots.rows.push(i);
    }
    dots.told = i => toldOf(dots.rows[i]);
    const points = [...head.front].sort((p, q) => rows.metrics[b.metric][p.row] - rows.metrics[b.metric][q.row]);
    const line = { kind: goal.objectives.length === 2 ? 'step' : 'dots', name: 'the front', hue: 'orange', xs: points.map(p => rows.metrics[b.metric][p.row]), ys: points.map(p => rows.metrics[a.metric][p.row]), rows: points.map(p => p.row) };
    const also = goal.objectives.length > 2 ? ' More objectives than these two keep points on it.' : '';
    pair_of_metrics.show([dots, line], `${many(points.length, 'point')} that nothing is better than in everything.${also}`);
    fill(front_table, table('The front', [...goal.objectives.map(o => [o.metric, true]), ['architecture', false], ['measurement', true], ['taken for', false]],
      head.front.map(p => [...goal.objectives.map(o => number(rows.metrics[o.metric][p.row])), rows.architecture[p.row], String(p.row + 1), p.picks.join(', ')])));
  };

  const showImportance = () => {
    const { main, pairs, words, of } = head.importance;
    importance.hidden = main.length === 0;
    const bar = (name, share) => [el('span', { class: 'name' }, name), el('meter', { min: 0, max: 1, value: share, 'aria-label': name }), el('span', {}, `${(100 * share).toFixed(0)} %`)];
    const named = d => space.decisions[d].name;
    fill(importance, el('h3', {}, 'Which decisions mattered'), el('p', { class: 'dim' }, `${words} After ${many(of, 'measurement')}.`),
      el('div', { class: 'bars' }, main.slice(0, 12).map(([d, share]) => bar(named(d), share))),
      pairs.length > 0 ? el('h3', {}, 'And in pairs, beyond each by itself') : null,
      el('div', { class: 'bars' }, pairs.slice(0, 8).map(([a, b, share]) => bar(`${named(a)} × ${named(b)}`, share))),
      main.length > 12 ? el('details', {}, el('summary', {}, `All ${main.length}`), table('Share of each decision', [['decision', false], ['share', true]], main.map(([d, share]) => [named(d), `${(100 * share).toFixed(1)} %`]))) : null);
  };

  const showShorter = () => {
    shorter.hidden = head.shorter.length === 0 || rows.value.length === 0;
    if (shorter.hidden) return;
    fill(shorter_words, el('p', {}, head.saved), head.shorter.map(one => el('p', {}, one.words)));
    head.shorter.forEach((one, i) => {
      const pairs = one.pairs;
      agreements[i].figure.hidden = pairs.length < 3;
      const dots = { kind: 'dots', hue: 'blue', xs: pairs.map(([a]) => rows.value[a]), ys: pairs.map(([, b]) => rows.value[b]), rows: pairs.map(([, b]) => b) };
      dots.told = k => `${first.metric} ${number(dots.xs[k])} after ${about.shorter[i]}, ${number(dots.ys[k])} after ${about.full_name}: ${rows.architecture[dots.rows[k]]}`;
      agreements[i].show([dots], 'Each dot is an architecture that had both. They are the ones that looked good: among all architectures the agreement is higher.');
    });
  };

  // `given`: the rows by column. `grown`: whether rows came, not the state alone.
  const show = (given, now, grown) => {
    head = now;
    if (grown || rows === null) {
      const metrics = Object.create(null);
      for (const name of Object.keys(given.columns)) if (name.startsWith('metric/')) metrics[name.slice(7)] = given.columns[name];
      rows = { ...given.columns, metrics };
      all.show({ rows, space, metric: first.metric, metrics: Object.keys(metrics).sort(), unit: about.unit, paid: about.unit !== null, front: new Set((head.front || []).map(p => p.row)) });
      showCurves();
      const pieces = {
        timeline: showTimeline, front: showFront, shorter: showShorter,
        parallel: () => parallel.show(rows, counting, better),
        slices: () => slices.show(rows, counting, toldOf, head.importance.main.map(([d]) => d)),
      };
      for (const [name, piece] of Object.entries(pieces)) later(tools.source, name, piece);
      if (picked === null) shown_best = '';
    }
    showState();
    showBest();
    showReports();
    showImportance();
  };
  return { root, show, tick: () => head && head.state && showState(), curve: () => over_cost, title: about.title,
    best: () => ({ metric: first.metric, minimise, counted: about.counted, rows, counting, better, head }) };
};

// Parallel coordinates: a line for each of the best, an axis for each decision and one for the value.
const parallelPlot = (space, first, picked) => {
  const canvas = el('canvas', { role: 'img', tabindex: '0' }), words = el('figcaption');
  const figure = el('figure', {}, el('h3', {}, 'Parallel coordinates'), el('div', { class: 'scroll' }, canvas), words);
  let lines = [], low = 0, high = 1;
  const height = 260;
  const axes = space.decisions.length + 1, wide = Math.max(320, axes * 74);
  canvas.style.minWidth = `${wide}px`;
  const paint = () => {
    const w = canvas.clientWidth, ratio = devicePixelRatio || 1, c = colours(), pen = canvas.getContext('2d');
    canvas.style.height = `${height}px`; canvas.width = Math.round(w * ratio); canvas.height = Math.round(height * ratio);
    pen.scale(ratio, ratio); pen.clearRect(0, 0, w, height); pen.font = '11px system-ui, "DejaVu Sans", sans-serif';
    const x = a => 40 + a * (w - 90) / Math.max(1, axes - 1), top = 26, bottom = height - 22;
    const y = (a, share) => bottom - share * (bottom - top);
    for (const line of lines) {
      pen.strokeStyle = line.rank === 0 ? c.orange : c.blue; pen.lineWidth = line.rank === 0 ? 2.5 : 1;
      pen.globalAlpha = line.rank === 0 ? 1 : 0.12 + 0.5 * (1 - line.rank / Math.max(1, lines.length));
      pen.beginPath();
      let open = false;
      line.at.forEach((share, a) => { if (share === null) { return; } if (open) pen.lineTo(x(a), y(a, share)); else pen.moveTo(x(a), y(a, share)); open = true; });
      pen.stroke();
    }
    pen.globalAlpha = 1; pen.textAlign = 'center'; pen.strokeStyle = c.dim; pen.lineWidth = 1;
    for (let a = 0; a < axes; a += 1) {
      pen.beginPath(); pen.moveTo(x(a), top); pen.lineTo(x(a), bottom); pen.stroke();
      const value = a === axes - 1, choices = value ? [number(low), number(high)] : space.decisions[a].choices;
      pen.fillStyle = c.ink;
      pen.fillText(value ? first.metric : space.decisions[a].name, x(a), 12, 72);
      pen.fillStyle = c.dim;
      if (choices.length <= 12) choices.forEach((name, i) => {
        const at = y(a, choices.length === 1 ? 0.5 : i / (choices.length - 1));
        pen.fillStyle = c.card; const half = Math.min(35, pen.measureText(name).width / 2 + 2); pen.fillRect(x(a) - half, at - 7, half * 2, 13);
        pen.fillStyle = c.dim; pen.fillText(name, x(a), at + 4, 70);
      });
    }
  };
  whenSeen(canvas, paint);
  canvas.addEventListener('keydown', event => { if (event.key === 'Enter' && lines.length > 0) picked(lines[lines.length - 1].row); });
  const show = (rows, counting, better) => {
    const all = [];
    for (let i = 0; i < rows.value.length; i += 1) if (counting(i)) all.push(i);
    all.sort((a, b) => (better(rows.value[a], rows.value[b]) ? -1 : better(rows.value[b], rows.value[a]) ? 1 : a - b));
    const best = all.slice(0, PARALLEL);
    [low, high] = range(best.map(i => rows.value[i]));
    lines = best.map((i, rank) => ({ row: i, rank, at: [...space.decisions.map((decision, d) => {
      const c = rows.choices[i][d];
      return c === null ? null : decision.choices.length === 1 ? 0.5 : c / (decision.choices.length - 1);
    }), (rows.value[i] - low) / (high - low)] })).reverse();
    const text = all.length === 0 ? 'No full training within the limits has a value yet.'
      : `A line for each of the best ${best.length} of ${many(all.length, 'full training')}, the best of all in orange; the last axis is ${first.metric}.`;
    words.textContent = text;
    canvas.setAttribute('aria-label', `Parallel coordinates. ${text} The table of all measurements has the same numbers.`);
    changed(canvas);
  };
  return { figure, show };
};

// Slices: the value against each decision, the decisions that matter most first.
const slicesOf = (space, first, picked) => {
  const small = el('div', { class: 'small' }), charts = new Map();
  const more = el('button', { type: 'button', onclick: () => { wanted = space.decisions.length; again(); } });
  const root = el('section', { class: 'card wide' }, el('h3', {}, `Slices: ${first.metric} against each decision`), small, more);
  let wanted = SLICES, again = () => {};
  const show = (rows, counting, toldOf, important) => {
    again = () => {
      const order = [...important, ...space.decisions.keys()].filter((d, i, all) => all.indexOf(d) === i).slice(0, wanted);
      more.hidden = order.length >= space.decisions.length;
      more.textContent = `All ${space.decisions.length} decisions`;
      const kept = [];
      for (let i = 0; i < rows.value.length; i += 1) if (counting(i)) kept.push(i);
      for (const d of order) {
        const decision = space.decisions[d];
        if (!charts.has(d)) charts.set(d, chart({ title: decision.name, height: 170, picked,
          x: { label: decision.name, from: -0.4, to: decision.choices.length - 0.6, ticks: decision.choices.map((name, i) => [i, name]) }, y: { label: first.metric } }));
        const dots = { kind: 'dots', hue: 'blue', xs: [], ys: [], rows: [] }, sums = decision.choices.map(() => [0, 0]);
        for (const i of kept) {
          const c = rows.choices[i][d];
          if (c === null) continue;
          // Beside each other, always at the same place.
          dots.xs.push(c + ((i * 0.618034) % 1 - 0.5) * 0.5); dots.ys.push(rows.value[i]); dots.rows.push(i);
          sums[c][0] += rows.value[i]; sums[c][1] += 1;
        }
        dots.told = k => toldOf(dots.rows[k]);
        const means = sums.map(([sum, n]) => (n > 0 ? sum / n : NaN));
        const line = { kind: 'line', hue: 'orange', xs: decision.choices.map((_, i) => i), ys: means, told: i => `${decision.name} ${decision.choices[i]}: mean ${number(means[i])} of ${sums[i][1]}` };
        charts.get(d).show([dots, line], 'Each dot a full training; the line joins means.');
      }
      const figures = order.map(d => charts.get(d).figure);
      if (figures.some((figure, i) => small.children[i] !== figure)) fill(small, figures);
    };
    again();
  };
  return { root, show };
};
