// An architecture drawn: cells as graphs, layered spaces as blocks, anything else as a list of its decisions.

// A graph: nodes in a row, each { name, dim? }, and edges { from, to, label }, as arcs that keep out of each other's way.
const drawGraph = (nodes, edges, label) => {
  const gap = 150, wide = nodes.length * gap, reach = Math.max(1, ...edges.map(edge => edge.to - edge.from));
  const middle = 26 + reach * 26, height = middle * 2;
  const at = i => gap / 2 + i * gap;
  const parts = [];
  const between = new Map();
  for (const edge of edges) {
    const pair = `${edge.from}>${edge.to}`, nth = between.get(pair) || 0;
    between.set(pair, nth + 1);
    const span = edge.to - edge.from, a = at(edge.from) + 26, b = at(edge.to) - 26, x = (a + b) / 2;
    // Neighbours are joined straight, the others above and below in turn.
    const above = (edge.from + edge.to + nth) % 2 === 0;
    const lift = span === 1 && nth === 0 ? 0 : (above ? -1 : 1) * (span * 26 + nth * 22);
    const path = `M${a},${middle + Math.sign(lift) * 8} Q${x},${middle + lift * 1.75} ${b},${middle + Math.sign(lift) * 8}`;
    parts.push(svg('path', { d: path, class: 'wire', 'marker-end': 'url(#arrow)' }));
    const text = svg('text', { x, y: middle + lift * 0.875 + (lift > 0 ? 18 : -7), 'text-anchor': 'middle' });
    text.textContent = edge.label;
    if (edge.label) parts.push(text);
  }
  nodes.forEach((node, i) => {
    const text = svg('text', { x: at(i), y: middle + 4, 'text-anchor': 'middle' });
    text.textContent = node;
    const half = Math.max(20, node.length * 3.6 + 6);
    parts.push(svg('rect', { x: at(i) - half, y: middle - 14, width: half * 2, height: 28, rx: 8, class: 'box' }), text);
  });
  const arrow = svg('marker', { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto' },
    svg('path', { d: 'M0,0 L8,4 L0,8', class: 'wire' }));
  return picture(wide, height, label, [svg('defs', {}, arrow), ...parts]);
};

// Layers from input to output, each { name, lines }: blocks one below the other.
const drawLayers = (layers, label) => {
  const wide = 420, tall = layers.map(layer => 14 + 16 * Math.max(1, layer.lines.length));
  const parts = [];
  let y = 4;
  layers.forEach((layer, i) => {
    if (i > 0) {
      parts.push(svg('path', { d: `M${wide / 2},${y} v14`, class: 'wire' }));
      y += 14;
    }
    parts.push(svg('rect', { x: 4, y, width: wide - 8, height: tall[i], rx: 8, class: 'box' }));
    const name = svg('text', { x: 16, y: y + 20, 'font-weight': 600 });
    name.textContent = layer.name;
    parts.push(name);
    layer.lines.forEach((line, k) => {
      const text = svg('text', { x: 130, y: y + 20 + 16 * k });
      text.textContent = line;
      parts.push(text);
    });
    y += tall[i];
  });
  return picture(wide, y + 4, label, parts);
};

const picture = (wide, height, label, parts) => {
  const title = svg('title');
  title.textContent = label;
  return svg('svg', { class: 'architecture', viewBox: `0 0 ${wide} ${height}`, width: wide, height, role: 'img', 'aria-label': label }, title, parts);
};

// What a decision chose, if it counts.
const chosen = (space, choices, d) => (choices[d] === null || choices[d] === undefined ? null : space.decisions[d].choices[choices[d]]);

// The drawing of choices (an index for each decision, null where it does not count). Which one it is follows from the decisions' names.
const drawing = (space, choices, label) => {
  const names = space.decisions.map(decision => decision.name);
  const of = name => chosen(space, choices, names.indexOf(name));
  const edges = names.map(name => /^(\d+)>(\d+)$/.exec(name));
  if (edges.some(Boolean) && edges.every((edge, d) => edge || /^op\d+$/.test(names[d]))) return cellOfEdges(space, choices, edges, of, label);
  if (names.some(name => /^\w+\d+\.op1$/.test(name))) return cellsOfPairs(names, of, label);
  if (space.name === 'graph' && names[0] === 'tree') return treeOfLayers(of, label);
  return layered(space, choices, names, label);
};

// Edges between numbered vertices: of NAS-Bench-201 with an operation each, of NAS-Bench-101 there or not, with operations at the vertices.
const cellOfEdges = (space, choices, edges, of, label) => {
  const last = Math.max(...edges.filter(Boolean).map(edge => Number(edge[2])));
  const at_vertices = edges.some(edge => !edge);
  const name = v => (v === 0 ? 'input' : v === last ? 'output' : at_vertices ? of(`op${v}`) || '–' : String(v));
  const there = [];
  edges.forEach((edge, d) => {
    const value = edge && chosen(space, choices, d);
    if (!value || value === 'none' || value === 'no') return;
    there.push({ from: Number(edge[1]), to: Number(edge[2]), label: at_vertices ? '' : value });
  });
  const vertices = Array.from({ length: last + 1 }, (_, v) => v);
  // A vertex on no path is left out.
  const kept = vertices.filter(v => v === 0 || v === last || there.some(e => e.from === v || e.to === v));
  const moved = there.map(e => ({ ...e, from: kept.indexOf(e.from), to: kept.indexOf(e.to) }));
  return drawGraph(kept.map(name), moved, label);
};

// Cells in which each node adds two operations, of two inputs each chosen from before it (DARTS).
const cellsOfPairs = (names, of, label) => {
  const cells = [...new Set(names.map(name => /^([a-z]+)\d+\./.exec(name)).filter(Boolean).map(found => found[1]))];
  return el('div', {}, cells.map(cell => {
    const nodes = [...new Set(names.filter(name => name.startsWith(cell)).map(name => Number(/\d+/.exec(name)[0])))];
    const edges = nodes.flatMap(node => {
      const inputs = (of(`${cell}${node}.inputs`) || '0_1').split('_').map(Number);
      return inputs.map((from, i) => ({ from, to: node, label: of(`${cell}${node}.op${i + 1}`) || '' }));
    });
    const all = ['input 1', 'input 2', ...nodes.map(node => String(node))];
    return el('div', { class: 'scroll' }, el('p', { class: 'dim' }, `${cell} cell`), drawGraph(all, edges, `${label}, ${cell} cell`));
  }));
};

// Layers whose fathers a word of four digits says (NAS-Bench-Graph).
const treeOfLayers = (of, label) => {
  const tree = of('tree') || '';
  const edges = [...tree].map((father, i) => ({ from: Number(father), to: i + 1, label: '' }));
  const fathers = new Set([...tree].map(Number));
  const leaves = [1, 2, 3, 4].filter(layer => !fathers.has(layer));
  edges.push(...leaves.map(layer => ({ from: layer, to: 5, label: '' })));
  return drawGraph(['input', ...[1, 2, 3, 4].map(layer => of(`layer${layer}`) || '–'), 'output'], edges, label);
};

// Decisions that differ in a number alone are those of layers; the others come before them.
const layered = (space, choices, names, label) => {
  const general = [], layers = new Map();
  names.forEach((name, d) => {
    const value = chosen(space, choices, d);
    if (value === null) return;
    const found = /^(.*?)[._ -]?(\d+)([._ -].*)?$/.exec(name);
    if (!found || !(found[1] || found[3])) { general.push(`${name} ${value}`); return; }
    const what = `${found[1]}${found[3] || ''}`.replace(/^[._ -]+|[._ -]+$/g, '') || name;
    const layer = Number(found[2]);
    if (!layers.has(layer)) layers.set(layer, []);
    layers.get(layer).push(`${what} ${value}`);
  });
  const blocks = [...layers].sort((a, b) => a[0] - b[0]).map(([layer, lines]) => ({ name: String(layer), lines }));
  if (general.length > 0 || blocks.length === 0) blocks.unshift({ name: blocks.length > 0 ? 'all' : space.name, lines: general });
  return drawLayers(blocks, label);
};
