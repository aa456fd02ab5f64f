// The page of a comparison: headings, paragraphs, tables and pictures in their order.

const documentView = (about, tools) => {
  const line = el('p'), done = el('progress', { max: 1, 'aria-label': 'share that is done' }), left = el('p', { class: 'dim' }), body = el('div', { class: 'view' });
  const root = el('section', { class: 'view', 'aria-label': about.title }, el('h2', {}, about.title), line, done, left, tools.buttons({}), body);
  // As an image it can run nothing, whatever is in it.
  const plot = block => el('figure', {}, el('img', { src: `data:image/svg+xml,${encodeURIComponent(block.svg)}`, alt: block.caption }), el('figcaption', {}, block.caption));
  const draw_block = block => {
    if (block.heading !== undefined) return el('h3', {}, block.heading);
    if (block.paragraph !== undefined) return el('p', {}, block.paragraph);
    if (block.svg !== undefined) return plot(block);
    return table('', block.head.map((title, i) => [title, i > 0]), block.rows);
  };
  let before = '';
  const show = (_, head) => {
    line.textContent = head.headline || '';
    done.hidden = head.share === undefined;
    if (head.share !== undefined) done.value = head.share;
    left.textContent = head.left ? `${shortly(head.left)} left: ${head.basis}` : '';
    const now = JSON.stringify(head.blocks);
    if (now !== before) { before = now; fill(body, head.blocks.map(draw_block)); }
  };
  return { root, show, tick: () => {}, title: about.title, best: () => null };
};
