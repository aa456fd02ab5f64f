// The page of a run: a policy in training.

const runView = (about, tools) => {
  let columns = null, head = null;
  const line = el('p'), done = el('progress', { max: 1, 'aria-label': 'share of the run that is over' }), left = el('p', { class: 'dim' }), limit = el('p');
  const facts = el('section', { class: 'card' }), actors = el('section', { class: 'card wide' }), best = el('section', { class: 'card wide' });
  const time = { label: 'time since the beginning', format: shortly, from: 0 };
  const plot = (title, y) => chart({ title, x: time, y: { label: y, from: 0 } });
  const steps = plot('Experience a second', 'a second'), updates = plot('Updates a second', 'a second');
  const lag = plot('Policy lag', 'versions'), regret = plot('Normalised regret by task group', 'regret'), loss = plot('Loss', 'loss');
  const gain = chart({ title: "The check's gain over the base rule", x: time, y: { label: 'gain in shaped quality' } });
  const members = plot('Actors', 'actors');
  const held = plot('Share of time in which actors wait', 'share');
  const root = el('section', { class: 'view', 'aria-label': about.title }, el('h2', {}, about.title), line, done, left, limit, tools.buttons({}),
    el('div', { class: 'cards' }, facts, actors, ...[steps, updates, lag, regret, gain, loss, members, held].map(one => el('section', { class: 'card' }, one.figure)), best));

  const series = (name, hue, column, kind = 'line') => ({ kind, name, hue, xs: columns.elapsed_seconds || [], ys: columns[column] || [] });
  const last = column => { const all = (columns[column] || []).filter(v => v !== null); return all.length > 0 ? all[all.length - 1] : null; };

  const showPlots = () => {
    const now = (what, column) => { const v = last(column); return v === null ? `No ${what} yet.` : `Now ${brief(v)}.`; };
    steps.show([series('environment steps', 'blue', 'environment_steps_per_second'), series('transitions', 'orange', 'transitions_per_second')], now('step', 'environment_steps_per_second'));
    updates.show([series('updates', 'blue', 'updates_per_second')], now('update', 'updates_per_second'));
    lag.show([{ ...series('from least to most', 'blue', 'policy_lag_max', 'band'), lows: columns.policy_lag_min || [] }, series('mean', 'blue', 'policy_lag_mean')],
      `Versions between acting and learning; the band is from the least to the most. ${now('batch', 'policy_lag_mean')}`);
    const groups = Object.keys(columns).filter(name => name.startsWith('regret/'));
    regret.show(groups.map((name, i) => series(name.slice(7), HUES[i % HUES.length], name)),
      groups.map(name => `${name.slice(7)} ${last(name) === null ? '–' : number(last(name))}`).join(', ') || 'No episode has ended yet.');
    const zero = { kind: 'line', hue: 'grey', name: 'no gain', xs: range(columns.elapsed_seconds || []), ys: [0, 0] };
    const low = last('validation_gain_low'), high = last('validation_gain_high'), mean = last('validation_gain');
    gain.show([{ ...series('95 % interval', 'blue', 'validation_gain_high', 'band'), lows: columns.validation_gain_low || [] }, zero, series('gain', 'blue', 'validation_gain')],
      mean === null ? 'No check yet.' : `The newest check: ${number(mean)}${low === null ? '' : `, 95 % interval from ${number(low)} to ${number(high)}`}; above 0 the trained policy is better than the rule.`);
    loss.show([series('loss', 'blue', 'loss')], now('loss', 'loss'));
    members.show([series('actors', 'blue', 'actors')], now('actor', 'actors'));
    held.show([series('waiting', 'blue', 'actors_wait_share')], now('share', 'actors_wait_share'));
  };

  const showState = () => {
    line.textContent = head.headline;
    done.value = head.share;
    left.textContent = head.left === null ? '' : `${shortly(head.left)} left: ${head.basis}`;
    limit.textContent = head.limit;
    fill(facts, el('h3', {}, 'Now'), table('Counters', [['what', false], ['now', true]], head.facts));
    actors.hidden = !head.actors;
    if (head.actors) fill(actors, el('h3', {}, many(head.actors.length, 'actor')), table('Actors', [['actor', false], ['episodes', true], ['env steps/s', true], ['lag', true], ['silent', true]], head.actors));
    best.hidden = !head.best || head.best.length === 0;
    if (!best.hidden) fill(best, el('h3', {}, 'Best of each task'), table('Best of each task', [['task', false], ['best', true], ['measurements', true], ['architecture', false]], head.best));
  };

  const show = (given, now, grown) => {
    head = now;
    if (grown || columns === null) { columns = given.columns; showPlots(); }
    showState();
  };
  return { root, show, tick: () => {}, title: about.title, best: () => null };
};
