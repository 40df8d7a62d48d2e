'use strict';
// What the page of a run and that of all runs share.
const runlog = (() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const page = document.getElementById('page');
  const SVG = 'http://www.w3.org/2000/svg';
  const ROWS = 500;
  // The maximum width of a time below a chart.
  const LABEL = 52;
  const narrow = matchMedia('(max-width: 600px)');
  const GLYPHS = {
    completed: ['✓', 'good'], failed: ['✗', 'bad'], running: ['▶', 'busy'], lost: ['!', 'bad'],
    unknown: ['?', 'doubt'], open: ['○', ''], submitted: ['○', ''], validated: ['○', ''],
    started: ['▶', 'busy'], rolled_back: ['↩', 'doubt'],
  };

  // Makes control characters, and those that change the direction of text, visible.
  const clean = (text) => String(text)
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCodePoint(0x2400 + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '\ufffd');

  // Adds attributes and children. Text is always added as text, never as markup.
  const fill = (node, attributes, children) => {
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === 'on') node.addEventListener(value[0], value[1]);
      else if (value !== null && value !== undefined) node.setAttribute(key, clean(value));
    }
    const there = children.flat().filter((child) => child !== null && child !== undefined);
    node.append(...there.map((child) => (child instanceof Node ? child : clean(child))));
    return node;
  };
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS(SVG, tag), attributes, children);

  const size = (n) => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let at = 0;
    for (; n >= 1024 && at < units.length - 1; at += 1) n /= 1024;
    return `${at && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
  };
  const span = (ms) => {
    // Rounded once, to the last digit that is shown, as `runlog status` does.
    const to = (unit) => Math.floor((Math.round(ms) + unit / 2) / unit);
    const two = (n) => String(n).padStart(2, '0');
    const [centis, s, min, h] = [to(10), to(1e3), to(6e4), to(36e5)];
    if (ms < 999.5) return `${Math.round(ms)}ms`;
    if (centis < 6000) return `${Math.floor(centis / 100)}.${two(centis % 100)}s`;
    if (s < 3600) return `${Math.floor(s / 60)}m ${two(s % 60)}s`;
    if (min < 1440) return `${Math.floor(min / 60)}h ${two(min % 60)}m`;
    return `${Math.floor(h / 24)}d ${two(h % 24)}h`;
  };
  const clock = (ts) => {
    if (ts === null || ts === undefined) return '';
    const at = new Date(ts);
    return Number.isNaN(at.getTime()) ? String(ts) : at.toISOString().replace('T', ' ').replace('Z', ' UTC');
  };
  const maybe = (value, show) => (value === null || value === undefined ? '' : show(value));
  const word = (state) => {
    const [glyph, tone] = GLYPHS[state] || ['', ''];
    return el('span', { class: tone }, `${glyph} ${state.replace('_', ' ')}`);
  };
  // A name that may be broken behind its separators, rather than anywhere.
  const breakable = (text) => clean(text).split(/(?<=[-_./])/).flatMap((part, at) => (at ? [el('wbr'), part] : [part]));
  const section = (title, ...children) => page.append(el('section', {}, el('h2', {}, title), ...children));
  const legend = (items) => el('div', { class: 'legend' }, items.map(([color, text]) => {
    const mark = el('i');
    mark.style.background = color;
    return el('span', {}, mark, text);
  }));

  // A row of four cells, and below it what a narrow table has no columns for.
  const pair = (cells, ...below) => {
    const rows = document.createDocumentFragment();
    const text = below.filter(Boolean);
    rows.append(el('tr', { class: text.length ? 'first' : null }, cells),
      text.length ? el('tr', {}, el('td', { colspan: 4 }, text)) : '');
    return rows;
  };

  // Creates a table that shows more rows on request.
  const table = (columns, rows, row, step = ROWS) => {
    const body = el('tbody');
    const more = el('button', { type: 'button' });
    let shown = 0;
    let all = [];
    const show = () => {
      body.append(...all.slice(shown, shown + step).map(row));
      shown = Math.min(all.length, shown + step);
      more.hidden = shown >= all.length;
      more.textContent = `Show more (${all.length - shown})`;
    };
    more.addEventListener('click', show);
    const set = (next) => { all = next; shown = 0; body.replaceChildren(); show(); };
    set(rows);
    const head = columns.map(([name, kind]) => el('th', { class: kind, scope: 'col' }, name));
    const node = el('div', {}, el('div', { class: 'scroll' },
      el('table', {}, el('thead', {}, el('tr', {}, head)), body)), more);
    return { node, set };
  };

  const footer = (text) => page.append(el('footer', {}, `Written by runlog ${data.runlog}. ${text}`));
  const draw = (parts) => {
    const render = () => {
      page.replaceChildren();
      parts.forEach((part) => part());
    };
    narrow.addEventListener('change', render);
    render();
  };
  return { data, page, narrow, ROWS, LABEL, GLYPHS, clean, el, svg, size, span, clock, maybe, word, breakable, section, legend, pair, table, footer, draw };
})();
