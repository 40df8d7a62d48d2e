(() => {
  const { data, page, narrow, GLYPHS, el, svg, size, span, clock, maybe, word, breakable, section, pair, table, footer, draw } = runlog;
  // The maximum number of names with a strip, and of runs in each.
  const NAMES = 60;
  const STRIP = 120;
  const DAY = 864e5;
  const TONES = { good: 'ok', bad: 'failed', busy: 'open', doubt: 'rollback' };

  // Rows are arrays to keep the page small; oldest first.
  const runs = data.runs.map(([id, name, state, opened, ms, cpu, rss, jobs, failed, events, bytes, why]) => ({
    id, name: data.names[name], state: data.states[state], opened, ms, cpu, rss, jobs, failed, events, bytes, why,
  }));
  const tone = (run) => `p-${TONES[(GLYPHS[run.state] || [])[1]] || 'wait'}`;
  const address = (run) => `${data.links}${encodeURIComponent(run.id)}.html`;
  const unlinked = new Set(data.unlinked);
  const linked = (run) => data.links && !unlinked.has(run.id);
  const link = (run, ...children) => (linked(run)
    ? el('a', { href: address(run) }, ...children) : el('span', {}, ...children));

  const filter = { text: '', name: '', state: '', since: 0 };
  const fits = (run) => (!filter.name || run.name === filter.name) && (!filter.state || run.state === filter.state)
    && (!filter.since || run.opened >= data.now - filter.since)
    && filter.text.split(/\s+/).every((part) => `${run.id} ${run.name} ${run.why || ''}`.toLowerCase().includes(part));

  const header = () => {
    const counts = data.states.map((state) => [state, runs.filter((run) => run.state === state).length]).filter(([, n]) => n);
    page.append(
      el('h1', {}, breakable(data.title)),
      el('div', { class: 'faint' }, `${runs.length} run${runs.length === 1 ? '' : 's'}, as of ${clock(data.now)}`),
      el('div', { class: 'counts' }, counts.map(([state, n]) => el('span', {}, word(state), ` ${n}`))));
  };

  // As in `status --stats`, medians and maxima are those of the completed runs.
  const completed = (all) => all.filter((run) => run.state === 'completed');
  const median = (all, key) => {
    const sorted = all.map((run) => run[key]).filter((n) => n !== null).sort((a, b) => a - b);
    const at = (place) => sorted[Math.floor(place)];
    return sorted.length ? Math.floor((at((sorted.length - 1) / 2) + at(sorted.length / 2)) / 2) : null;
  };

  // What the height of a bar can be.
  const METRICS = {
    ms: ['Duration', span], cpu: ['CPU time', span], rss: ['Peak memory', size],
  };
  let metric = 'ms';

  // A mark for each run, oldest first, whose color is the outcome, and a bar above it. Runs of one
  // color are one path: a page may have tens of thousands of them.
  const strip = (all) => {
    const shown = all.slice(-STRIP);
    const show = METRICS[metric][1];
    const slots = Math.max(shown.length, 30);
    const [width, height, foot] = [340, 62, 8];
    const wide = width / slots;
    const most = shown.reduce((max, run) => Math.max(max, run[metric] || 0), 0) || 1;
    const at = (place) => (slots - shown.length + place) * wide;
    const paths = new Map();
    shown.forEach((run, place) => {
      const w = Math.max(wide - 1, wide * 0.7).toFixed(1);
      const tall = ((run[metric] || 0) / most) * (height - foot - 3);
      const box = (y, h) => `M${at(place).toFixed(1)} ${y.toFixed(1)}h${w}v${h.toFixed(1)}h-${w}z`;
      paths.set(tone(run), `${paths.get(tone(run)) || ''}${box(height - foot + 2, foot - 2)}${tall > 0 ? box(height - foot - Math.max(tall, 1), Math.max(tall, 1)) : ''}`);
    });
    const done = completed(all);
    const usual = median(done, metric);
    const largest = done.reduce((max, run) => Math.max(max, run[metric] || 0), 0);
    const y = height - foot - Math.min((usual || 0) / most, 1) * (height - foot - 3);
    const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', class: 'strip', role: 'img', 'aria-label': `${METRICS[metric][0]} and outcome of each run, oldest first` },
      [...paths].map(([kind, d]) => svg('path', { class: kind, d })),
      usual === null ? null : svg('line', { class: 'usual', x1: 0, x2: width, y1: y, y2: y }));
    const note = el('div', { class: 'scale' }, usual === null ? null
      : [el('span', {}, `completed: at most ${show(largest)}`), el('span', {}, `median ${show(usual)}`)]);
    // The run below the pointer.
    const under = (event) => {
      const box = root.getBoundingClientRect();
      const place = Math.floor(((event.clientX - box.left) / box.width) * slots) - (slots - shown.length);
      return shown[Math.max(0, Math.min(shown.length - 1, place))];
    };
    const scale = [...note.childNodes];
    root.addEventListener('pointermove', (event) => {
      const run = under(event);
      note.replaceChildren(el('span', {}, `${run.state}, ${clock(run.opened).slice(0, 16)}`), el('span', {}, run[metric] === null ? '' : show(run[metric])));
    });
    root.addEventListener('pointerleave', () => note.replaceChildren(...scale));
    if (data.links) {
      root.style.cursor = 'pointer';
      root.addEventListener('click', (event) => {
        const run = under(event);
        if (linked(run)) location.href = address(run);
      });
    }
    return [root, note];
  };

  const names = (chosen) => {
    const groups = new Map();
    for (const run of chosen) {
      if (!groups.has(run.name)) groups.set(run.name, []);
      groups.get(run.name).push(run);
    }
    const newest = [...groups].sort(([, a], [, b]) => b[b.length - 1].opened - a[a.length - 1].opened);
    const rows = newest.slice(0, NAMES).map(([name, all]) => {
      const last = all[all.length - 1];
      const failed = all.filter((run) => run.state === 'failed' || run.state === 'lost').length;
      const typical = ['cpu', 'rss'].map((key) => [METRICS[key], median(completed(all), key)]).filter(([, n]) => n !== null);
      return el('div', { class: 'name' },
        el('div', {}, el('strong', {}, name ? breakable(name) : 'without a name'), el('span', { class: 'facts' }, word(last.state))),
        strip(all),
        el('div', {}, [
          `${all.length} run${all.length === 1 ? '' : 's'}`, failed ? `${failed} failed or lost` : '', last.ms === null ? '' : `last took ${span(last.ms)}`,
        ].filter(Boolean).join(', ')),
        el('div', { class: 'faint' }, typical.length ? `completed: ${typical.map(([[text, show], n]) => `median ${text[0] === 'C' ? text : text.toLowerCase()} ${show(n)}`).join(', ')}` : ''));
    });
    if (newest.length > NAMES) rows.push(el('p', { class: 'faint' }, `and ${newest.length - NAMES} more names`));
    return rows;
  };

  const body = () => {
    const box = el('div', { class: 'names' });
    const columns = narrow.matches ? [['State'], ['Opened'], ['Took', 'num'], ['Peak RSS', 'num']]
      : [['Run'], ['State'], ['Opened'], ['Took', 'num'], ['CPU', 'num'], ['Peak RSS', 'num'], ['Jobs', 'num'], ['Log', 'num'], ['Because']];
    const row = (run) => {
      const state = el('td', { class: 'nowrap' }, word(run.state));
      const at = clock(run.opened).replace(/\.\d+ UTC/, '');
      const number = (text) => el('td', { class: 'num' }, text);
      const took = number(run.ms === null ? '' : span(run.ms) + (run.state === 'running' ? '…' : ''));
      const rss = number(maybe(run.rss, size));
      if (narrow.matches) {
        return pair([state, el('td', { class: 'nowrap' }, at.slice(5, 16)), took, rss],
          el('div', { class: 'mono' }, link(run, breakable(run.id))), run.why && el('div', { class: 'faint words' }, run.why));
      }
      return el('tr', {}, el('td', { class: 'mono id' }, link(run, breakable(run.id))), state, el('td', { class: 'nowrap' }, at), took, number(maybe(run.cpu, span)), rss,
        number(run.failed ? `${run.jobs} (${run.failed} failed)` : String(run.jobs)), number(size(run.bytes)), el('td', { class: 'text' }, run.why || ''));
    };
    const list = table(columns, [], row, 100);
    const found = el('span', { class: 'faint', role: 'status' });
    const update = () => {
      const chosen = runs.filter(fits);
      box.replaceChildren(...names(chosen));
      list.set(chosen.slice().reverse());
      found.textContent = `${chosen.length} of ${runs.length}`;
    };
    const choice = (label, key, options) => {
      const select = el('select', { 'aria-label': label, on: ['change', () => { filter[key] = key === 'since' ? Number(select.value) : select.value; update(); }] },
        options.map(([value, text]) => el('option', { value }, text)));
      select.value = filter[key];
      return select;
    };
    const input = el('input', {
      type: 'search', placeholder: 'Search runs', 'aria-label': 'Search runs', value: filter.text,
      on: ['input', () => { filter.text = input.value.toLowerCase().trim(); update(); }],
    });
    page.append(el('div', { class: 'tools' }, input,
      choice('Name', 'name', [['', 'all names'], ...data.names.filter(Boolean).map((name) => [name, name])]),
      choice('State', 'state', [['', 'all states'], ...data.states.map((state) => [state, state])]),
      choice('Time', 'since', [[0, 'any time'], [DAY, 'last 24 hours'], [7 * DAY, 'last 7 days'], [30 * DAY, 'last 30 days'], [365 * DAY, 'last year']]),
      found));
    const heights = el('select', { 'aria-label': 'Height of the bars', on: ['change', () => { metric = heights.value; update(); }] },
      Object.entries(METRICS).map(([key, [text]]) => el('option', { value: key }, `Bars: ${text.toLowerCase()}`)));
    heights.value = metric;
    section('Names', el('div', { class: 'tools' }, heights), box);
    section('Runs', list.node);
    update();
  };

  draw([header, body, () => footer('Times are in UTC.')]);
})();
