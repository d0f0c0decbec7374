'use strict';
// The page of shmem serve. All text from segments reaches the page as text nodes, never as HTML;
// what cannot be seen, or turns the direction of text, is shown by its number.

const $ = (id) => document.getElementById(id);
const svgNS = 'http://www.w3.org/2000/svg';

// clean shows control characters and the like by their numbers.
function clean(s) {
  return String(s).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => '\\u{' + c.codePointAt(0).toString(16) + '}');
}

// el makes an element. Attributes that are functions listen to events.
function el(name, attrs, ...children) {
  const e = name === 'svg' || name === 'path' || name === 'title' && attrs === svgNS
    ? document.createElementNS(svgNS, name) : document.createElement(name);
  for (const [k, v] of Object.entries(typeof attrs === 'object' && attrs || {})) {
    if (v === null || v === undefined || v === false) continue;
    if (typeof v === 'function') e.addEventListener(k, v);
    else e.setAttribute(k, v === true ? '' : v);
  }
  for (const c of children.flat()) {
    if (c === null || c === undefined || c === false) continue;
    e.append(c instanceof Node ? c : document.createTextNode(clean(c)));
  }
  return e;
}

// setText changes a text only if it differs, so that a selection and a screen reader stay.
function setText(e, text) {
  text = clean(text);
  if (e.textContent !== text) e.textContent = text;
}

// ---- numbers

function count(n) {
  n = Number(n);
  if (n < 10000) return String(n);
  for (const unit of ['k', 'M', 'G', 'T', 'P', 'E']) {
    n /= 1000;
    if (n < 1000) return (n < 100 ? n.toFixed(1) : n.toFixed(0)) + ' ' + unit;
  }
  return n.toExponential(1);
}

function bytes(n) {
  n = Number(n);
  if (n < 0) return '–';
  if (n < 1024) return n + ' B';
  for (const unit of ['KiB', 'MiB', 'GiB', 'TiB']) {
    n /= 1024;
    if (n < 1000 || unit === 'TiB') return (n < 10 ? n.toFixed(1) : n.toFixed(0)) + ' ' + unit;
  }
}

function rate(n) {
  if (!n) return '0';
  if (Math.abs(n) < 10) return n.toFixed(1);
  return count(Math.round(n));
}

function ago(time) {
  const t = Date.parse(time);
  if (!(t > 0)) return '–';
  const s = Math.max(0, Math.round((Date.now() - t) / 1000));
  if (s < 60) return s + ' s';
  if (s < 3600) return Math.floor(s / 60) + ' min';
  if (s < 172800) return Math.floor(s / 3600) + ' h';
  return Math.floor(s / 86400) + ' d';
}

// ---- plots

// plot draws values as a line with an area below it. It returns the svg.
function plot(kind, width, height) {
  const area = el('path', { class: 'area' }), line = el('path', { class: 'line' });
  const svg = el('svg', { class: kind, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  svg.append(area, line);
  svg.draw = (values, slots) => {
    if (values.length < 2) return;
    const top = Math.max(...values, 1e-9), n = Math.max(slots, values.length) - 1, pad = 2; // 0 is at the bottom
    const first = n - values.length + 1;
    const points = values.map((v, i) =>
      ((first + i) / n * width).toFixed(1) + ' ' + (height - pad - v / top * (height - 2 * pad)).toFixed(1));
    line.setAttribute('d', 'M' + points.join('L'));
    area.setAttribute('d', `M${(first / n * width).toFixed(1)} ${height}L` + points.join('L') + `L${width} ${height}Z`);
  };
  return svg;
}

// ---- what is known

const keep = 90; // samples that are remembered here
const segments = new Map(); // by id
const totals = { perSecond: [], depth: [], memory: [], waiting: [] };
let state = null, cursor = '', paused = false, timer = 0, failures = 0;

function push(list, v) {
  list.push(v);
  if (list.length > keep) list.shift();
}

async function get(path) {
  const r = await fetch(path, { headers: { Accept: 'application/json' }, cache: 'no-store' });
  if (!r.ok) {
    let text = r.status + ' ' + r.statusText;
    try { text = (await r.json()).error || text; } catch { /* no JSON */ }
    const e = new Error(text);
    e.status = r.status;
    throw e;
  }
  return r.json();
}

// turn asks for what is new, shows it, and sets the time of the next turn.
async function turn() {
  clearTimeout(timer);
  let wait = 2000;
  try {
    const s = await get('/api/state?since=' + encodeURIComponent(cursor));
    take(s);
    const id = route();
    if (id) await showDetail(id);
    failures = 0;
    wait = Math.max(1000, s.everyMs);
    live(true, 'updated ' + new Date(s.time).toLocaleTimeString([], { hour12: false }));
  } catch (e) {
    failures++;
    wait = Math.min(30000, 1000 * 2 ** failures);
    live(false, e.status ? e.message : 'no connection, trying again');
  }
  document.body.dataset.turns = String(Number(document.body.dataset.turns || 0) + 1);
  if (!paused && !document.hidden) timer = setTimeout(turn, wait);
}

function live(ok, text) {
  $('dot').className = paused ? 'dot' : ok ? 'dot on' : 'dot off';
  const s = $('status');
  // A screen reader is told when the connection is lost or back, not each second.
  s.setAttribute('aria-live', ok === live.last ? 'off' : 'polite');
  live.last = ok;
  setText(s, paused ? 'paused' : text);
}

// take keeps what has come.
function take(s) {
  if (s.whole) {
    for (const k of Object.keys(totals)) totals[k] = (s.history || []).slice(0, -1).map((h) => Number(h[k])).slice(-keep);
    const ids = new Set(s.segments.map((x) => x.id));
    for (const id of segments.keys()) if (!ids.has(id)) segments.delete(id);
  }
  for (const x of s.segments) {
    const old = segments.get(x.id);
    x.rates = old ? old.rates : ((s.rates || {})[x.id] || []).slice(0, -1);
    segments.set(x.id, x);
  }
  const fresh = cursor !== s.cursor;
  if (fresh) for (const x of segments.values()) push(x.rates, Math.max(0, x.perSecond));
  if (fresh) for (const k of Object.keys(totals)) push(totals[k], Number(s.totals[k]));
  cursor = s.cursor;
  state = s;
  showHead();
  showFindings($('findings'), s.findings, true);
  showTiles();
  showTable();
}

function showHead() {
  setText($('where'), state.host + ' · ' + state.dir);
  document.title = (state.findings.length ? '(' + state.findings.length + ') ' : '') + 'ShmemBox · ' + clean(state.host);
}

// ---- findings

const some = 6; // findings that are shown at first
let open = false; // all of them are shown

const words = { critical: 'critical', warning: 'warning', note: 'note' };

function plural(n, word) { return n + ' ' + word + (n === 1 ? '' : 's'); }

function showFindings(list, findings, all) {
  if (all) {
    const n = { critical: 0, warning: 0, note: 0 };
    for (const f of findings) n[f.level]++;
    const v = $('verdict');
    v.className = findings.length ? 'verdict' : 'verdict good';
    setText(v, findings.length
      ? [n.critical && n.critical + ' critical', n.warning && plural(n.warning, 'warning'), n.note && plural(n.note, 'note')].filter(Boolean).join(', ')
      : '✓ nothing is wrong');
  }
  const key = JSON.stringify([findings, open]);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const focused = list.contains(document.activeElement) ? document.activeElement.dataset.command : null;
  const shown = all && !open && findings.length > some + 1 ? findings.slice(0, some) : findings;
  list.replaceChildren(...shown.map((f) => finding(f, all)));
  if (shown !== findings) {
    list.append(el('li', {}, el('button', { type: 'button', 'data-command': 'more', click: () => { open = true; showFindings(list, state.findings, true); } },
      'Show ' + (findings.length - some) + ' more findings')));
  }
  if (focused) for (const b of list.querySelectorAll('button')) if (b.dataset.command === focused) { b.focus(); break; }
}

function finding(f, all) {
  const where = f.segment ? f.segment + (f.container ? ' in ' + f.container : '') : '';
  return el('li', { class: 'find ' + (words[f.level] || '') },
    el('span', { class: 'tag ' + (words[f.level] || '') }, f.level),
    el('div', { class: 'cause' },
      all && where && (f.id ? el('a', { href: '#/segment/' + f.id }, el('bdi', {}, where)) : el('bdi', {}, where)),
      all && where && ': ', f.cause),
    f.command && el('div', { class: 'mend' },
      el('code', { tabindex: '0' }, f.command),
      el('button', { type: 'button', 'data-command': clean(f.command), 'aria-label': 'Copy the command ' + clean(f.command), click: () => copy(f.command) }, 'Copy'),
      el('span', { class: 'why' }, f.mends ? 'mends it' : 'shows more')));
}

async function copy(text) {
  let ok = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const t = el('textarea', { class: 'hidden', 'aria-hidden': 'true' });
    t.value = text;
    document.body.append(t);
    const back = document.activeElement;
    t.select();
    ok = document.execCommand('copy');
    t.remove();
    if (back) back.focus();
  }
  setText($('said'), ok ? 'copied: ' + text : 'could not copy; select the command instead');
  setTimeout(() => setText($('said'), ''), 4000);
}

// ---- totals

const tiles = [
  ['perSecond', 'Messages and changes a second', rate, (t) => plural(t.segments, 'segment') + ', ' + (t.processes === 1 ? '1 process' : t.processes + ' processes')],
  ['depth', 'Waiting messages', count, (t) => Number(t.lost) ? count(t.lost) + ' lost so far' : 'none lost'],
  ['waiting', 'Processes that wait', count, () => ''],
  ['memory', 'Memory of segments', bytes, (t) => t.room ? bytes(t.used) + ' of ' + bytes(t.room) + ' used' : ''],
];

function showTiles() {
  const list = $('tiles');
  if (!list.children.length) {
    for (const [key, title] of tiles) {
      const p = plot('plot', 200, 54);
      const li = el('li', { class: 'tile', 'data-key': key }, el('h3', {}, title), el('div', { class: 'big' }), el('div', { class: 'sub' }), p);
      li.plot = p;
      list.append(li);
    }
  }
  tiles.forEach(([key, , text, sub], i) => {
    const li = list.children[i];
    setText(li.querySelector('.big'), text(state.totals[key]));
    setText(li.querySelector('.sub'), sub(state.totals));
    li.plot.draw(totals[key], 45);
  });
}

// ---- the table

const states = { live: 'good', idle: '', orphaned: 'warn', garbage: 'bad', copied: 'bad', damaged: 'bad', 'other version': 'warn', unlinked: 'warn' };

function stateOf(x) { return x.unlinked ? 'unlinked' : x.state; }

function typeOf(x) {
  if (x.error) return x.error;
  return (x.type || '') + (x.item ? '[' + x.item + ']' : '');
}

// roomOf is how much there is of the room of a segment, and the text of both; null if it has none.
function roomOf(x) {
  const room = (used, of, text) => of ? { used: Number(used), of: Number(of), text: text(used) + ' of ' + text(of) } : null;
  const sum = (list, key) => list.reduce((n, c) => n + c[key], 0);
  if (x.capacity) return room(x.depth, x.capacity, count);
  if (x.calls) return room(x.calls.waiting + x.calls.running, x.calls.capacity, count);
  if (x.cache) return room(x.cache.bytes, x.cache.size, bytes);
  if (x.map) return room(x.map.len, x.map.capacity, count);
  if (x.pool) return room(sum(x.pool.classes, 'used'), sum(x.pool.classes, 'count'), count);
  return null;
}

// Columns: key, head, class, what to sort by, text, and optionally what to draw.
const columns = [
  { key: 'name', head: 'Name', by: (x) => x.name },
  { key: 'kind', head: 'Kind', by: (x) => x.kind, text: (x) => x.kind },
  { key: 'state', head: 'State', by: stateOf },
  { key: 'owner', head: 'Owner', cls: 'long', by: (x) => x.ownerText, text: (x) => x.ownerText === '-' ? '' : x.ownerText },
  { key: 'attached', head: 'Attached', cls: 'num', by: (x) => x.attached.length, text: (x) => x.attached.length || '' },
  { key: 'rate', head: 'Per second', cls: 'num', by: (x) => x.perSecond },
  { key: 'depth', head: 'Depth', cls: 'num', by: (x) => { const r = roomOf(x); return r ? r.used / r.of : -1; } },
  { key: 'lag', head: 'Lag', cls: 'num', by: (x) => Number(x.lag), text: (x) => Number(x.lag) ? count(x.lag) : '' },
  { key: 'lost', head: 'Lost', cls: 'num', by: (x) => Number(x.lost), text: (x) => Number(x.lost) ? count(x.lost) : '' },
  { key: 'held', head: 'Held by', cls: 'long', by: (x) => x.held, text: (x) => x.held },
  { key: 'waits', head: 'Waits', cls: 'long', by: (x) => x.waits.length, text: (x) => x.waits.slice(0, 3).join(', ') + (x.waits.length > 3 ? ' and ' + (x.waits.length - 3) + ' more' : '') },
  { key: 'memory', head: 'Memory', cls: 'num', by: (x) => Number(x.memory), text: (x) => bytes(x.memory) },
];

const order = { by: 'name', down: false };
let most = 200, filter = '';
const rows = new Map(); // elements by id

function makeHead() {
  const tr = el('tr', { role: 'row' });
  for (const c of columns) {
    tr.append(el('th', { scope: 'col', role: 'columnheader', class: c.cls === 'num' ? 'num' : null, 'data-key': c.key },
      el('button', { type: 'button', click: () => sortBy(c.key) }, c.head)));
    $('sortby').append(el('option', { value: c.key }, c.head));
  }
  $('segments').classList.add('cardy');
  $('segments').tHead.append(tr);
  $('sortby').addEventListener('change', () => sortBy($('sortby').value));
  $('filter').addEventListener('input', () => { filter = $('filter').value.toLowerCase(); most = 200; showTable(); });
}

const textual = new Set(['name', 'kind', 'state', 'owner']);

function sortBy(key) {
  order.down = order.by === key ? !order.down : !textual.has(key);
  order.by = key;
  showTable();
}

function makeRow(x) {
  const tr = el('tr', { role: 'row' });
  tr.cell = {};
  const link = el('bdi'), sub = el('span', { class: 'sub' });
  tr.append(el('th', { scope: 'row', role: 'rowheader' }, el('a', { href: '#/segment/' + x.id }, link), sub));
  tr.cell.link = link;
  tr.cell.sub = sub;
  for (const c of columns.slice(1)) {
    const span = el('span');
    tr.append(el('td', { role: 'cell', class: c.cls, 'data-label': c.head }, span));
    tr.cell[c.key] = span;
  }
  tr.cell.tag = el('span', { class: 'tag' });
  tr.cell.state.append(tr.cell.tag);
  tr.cell.perSecond = el('span');
  tr.cell.spark = plot('spark', 84, 20);
  tr.cell.rate.append(tr.cell.spark, ' ', tr.cell.perSecond);
  tr.cell.number = el('span');
  tr.cell.meter = el('meter', { min: 0, max: 1, low: 0.5, high: 0.9, optimum: 0, 'aria-hidden': 'true' });
  tr.cell.depth.append(tr.cell.number, tr.cell.meter);
  return tr;
}

function fillRow(tr, x) {
  const c = tr.cell;
  setText(c.link, x.name);
  setText(c.sub, (x.container ? 'in ' + x.container + ' · ' : '') + typeOf(x));
  const s = stateOf(x);
  c.tag.className = 'tag ' + (states[s] || '');
  setText(c.tag, s + (x.ended ? ', ended' : ''));
  setText(c.perSecond, x.kind === 'foreign' || x.kind === 'directory' ? '' : rate(x.perSecond));
  const moves = x.rates.some((v) => v > 0);
  c.spark.style.visibility = moves ? '' : 'hidden';
  if (moves) c.spark.draw(x.rates, 40);
  const room = roomOf(x);
  setText(c.number, room ? room.text : '');
  c.meter.hidden = !room || !!x.cache; // a cache is to be full
  if (room) c.meter.value = Math.min(1, room.used / room.of);
  for (const col of columns) if (col.text) setText(c[col.key], col.text(x));
  c.held.className = x.held.startsWith('dead') ? 'bad' : '';
  for (const td of tr.cells) if (td.dataset.label) td.classList.toggle('none', td.textContent.trim() === '' || td.textContent === '0' || td.textContent.trim() === '0');
}

function showTable() {
  if (!state) return;
  const col = columns.find((c) => c.key === order.by);
  let list = [...segments.values()];
  if (filter) {
    list = list.filter((x) => [x.name, typeOf(x), x.kind, stateOf(x), x.ownerText, x.held, x.container || '', ...x.waits].join('\n').toLowerCase().includes(filter));
  }
  const sign = order.down ? -1 : 1;
  list.sort((a, b) => {
    const p = col.by(a), q = col.by(b);
    return (p < q ? -1 : p > q ? 1 : 0) * sign || (a.name < b.name ? -1 : 1);
  });
  for (const th of $('segments').tHead.rows[0].cells) {
    if (th.dataset.key === order.by) th.setAttribute('aria-sort', order.down ? 'descending' : 'ascending');
    else th.removeAttribute('aria-sort');
  }
  $('sortby').value = order.by;
  const body = $('segments').tBodies[0], shown = list.slice(0, most);
  const ids = new Set(shown.map((x) => x.id));
  for (const [id, tr] of rows) if (!ids.has(id)) { tr.remove(); rows.delete(id); }
  shown.forEach((x, i) => {
    let tr = rows.get(x.id);
    if (!tr) { tr = makeRow(x); rows.set(x.id, tr); }
    fillRow(tr, x);
    if (body.rows[i] !== tr) body.insertBefore(tr, body.rows[i] || null);
  });
  const hidden = list.length - shown.length;
  $('more').replaceChildren(...(list.length === 0
    ? [el('span', {}, segments.size ? 'No segment matches the filter.' : 'There are no segments in ' + state.dir + '.')]
    : hidden ? [el('button', { type: 'button', click: () => { most += 500; showTable(); } }, 'Show ' + Math.min(hidden, 500) + ' more of ' + hidden)] : []));
}

// ---- a segment

function route() {
  const m = /^#\/segment\/([0-9a-f]{16})$/.exec(location.hash);
  return m ? m[1] : '';
}

async function showDetail(id) {
  let x;
  try {
    x = await get('/api/segment?id=' + id);
  } catch (e) {
    if (e.status !== 404) throw e;
    if (route() === id) {
      $('detail').replaceChildren(crumbs(), el('p', { class: 'empty' }, 'This segment is gone.'));
      delete $('detail').dataset.id;
    }
    return;
  }
  if (route() !== id) return;
  const d = $('detail');
  if (d.dataset.id !== id) {
    d.dataset.id = id;
    d.replaceChildren();
    d.parts = makeDetail(d);
  }
  fillDetail(d.parts, x);
}

function crumbs() { return el('p', { class: 'crumbs' }, el('a', { href: '#/' }, '← All segments')); }

function card(title, wide, ...children) {
  return el('section', { class: wide ? 'card wide' : 'card' }, el('h2', {}, title), ...children);
}

function makeDetail(d) {
  const p = { name: el('bdi'), kind: el('span', { class: 'tag' }), state: el('span', { class: 'tag' }),
    findings: el('ul', { class: 'findings' }), about: el('dl'), counters: el('dl'), who: el('tbody', { role: 'rowgroup' }), type: el('pre', { tabindex: '0', 'aria-label': 'Schema' }),
    value: el('pre', { tabindex: '0', 'aria-label': 'Value' }), plots: {} };
  d.append(crumbs(), el('div', { class: 'title' }, el('h1', {}, p.name), p.kind, p.state));
  p.findingsBox = el('section', { 'aria-label': 'Findings' }, p.findings);
  const tileList = el('ul', { class: 'tiles' });
  for (const [key, title] of [['perSecond', 'Per second'], ['depth', 'Depth'], ['memory', 'Memory']]) {
    const big = el('div', { class: 'big' }), svg = plot('plot tall', 300, 130);
    const tile = el('li', { class: 'tile' }, el('h3', {}, title), big, svg);
    tileList.append(tile);
    p.plots[key] = { big, svg, tile };
  }
  const heads = ['Process', 'User', 'Holds', 'Waits for', 'If it died'].map((h) => el('th', { scope: 'col', role: 'columnheader' }, h));
  p.whoBox = card('Attached', true, el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Attached processes' },
    el('table', { class: 'cardy', role: 'table' }, el('thead', { role: 'rowgroup' }, el('tr', { role: 'row' }, ...heads)), p.who)));
  p.countBox = card('Counters', false, p.counters);
  p.typeBox = card('Schema', false, p.type);
  p.valueTitle = el('h2');
  p.valueBox = el('section', { class: 'card' }, p.valueTitle, p.value);
  d.append(p.findingsBox, el('section', { 'aria-label': 'Traffic' }, tileList),
    el('div', { class: 'cards' }, p.whoBox, card('About', false, p.about), p.countBox, p.valueBox, p.typeBox));
  return p;
}

function fillDetail(p, x) {
  setText(p.name, x.name);
  setText(p.kind, x.kind);
  const s = stateOf(x);
  p.state.className = 'tag ' + (states[s] || '');
  setText(p.state, s + (x.ended ? ', ended' : ''));
  p.findingsBox.hidden = !x.findings.length;
  showFindings(p.findings, x.findings, false);
  const text = { perSecond: (v) => rate(v), depth: (v) => x.stats ? count(v) + ' of ' + count(x.stats.capacity) : '–', memory: bytes };
  const last = x.history[x.history.length - 1];
  p.plots.depth.tile.hidden = !x.stats;
  p.plots.perSecond.tile.hidden = x.kind === 'foreign' || x.kind === 'directory';
  for (const [key, { big, svg }] of Object.entries(p.plots)) {
    const values = x.history.map((h) => Math.max(0, Number(h[key])));
    setText(big, last ? text[key](last[key]) : '–');
    svg.draw(values, 45);
  }
  setTerms(p.about, x.lines);
  p.countBox.hidden = !x.counters.length;
  setTerms(p.counters, x.counters);
  p.whoBox.hidden = !x.attachments.length;
  p.who.replaceChildren(...x.attachments.map(attachmentRow));
  p.typeBox.hidden = !x.declaration;
  // Line by line: newlines are all that passes.
  setLines(p.type, (x.declaration || '').replace(/\t/g, '    ').split('\n').map((l) => [clean(l)]));
  p.valueBox.hidden = !x.shown;
  if (x.shown) {
    setText(p.valueTitle, x.shown.title);
    setLines(p.value, x.shown.lines.map((l) => ['  '.repeat(l.depth),
      l.label && el('span', { class: 'v-label' }, l.label), l.label && l.text && '  ', l.text,
      l.note && el('span', { class: 'v-note' }, '  ' + l.note)]).concat(x.shown.note ? [[el('span', { class: 'v-note' }, x.shown.note)]] : []));
  }
}

// setTerms fills a dl with labels and texts if these have changed.
function setTerms(dl, lines) {
  const key = JSON.stringify(lines);
  if (dl.dataset.key === key) return;
  dl.dataset.key = key;
  dl.replaceChildren(...lines.flatMap((l) => [el('dt', {}, l.label), el('dd', { class: l.tone }, l.text)]));
}

// setLines fills a pre with lines if their text has changed.
function setLines(pre, lines) {
  const made = lines.map((l) => el('span', {}, ...l));
  const key = made.map((e) => e.textContent).join('\n');
  if (pre.dataset.key === key) return;
  pre.dataset.key = key;
  pre.replaceChildren(...made.flatMap((e) => [e, document.createTextNode('\n')]));
}

function attachmentRow(p) {
  const a = p.segments[0];
  const cell = (label, ...children) => el('td', { role: 'cell', 'data-label': label, class: children.every((c) => !c) ? 'none' : null }, el('span', {}, ...children));
  const marks = [p.state === 'stopped' || p.state === 'traced' ? p.state : '', a.owner && 'owner', a.readOnly && 'read-only'].filter(Boolean);
  return el('tr', { role: 'row' },
    el('th', { scope: 'row', role: 'rowheader' }, (p.program || 'process') + ' ' + (p.pid || p.innerPid),
      ...marks.map((m) => [' ', el('span', { class: m === 'stopped' || m === 'traced' ? 'tag bad' : 'tag' }, m)]).flat(),
      el('span', { class: 'sub' }, (p.container ? 'container ' + p.container + ', pid ' + p.innerPid + ' there · ' : '') + 'slot ' + a.slot + ', for ' + ago(a.since))),
    cell('User', p.user), cell('Holds', a.holds.join(', ')), cell('Waits for', a.waits.join(', ')), cell('If it died', a.ifItDied.join('; ')));
}

// ---- moving about

function go() {
  const id = route();
  $('overview').hidden = !!id;
  $('detail').hidden = !id;
  if (!id) { $('detail').replaceChildren(); delete $('detail').dataset.id; }
  window.scrollTo(0, 0);
}

window.addEventListener('hashchange', () => { go(); $('main').focus(); turn(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden && !paused) turn(); });
document.addEventListener('keydown', (e) => {
  if (e.key === '/' && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) && !e.ctrlKey && !e.metaKey && !e.altKey && !route()) {
    e.preventDefault();
    $('filter').focus();
  }
});
$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').setAttribute('aria-pressed', String(paused));
  setText($('pause'), paused ? 'Go on' : 'Pause');
  if (paused) { clearTimeout(timer); live(true, ''); } else turn();
});

makeHead();
go();
turn();
