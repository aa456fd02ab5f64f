// Where views come from: frozen in the page, or a stream of events that is taken up again where it broke off.

const main = document.getElementById('views'), feed = document.getElementById('feed'), token_form = document.getElementById('token');
const views = [];
const frozen = document.getElementById('frozen').textContent.trim();

let clock_ahead = 0;
let token = '';
try { token = sessionStorage.getItem('srnas-token') || ''; } catch { /* a page from a file may have no storage */ }
const headers = more => (token ? { ...more, Authorization: `Bearer ${token}` } : more);

const ask_token = why => {
  token_form.hidden = false;
  feed.textContent = why;
  feed.className = 'trouble';
};
token_form.addEventListener('submit', event => {
  event.preventDefault();
  token = token_form.querySelector('input').value.trim();
  try { sessionStorage.setItem('srnas-token', token); } catch { /* as above */ }
  token_form.hidden = true;
  wake();
});

// What can be done with what is watched.
const DEEDS = {
  checkpoint: ['Write a checkpoint', null],
  drain: ['Drain', 'Nothing more is begun; what runs is waited for. Go on?'],
  stop: ['Stop', 'What runs is given up, and what was measured is kept. Go on?'],
};
const tools = (source, actions, doing = {}) => ({
  source,
  now: () => (frozen ? null : Date.now() / 1000 + clock_ahead),
  // Ends one of those who measure.
  dismissing: name => {
    if (!actions || !actions.includes('dismiss')) return '';
    return el('button', { type: 'button', 'aria-label': `stop ${name}`, onclick: () => {
      if (confirm(`${name} gets nothing more to do, and ends when it has answered. Go on?`)) doing.act('dismiss', { name });
    } }, 'Stop');
  },
  buttons: given => {
    if (!actions) return el('span', { hidden: true });
    const said = el('span', { role: 'status', class: 'dim' });
    const act = doing.act = async (name, body) => {
      said.textContent = '…';
      try {
        const answer = await fetch(`do/${source}/${name}`, { method: 'POST', headers: headers({ 'Content-Type': 'application/json' }), body: JSON.stringify(body || {}) });
        const text = (await answer.text()).trim();
        said.textContent = text;
        said.className = answer.ok ? 'dim' : 'bad';
        if (answer.status === 401) ask_token('This asks for the token.');
        return answer.ok;
      } catch (error) {
        said.textContent = `not sent: ${error.message}`;
        said.className = 'bad';
        return false;
      }
    };
    const buttons = actions.filter(name => DEEDS[name]).map(name => {
      const [label, question] = DEEDS[name];
      return el('button', { type: 'button', onclick: () => { if (!question || confirm(question)) act(name); } }, label);
    });
    if (actions.includes('add')) buttons.push(el('button', { type: 'button', onclick: () => adding(given, act) }, 'Add a measurement…'));
    return el('div', { class: 'row', role: 'group', 'aria-label': 'what can be done' }, buttons, said);
  },
});

// A measurement of one's own.
const adding = (given, act) => {
  const fields = given.space.decisions.map(decision => el('label', {}, decision.name,
    el('select', {}, decision.choices.map((name, i) => el('option', { value: i }, name)))));
  const values = given.metrics.map(metric => el('label', {}, metric, el('input', { type: 'number', step: 'any' })));
  const box = el('dialog', { 'aria-label': 'Add a measurement' }, el('form', { method: 'dialog', onsubmit: async event => {
    event.preventDefault();
    const metrics = given.metrics.map((metric, i) => [metric, values[i].querySelector('input').value]).filter(([, value]) => value !== '');
    const choices = fields.map(field => Number(field.querySelector('select').value));
    if (await act('add', { choices, metrics: metrics.map(([metric, value]) => [metric, Number(value)]) })) box.close();
  } }, el('h3', {}, 'Add a measurement'), el('p', { class: 'dim' }, 'With values it was measured elsewhere and costs nothing; without any it is measured next.'),
    fields, values, el('div', { class: 'row' }, el('button', {}, 'Add'), el('button', { type: 'button', onclick: () => box.close() }, 'Cancel'))));
  box.addEventListener('close', () => box.remove());
  document.body.append(box);
  box.showModal();
};

// The curves of several searches in one plot.
let together = null;
const beside = () => {
  const searches = views.filter(view => view && view.shown.best()).map(view => view.shown);
  const [one] = searches;
  if (searches.length < 2 || searches.some(s => s.best().metric !== one.best().metric || s.best().minimise !== one.best().minimise)) return;
  if (!together) {
    together = chart({ title: `Best ${one.best().metric} of each, over cost`, x: { label: one.best().counted, from: 0 }, y: { label: one.best().metric } });
    main.prepend(el('section', { class: 'card across' }, together.figure));
  }
  const words = [];
  together.show(searches.map((search, s) => {
    const { rows, counting, better } = search.best(), xs = [], ys = [];
    let spent = 0, best = null;
    for (let i = 0; i < rows.value.length; i += 1) {
      spent += rows.cost[i];
      if (counting(i) && (best === null || better(rows.value[i], best))) { best = rows.value[i]; xs.push(spent); ys.push(best); }
    }
    if (best !== null) { xs.push(spent); ys.push(best); words.push(`${search.title} ${number(best)} after ${brief(spent)}`); }
    return { kind: 'step', name: search.title, hue: HUES[s % HUES.length], xs, ys };
  }), `${words.join('; ')}.`);
};

const KINDS = { search: searchView, run: runView, document: documentView };

// Takes in what is said of one source.
const take = said => {
  const began = performance.now();
  const i = said.source;
  if (said.trouble) { feed.textContent = said.trouble; feed.className = 'trouble'; return; }
  if (said.now) clock_ahead = said.now - Date.now() / 1000;
  if (said.view) {
    const { about, head, rows } = said.view;
    const kind = KINDS[about.kind];
    if (!kind) return;
    const columns = Object.assign(Object.create(null), rows.columns);
    const shown = kind(about, tools(i, said.actions));
    const view = { about, shown, rows: { count: rows.count, columns } };
    if (views[i]) views[i].shown.root.replaceWith(shown.root); else {
      const after = views.slice(i + 1).find(Boolean);
      main.insertBefore(shown.root, after ? after.shown.root : null);
    }
    views[i] = view;
    shown.show(view.rows, head, true);
    document.title = views.length === 1 ? `${about.title} · srnas` : `${views.length} beside each other · srnas`;
  } else if (said.rows || said.head) {
    const view = views[i];
    if (!view) return;
    const grown = Boolean(said.rows && said.rows.count > 0);
    if (grown) {
      for (const [name, values] of Object.entries(said.rows.columns)) {
        // A column that is new has nothing before.
        const column = view.rows.columns[name] || (view.rows.columns[name] = Array(view.rows.count).fill(null));
        for (const value of values) column.push(value);
      }
      view.rows.count += said.rows.count;
      for (const column of Object.values(view.rows.columns)) while (column.length < view.rows.count) column.push(null);
    }
    view.shown.show(view.rows, said.head, grown);
  }
  later('', 'beside', beside);
  const took = performance.now() - began;
  window.srnas.updates.push(took);
  if (window.srnas.updates.length > 100) window.srnas.updates.shift();
  if (window.srnas.first === null) requestAnimationFrame(() => setTimeout(() => { window.srnas.first = performance.now(); }, 0));
};

// A stream of server-sent events, read by hand: a token can go with it.
let last_id = '', wake = () => {};
const listen = async () => {
  for (;;) {
    let broken = false;
    try {
      const answer = await fetch('events', { headers: headers(last_id ? { 'Last-Event-ID': last_id } : {}), cache: 'no-store' });
      if (answer.status === 401) {
        ask_token('This asks for the token.');
        await new Promise(done => { wake = done; });
        continue;
      }
      if (!answer.ok) throw new Error((await answer.text()).trim());
      feed.textContent = 'live';
      feed.className = '';
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
        let end;
        while ((end = text.indexOf('\n\n')) >= 0) {
          const lines = text.slice(0, end).split('\n');
          text = text.slice(end + 2);
          const data = lines.filter(line => line.startsWith('data:')).map(line => line.slice(5).trimStart()).join('\n');
          if (data) take(JSON.parse(data));
          const id = lines.find(line => line.startsWith('id:'));
          if (id) last_id = id.slice(3).trim();
        }
      }
    } catch (error) {
      feed.textContent = `not connected (${error.message}); what is shown is what was heard last`;
      feed.className = 'trouble';
      broken = true;
    }
    // A stream that came to its end is taken up at once.
    await new Promise(done => { setTimeout(done, broken ? 1000 : 0); });
  }
};

if (frozen) {
  JSON.parse(frozen).forEach((view, source) => take({ source, view }));
  feed.textContent = 'as it was when this page was written';
} else {
  setInterval(() => views.forEach(view => view && view.shown.tick()), 1000);
  listen();
}
