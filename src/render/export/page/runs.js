(() => {
  const { data, page, narrow, GLYPHS, el, svg, size, span, clock, word, section, table, footer, draw } = runlog;
  // The maximum number of names with a strip, and of runs in each.
  const NAMES = 100;
  const STRIP = 120;
  const DAY = 864e5;
  const TONES = { good: 'ok', bad: 'failed', busy: 'open', doubt: 'rollback' };

  // Rows are arrays to keep the page small; oldest first.
  const runs = data.runs.map(([id, name, state, opened, ms, jobs, failed, events, bytes, why]) => ({
    id, name: data.names[name], state: data.states[state], opened, ms, jobs, failed, events, bytes, why,
  }));
  const title = (run) => run.name || run.id;
  const tone = (run) => `p-${TONES[(GLYPHS[run.state] || [])[1]] || 'wait'}`;
  const link = (run, ...children) => (data.links
    ? el('a', { href: `${data.links}${encodeURIComponent(run.id)}.html` }, ...children) : el('span', {}, ...children));
  const about = (run) => [run.id, run.state, clock(run.opened), run.ms === null ? '' : span(run.ms), run.why].filter(Boolean).join('\n');

  const filter = { text: '', name: '', state: '', since: 0 };
  const fits = (run) => (!filter.name || run.name === filter.name) && (!filter.state || run.state === filter.state)
    && (!filter.since || run.opened >= data.now - filter.since)
    && filter.text.split(/\s+/).every((part) => `${run.id} ${run.name} ${run.why || ''}`.toLowerCase().includes(part));

  const header = () => {
    const counts = data.states.map((state) => [state, runs.filter((run) => run.state === state).length]).filter(([, n]) => n);
    page.append(
      el('h1', {}, data.title),
      el('div', { class: 'faint' }, `${runs.length} run${runs.length === 1 ? '' : 's'}, as of ${clock(data.now)}`),
      el('div', { class: 'counts' }, counts.map(([state, n]) => el('span', {}, word(state), ` ${n}`))));
  };

  // A bar for each run, oldest first: its color is the outcome, its height the duration.
  const strip = (all) => {
    const shown = all.slice(-STRIP);
    const [wide, height] = [8, 44];
    const most = shown.reduce((max, run) => Math.max(max, run.ms || 0), 1);
    const root = svg('svg', {
      viewBox: `0 0 ${STRIP * wide} ${height}`, preserveAspectRatio: 'none', class: 'strip', role: 'img', 'aria-label': 'Outcomes and durations, oldest first',
    });
    shown.forEach((run, at) => {
      const tall = run.ms === null ? 4 : Math.max(4, Math.sqrt(run.ms / most) * (height - 2));
      root.append(svg('rect', { class: tone(run), x: (STRIP - shown.length + at) * wide, y: height - tall, width: wide - 2, height: tall },
        svg('title', {}, about(run))));
    });
    return root;
  };

  const median = (all) => {
    const sorted = all.map((run) => run.ms).filter((ms) => ms !== null).sort((a, b) => a - b);
    return sorted.length ? sorted[Math.floor(sorted.length / 2)] : null;
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
      const usual = median(all);
      return el('div', { class: 'name' },
        el('div', {}, el('strong', {}, name || 'without a name'), el('span', { class: 'facts' }, word(last.state))),
        strip(all),
        el('div', { class: 'faint' }, [
          `${all.length} run${all.length === 1 ? '' : 's'}`, failed ? `${failed} failed or lost` : '',
          usual === null ? '' : `median ${span(usual)}`, last.ms === null ? '' : `last ${span(last.ms)}`,
        ].filter(Boolean).join(', ')));
    });
    if (newest.length > NAMES) rows.push(el('p', { class: 'faint' }, `and ${newest.length - NAMES} more names`));
    return rows;
  };

  const body = () => {
    const box = el('div', { class: 'names' });
    const columns = narrow.matches ? [['State'], ['Took', 'num'], ['Opened'], ['Run']]
      : [['Run'], ['State'], ['Opened'], ['Took', 'num'], ['Jobs', 'num'], ['Events', 'num'], ['Log', 'num'], ['Because']];
    const row = (run) => {
      const id = el('td', { class: 'mono nowrap' }, link(run, run.id));
      const state = el('td', { class: 'nowrap' }, word(run.state));
      const at = clock(run.opened).replace(/\.\d+ UTC/, '');
      const opened = el('td', { class: 'nowrap' }, narrow.matches ? at.slice(5, 16) : at);
      const took = el('td', { class: 'num' }, run.ms === null ? '' : span(run.ms) + (run.state === 'running' ? '…' : ''));
      return narrow.matches ? el('tr', { title: run.why }, state, took, opened, id)
        : el('tr', {}, id, state, opened, took, el('td', { class: 'num' }, run.failed ? `${run.jobs} (${run.failed} failed)` : String(run.jobs)),
          el('td', { class: 'num' }, String(run.events)), el('td', { class: 'num' }, size(run.bytes)), el('td', { class: 'text' }, run.why || ''));
    };
    const list = table(columns, [], row);
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
    section('Names', box);
    section('Runs', list.node);
    update();
  };

  draw([header, body, () => footer('Times are in UTC.')]);
})();
