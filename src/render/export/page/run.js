(() => {
  const {
    data, page, narrow, ROWS, LABEL, GLYPHS, clean, el, svg, size, span, clock, maybe, word, section, legend, table, footer, draw,
  } = runlog;
  const run = data.run;

  const { start } = data;
  // A map, since a job may be called `constructor`.
  const outputs = new Map(Object.entries(data.output));
  const ends = data.spans.map((one) => one.end).concat(data.last || start, Date.parse(run.closed_ts) || start);
  const end = Math.max(ends.reduce((a, b) => Math.max(a, b), start), start + 1);

  // Ticks at round times.
  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 18e5, 36e5,
    108e5, 216e5, 432e5, 864e5, 6048e5];
  const ticks = (width) => {
    const total = end - start;
    const step = STEPS.find((one) => total / one <= width / 90) || total / 5;
    const all = [];
    for (let at = 0; at <= total; at += step) all.push(at);
    return all;
  };

  const header = () => {
    const [glyph, tone] = GLYPHS[run.state] || ['', ''];
    const facts = [
      ['Run', run.run_id], ['Started', clock(run.opened_ts)], ['Closed', clock(run.closed_ts)],
      ['Took', maybe(run.duration_ms, span)], ['Host', run.host],
      ['Jobs', `${run.jobs_total}${run.jobs_failed ? `, ${run.jobs_failed} failed` : ''}`],
      ['Events', `${run.events}, ${size(run.bytes)}`],
    ].filter(([, value]) => value);
    page.append(
      el('h1', {}, run.name || run.run_id, el('span', { class: `badge ${tone}` }, `${glyph} ${run.state}`)),
      el('div', { class: 'faint' }, run.because),
      run.usual && run.usual.verdict !== 'usual' ? el('div', { class: 'note' },
        `It took ${span(run.duration_ms)}, far ${run.usual.verdict} than usual (${span(run.usual.duration_p50_ms)}, the median of ${run.usual.runs} runs).`) : '',
      el('dl', {}, facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)))),
    );
    if (data.damage.length) {
      const shown = data.damage.slice(0, 20);
      page.append(el('div', { class: 'note' },
        el('strong', {}, `The log has ${data.damage.length} damaged ${data.damage.length === 1 ? 'place' : 'places'}, skipped here.`),
        shown.map((one) => el('div', { class: 'mono' }, one)),
        data.damage.length > shown.length ? el('div', {}, '…') : null));
    }
  };

  const timeline = () => {
    const jobs = run.jobs.slice(0, ROWS);
    if (!jobs.length) return;
    const [width, left, chars] = narrow.matches ? [360, 92, 13] : [1160, 170, 24];
    const [row, top] = [24, 24];
    const height = top + jobs.length * row + 4;
    const x = (t) => left + ((t - start) / (end - start)) * (width - left - 10);
    const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Timeline of jobs' });
    for (const at of ticks(width - left)) {
      const px = x(start + at);
      root.append(svg('line', { class: 'grid', x1: px, x2: px, y1: top - 6, y2: height }),
        px < width - LABEL ? svg('text', { class: 'axis', x: px + 3, y: 12 }, `+${span(at)}`) : '');
    }
    const rows = new Map(jobs.map((job, at) => [job.job_id, top + at * row]));
    for (const job of jobs) {
      const name = job.job_id.length > chars ? `${job.job_id.slice(0, chars - 1)}…` : job.job_id;
      root.append(svg('text', { x: 0, y: rows.get(job.job_id) + 15 }, name, svg('title', {}, job.job_id)));
    }
    for (const one of data.spans) {
      if (!rows.has(one.job)) continue;
      const waits = one.phase === 'waiting' || one.phase === 'back-off';
      const kind = one.failed ? 'failed' : waits ? 'wait' : one.open ? 'open'
        : one.phase === 'rollback' ? 'rollback' : 'ok';
      const px = x(one.start);
      const wide = Math.max(x(one.end) - px, 2);
      const text = `${one.job}: ${one.phase}, ${span(one.end - one.start)}${one.open ? ', not ended' : ''}`;
      const y = rows.get(one.job) + (waits ? 9 : 3);
      root.append(svg('rect', { class: `p-${kind}`, x: px, y, width: wide, height: waits ? 6 : 18, rx: 2 },
        svg('title', {}, one.message ? `${text}\n${one.message}` : text)));
    }
    for (const event of data.events) {
      if (event.kind !== 'note' || event.t === null || !rows.has(event.job)) continue;
      const [px, y] = [x(event.t), rows.get(event.job)];
      root.append(svg('path', { d: `M${px} ${y + 1}l4 5l-4 5l-4 -5z`, fill: 'var(--fg)' },
        svg('title', {}, `note: ${event.text}`)));
    }
    const color = (name) => `var(--${name})`;
    section('Timeline', el('div', { class: 'scroll' }, root), legend([
      [color('good'), 'done'], [color('bad'), 'failed'], [color('busy'), 'not ended'],
      [color('wait'), 'waiting'], [color('doubt'), 'rollback'], [color('fg'), 'note'],
    ]), run.jobs.length > ROWS ? el('p', { class: 'faint' }, `and ${run.jobs.length - ROWS} more jobs`) : '');
  };

  const chart = (title, lines, show) => {
    const [width, height, left, bottom] = [narrow.matches ? 350 : 560, 170, 62, 22];
    const top = 8;
    const all = lines.flatMap((line) => line.points.map((point) => point[1]));
    const most = all.reduce((a, b) => Math.max(a, b), 0) || 1;
    const x = (t) => left + ((t - start) / (end - start)) * (width - left - 8);
    const y = (v) => height - bottom - (v / most) * (height - bottom - top);
    const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': title });
    for (const part of all.some((v) => v > 0) ? [0, 0.5, 1] : [0]) {
      const at = y(most * part);
      root.append(svg('line', { class: 'grid', x1: left, x2: width - 8, y1: at, y2: at }),
        svg('text', { class: 'axis', x: left - 6, y: at + 4, 'text-anchor': 'end' }, show(most * part)));
    }
    for (const at of ticks(width - left)) {
      const px = x(start + at);
      if (px < width - LABEL) root.append(svg('text', { class: 'axis', x: px, y: height - 6 }, `+${span(at)}`));
    }
    for (const line of lines) {
      const color = `var(--c${line.color % 6})`;
      // Between two attempts there is no line.
      const begins = data.spans.filter((one) => one.job === line.name && one.phase.startsWith('attempt')).map((one) => one.start);
      const isNew = (at, points) => !at || begins.some((begin) => points[at - 1][0] < begin && begin <= points[at][0]);
      const d = line.points.map(([t, v], at, points) => `${isNew(at, points) ? 'M' : 'L'}${x(t).toFixed(1)} ${y(v).toFixed(1)}`).join('');
      root.append(svg('path', { d, fill: 'none', stroke: color, 'stroke-width': 1.6 }, svg('title', {}, line.name)));
      for (const [t, v] of line.points.length < 60 ? line.points : []) {
        root.append(svg('circle', { cx: x(t), cy: y(v), r: 2.2, fill: color },
          svg('title', {}, `${line.name}: ${show(v)} at +${span(t - start)}`)));
      }
    }
    return el('div', {}, el('h3', {}, title), root);
  };

  const charts = () => {
    const names = Object.keys(data.samples).filter((name) => data.samples[name].length);
    if (!names.length) return;
    const box = el('div', { class: 'charts' });
    const draw = (chosen) => {
      const of = (key) => chosen.map((name) => ({
        name, color: names.indexOf(name), points: data.samples[name].map((point) => [point.t, point[key]]),
      }));
      box.replaceChildren(
        chart('CPU (100 % is one core)', of('cpu'), (v) => `${v < 10 ? v.toFixed(1) : Math.round(v)} %`),
        chart('Resident memory', of('rss'), size), chart('Read from disk', of('read'), size),
        chart('Written to disk', of('written'), size));
    };
    const select = el('select', {
      'aria-label': 'Job',
      on: ['change', () => draw(select.value === '' ? names.slice(0, 12) : [names[Number(select.value)]])],
    }, el('option', { value: '' }, names.length > 12 ? 'the first 12 jobs' : 'all jobs'),
    names.map((name, at) => el('option', { value: at }, name)));
    draw(names.slice(0, 12));
    section('CPU, memory and I/O', el('div', { class: 'tools' }, select), box,
      legend(names.slice(0, 12).map((name, at) => [`var(--c${at % 6})`, name])));
  };

  const host = () => {
    const [first, last] = data.host;
    if (!first) return;
    const pair = (key, show) => {
      const [a, b] = [maybe(first[key], show), maybe(last[key], show)];
      return a === b ? a : `${a} → ${b}`;
    };
    const facts = [
      ['Host', first.hostname], ['Kernel', first.kernel],
      ['CPU', first.cpu_model && `${first.cpu_count || '?'} × ${first.cpu_model}`],
      ['Load (1, 5, 15 min)', maybe(last.load_1m, () => [last.load_1m, last.load_5m, last.load_15m].join(', '))],
      ['Memory used', `${pair('mem_used_bytes', size)} of ${maybe(first.mem_total_bytes, size)}`],
      ['Memory limit', maybe(first.mem_limit_bytes, size)],
      ['Swap used', first.swap_total_bytes ? pair('swap_used_bytes', size) : ''],
      ['Disk free', pair('disk_available_bytes', size)],
      ['Network received', maybe(last.net_rx_bytes, (n) => size(Math.max(0, n - (first.net_rx_bytes || 0))))],
      ['Network sent', maybe(last.net_tx_bytes, (n) => size(Math.max(0, n - (first.net_tx_bytes || 0))))],
      ['Up for', maybe(first.uptime_s, (s) => span(s * 1000))],
    ].filter(([, value]) => value);
    section('Host', el('dl', {}, facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)))));
  };

  const jobs = () => {
    const columns = [['Job'], ['Stage'], ['Result'], ['Attempt', 'num'], ['Took', 'num'], ['CPU', 'num'],
      ['Peak RSS', 'num'], ['Read', 'num'], ['Written', 'num'], ['Command']];
    section('Jobs', table(columns, run.jobs, (job) => el('tr', {},
      el('td', { class: 'nowrap' }, job.job_id), el('td', { class: 'nowrap' }, word(job.stage)),
      el('td', { class: 'text' }, job.error ? `${job.error.kind}: ${job.error.message}` : maybe(job.exit_code, (n) => `exit ${n}`)),
      el('td', { class: 'num' }, maybe(job.attempt, String)), el('td', { class: 'num' }, maybe(job.duration_ms, span)),
      el('td', { class: 'num' }, maybe(job.cpu_ms, span)), el('td', { class: 'num' }, maybe(job.max_rss_bytes, size)),
      el('td', { class: 'num' }, maybe(job.read_bytes, size)), el('td', { class: 'num' }, maybe(job.written_bytes, size)),
      el('td', { class: 'text mono' }, job.command))).node);
  };

  // Returns the classes after a sequence of SGR parameters: the eight colors, also as part of the
  // 256, bold and underlined. Other parameters are ignored together with their arguments.
  const sgr = (parameters, before) => {
    let classes = new Set(before);
    const color = (name) => {
      classes = new Set([...classes].filter((one) => !/\d/.test(one)));
      if (name !== null) classes.add(`a-${name}`);
    };
    const codes = parameters.split(';').filter((one) => !/^[345]8:/.test(one)).map((one) => parseInt(one || '0', 10));
    for (let at = 0; at < codes.length; at += 1) {
      const n = codes[at];
      if (n === 38 || n === 48 || n === 58) {
        const index = codes[at + 1] === 5 ? codes[at + 2] : NaN;
        if (n === 38) color(index < 16 ? index % 8 : null);
        at += codes[at + 1] === 5 ? 2 : 4;
      } else if (n === 0) classes = new Set();
      else if (n === 1) classes.add('a-b');
      else if (n === 4) classes.add('a-u');
      else if (n === 22) classes.delete('a-b');
      else if (n === 24) classes.delete('a-u');
      else if (n === 39) color(null);
      else if ((n >= 30 && n <= 37) || (n >= 90 && n <= 97)) color(n % 10);
    }
    return classes;
  };

  // A line that can be overwritten, as a terminal shows it: runs of text of one look.
  const MOST = 4096;
  const newLine = () => ({ cells: [], looks: [], cursor: 0 });
  const put = (line, text, look) => {
    for (; line.cells.length < line.cursor; line.looks.push('')) line.cells.push(' ');
    for (const c of text) {
      line.cells[line.cursor] = c;
      line.looks[line.cursor] = look;
      line.cursor += 1;
    }
  };
  const control = (line, parameters, last) => {
    const n = parseInt(parameters, 10) || 0;
    const cut = (length) => { line.cells.length = length; line.looks.length = length; };
    if (last === 'C') line.cursor = Math.min(line.cursor + Math.max(n, 1), Math.max(MOST, line.cursor));
    else if (last === 'D') line.cursor = Math.max(line.cursor - Math.max(n, 1), 0);
    else if (last === 'G') line.cursor = Math.min(Math.max(n, 1), MOST) - 1;
    else if (last === 'K') {
      if (n === 0) cut(Math.min(line.cursor, line.cells.length));
      else if (n === 1) line.cells.fill(' ', 0, line.cursor + 1);
      else cut(0);
    }
  };

  // Returns the output as nodes: colors are kept, and lines are as a terminal shows them in the
  // end. Everything else that a terminal would act on is dropped.
  const ESCAPE = new RegExp('\\u001b\\[([0-?]*)[ -/]*([@-~])|\\u001b[\\]PX^_][^\\u0007\\u001b\\n]*(?:\\u0007|\\u001b\\\\)?|\\u001b[ -/]*[0-~]|[\\r\\n\\b]');
  const painted = (pieces) => {
    const nodes = [];
    // Unfinished lines: each stream has its own.
    const streams = new Map();
    const add = (state, end) => {
      const { cells, looks } = state.line;
      const target = state.isErr ? el('span', { class: 'err' }) : null;
      for (let at = 0; at < cells.length;) {
        const begin = at;
        while (at < cells.length && looks[at] === looks[begin]) at += 1;
        const text = cells.slice(begin, at).join('');
        const node = looks[begin] ? el('span', { class: looks[begin] }, text) : clean(text);
        if (target) target.append(node); else nodes.push(node);
      }
      if (target && cells.length) nodes.push(target);
      // A block of its own already ends its line.
      if (end && !(target && cells.length)) nodes.push('\n');
      state.line = newLine();
    };
    for (const [stream, text] of pieces) {
      if (!streams.has(stream)) streams.set(stream, { line: newLine(), classes: new Set(), isErr: stream === 'stderr' });
      const state = streams.get(stream);
      let rest = text;
      while (rest) {
        const found = ESCAPE.exec(rest);
        const look = [...state.classes].join(' ');
        put(state.line, found ? rest.slice(0, found.index) : rest, look);
        if (!found) break;
        rest = rest.slice(found.index + found[0].length);
        if (found[0] === '\n') add(state, true);
        else if (found[0] === '\r') state.line.cursor = 0;
        else if (found[0] === '\b') state.line.cursor = Math.max(state.line.cursor - 1, 0);
        else if (found[2] === 'm') state.classes = sgr(found[1], state.classes);
        else if (found[2]) control(state.line, found[1], found[2]);
      }
    }
    for (const state of streams.values()) if (state.line.cells.length) add(state, false);
    return nodes;
  };

  const output = () => {
    const printed = run.jobs.filter((job) => outputs.has(job.job_id));
    if (!printed.length) return;
    const one = (job) => {
      const kept = outputs.get(job.job_id);
      const length = kept.parts.reduce((sum, part) => sum + part[1].length, 0);
      const about = [size(length + kept.left_out)];
      if (kept.left_out) about.push(`the first ${size(kept.left_out)} are left out`);
      if (kept.truncated) about.push(kept.truncated);
      const box = el('details', {}, el('summary', {}, el('strong', {}, job.job_id),
        el('span', { class: 'faint' }, `  ${about.join(', ')}`)));
      // Created when it is opened, since it may be long.
      let made = false;
      const make = () => {
        if (made || !box.open) return;
        made = true;
        const note = kept.left_out ? el('div', { class: 'doubt' }, `… ${size(kept.left_out)} before this are left out; \`runlog replay --output\` has all of it`) : null;
        box.append(el('pre', { tabindex: 0 }, note, painted(kept.parts)));
      };
      box.addEventListener('toggle', make);
      box.open = printed.length === 1 || ['failed', 'rolled_back', 'started'].includes(job.stage);
      make();
      return box;
    };
    section('Output', printed.slice(0, ROWS).map(one),
      printed.length > ROWS ? el('p', { class: 'faint' }, `and that of ${printed.length - ROWS} more jobs`) : '');
  };

  const events = () => {
    const kinds = [...new Set(data.events.map((event) => event.kind))].sort();
    const columns = [['Time', 'num'], ['Seq', 'num'], ['Type'], ['Job'], ['Details']];
    const row = (event) => el('tr', {},
      el('td', { class: 'num mono', title: event.t === null ? null : clock(event.t) },
        event.t === null ? '' : `+${((event.t - start) / 1000).toFixed(3)}`),
      el('td', { class: 'num' }, maybe(event.seq, String)),
      el('td', { class: `nowrap ${/fail|damage|abort/.test(event.kind) ? 'bad' : ''}` }, event.kind),
      el('td', { class: 'nowrap' }, event.job || ''), el('td', { class: 'text mono' }, event.text));
    const list = table(columns, data.events, row);
    const found = el('span', { class: 'faint', role: 'status' });
    const input = el('input', { type: 'search', placeholder: 'Search events', 'aria-label': 'Search events' });
    const select = el('select', { 'aria-label': 'Type' }, el('option', { value: '' }, 'all types'),
      kinds.map((kind) => el('option', { value: kind }, kind)));
    const drawn = Object.values(data.samples).some((points) => points.length) ? '; samples are in the charts above' : '';
    const narrow = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = data.events.filter((event) => {
        const text = `${event.seq} ${event.kind} ${event.job || ''} ${event.text}`.toLowerCase();
        return (!select.value || event.kind === select.value) && words.every((one) => text.includes(one));
      });
      list.set(fits);
      found.textContent = `${fits.length} of ${data.events.length}${drawn}`;
    };
    input.addEventListener('input', narrow);
    select.addEventListener('change', narrow);
    narrow();
    section('Events', el('div', { class: 'tools' }, input, select, found),
      data.events_left_out ? el('p', { class: 'faint' }, `The first ${data.events_left_out} events are left out; \`runlog replay\` shows all.`) : '',
      list.node);
  };

  draw([header, timeline, charts, host, jobs, output, events,
    () => footer('Times are in UTC, or relative to the start of the run.')]);
})();
