(() => {
  const {
    data, page, narrow, ROWS, LABEL, GLYPHS, clean, el, svg, size, span, clock, maybe, word, breakable, section, legend, pair, table, footer, draw, painted,
  } = runlog;
  const run = data.run;

  const { start } = data;
  // A map, since a job may be called `constructor`.
  const outputs = new Map(Object.entries(data.output));
  const end = Math.max(data.end, start + 1);

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

  // How much more memory than usual is worth a note.
  const UNUSUAL_BYTES = 16 << 20;

  const header = () => {
    const [glyph, tone] = GLYPHS[run.state] || ['', ''];
    const usual = run.usual || {};
    const usually = (n, show) => (n === null || n === undefined ? '' : `, usually ${show(n)}`);
    const peak = run.jobs.reduce((max, job) => Math.max(max, job.max_rss_bytes || 0), 0);
    const isMore = usual.max_rss_p50_bytes && peak >= 2 * usual.max_rss_p50_bytes && peak - usual.max_rss_p50_bytes >= UNUSUAL_BYTES;
    const facts = [
      ['Run', breakable(run.run_id)], ['Started', clock(run.opened_ts)], ['Closed', clock(run.closed_ts)],
      ['Took', maybe(run.duration_ms, span) + usually(usual.duration_p50_ms, span)],
      ['Peak memory', peak ? size(peak) + usually(usual.max_rss_p50_bytes, size) : ''], ['Host', run.host],
      ['Jobs', `${run.jobs_total}${run.jobs_failed ? `, ${run.jobs_failed} failed` : ''}`],
      ['Events', `${run.events}, ${size(run.bytes)}`],
    ].filter(([, value]) => value);
    page.append(
      el('h1', {}, breakable(run.name || run.run_id), el('span', { class: `badge ${tone}` }, `${glyph} ${run.state}`)),
      el('div', { class: 'faint' }, run.because),
      run.usual && run.usual.verdict !== 'usual' ? el('div', { class: 'note' },
        `It took ${span(run.duration_ms)}, far ${run.usual.verdict} than usual (${span(run.usual.duration_p50_ms)}, the median of ${run.usual.runs} runs).`) : '',
      isMore ? el('div', { class: 'note' }, `It needed ${size(peak)} of memory, far more than usual (${size(usual.max_rss_p50_bytes)}, the median of ${usual.runs} runs).`) : '',
      el('dl', {}, facts.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value)))),
    );
    const word = (reading) => (reading === null ? 'unknown' : String(reading));
    const changed = run.jobs.flatMap((job) => Object.entries(job.probes || {}).filter(([, probe]) => probe.changed)
      .map(([name, probe]) => `Probe ${name} changed while job ${job.job_id} ran: ${word(probe.before)} before, ${word(probe.after)} after.`));
    if (changed.length) page.append(el('div', { class: 'note' }, changed.slice(0, 20).map((one) => el('div', {}, one))));
    if (data.damage.length) {
      const shown = data.damage.slice(0, 20);
      page.append(el('div', { class: 'note' },
        el('strong', {}, `The log has ${data.damage.length} damaged ${data.damage.length === 1 ? 'place' : 'places'}, skipped here.`),
        shown.map((one) => el('div', { class: 'mono' }, one)),
        data.damage.length > shown.length ? el('div', {}, '…') : null));
    }
  };

  // What has a time axis: all are equally wide, and a line at the time below the pointer goes
  // through all of them.
  let axes = [];
  const point = (t) => {
    for (const one of axes) {
      one.line.setAttribute('visibility', t === null ? 'hidden' : 'visible');
      if (t === null) continue;
      const px = one.x(t);
      one.line.setAttribute('x1', px);
      one.line.setAttribute('x2', px);
      if (one.say) one.say(t);
    }
  };
  const axis = (height, from, to, label, choose) => {
    const [width, left] = narrow.matches ? [360, 92] : [1160, 170];
    const x = (t) => left + ((Math.min(Math.max(t, start), end) - start) / (end - start)) * (width - left - 10);
    const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label });
    for (const at of ticks(width - left)) {
      const px = x(start + at);
      root.append(svg('line', { class: 'grid', x1: px, x2: px, y1: from, y2: to }),
        px < width - LABEL ? svg('text', { class: 'axis', x: px + 3, y: 12 }, `+${span(at)}`) : '');
    }
    const line = svg('line', { class: 'pointer', y1: from, y2: to, visibility: 'hidden' });
    root.append(line);
    const place = (event) => {
      const box = root.getBoundingClientRect();
      const [px, py] = [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
      return [px < left ? null : start + ((px - left) / (width - left - 10)) * (end - start), py];
    };
    const one = { line, x, say: null };
    axes.push(one);
    root.addEventListener('pointermove', (event) => point(place(event)[0]));
    root.addEventListener('pointerleave', () => point(null));
    root.addEventListener('click', (event) => {
      const [t, y] = place(event);
      if (t !== null && choose) choose(t, y);
    });
    return { root, x, width, left, one };
  };

  // Opens the output of a job at the line that was stored last by a time.
  const boxes = new Map();
  const showOutput = (job, t) => {
    const box = boxes.get(job);
    if (!box) return;
    box.open = true;
    // `toggle` comes later, and is too late to scroll.
    box.make();
    const stamped = [...box.querySelectorAll('[data-t]')];
    const line = stamped.filter((one) => Number(one.dataset.t) <= t).pop() || stamped[0];
    stamped.forEach((one) => one.classList.toggle('here', one === line));
    (line || box).scrollIntoView({ block: 'center', behavior: 'smooth' });
  };

  const timeline = () => {
    const jobs = run.jobs.slice(0, ROWS);
    if (!jobs.length) return;
    const chars = narrow.matches ? 13 : 24;
    const [row, top] = [24, 24];
    const height = top + jobs.length * row + 4;
    const { root, x } = axis(height, top - 6, height, 'Timeline of jobs', (t, y) => {
      const job = jobs[Math.max(0, Math.min(jobs.length - 1, Math.floor((y - top) / row)))];
      showOutput(job.job_id, t);
    });
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
    const [height, top, bottom] = [118, 22, 6];
    const most = lines.flatMap((line) => line.points).reduce((max, point) => Math.max(max, point[1]), 0);
    // Nothing was read, or nothing written.
    if (!most) return null;
    const { root, x, width, left, one } = axis(height, top, height - bottom, title);
    const y = (v) => height - bottom - (v / most) * (height - bottom - top);
    for (const part of [0, 0.5, 1]) {
      const at = y(most * part);
      root.append(svg('line', { class: 'grid', x1: left, x2: width - 10, y1: at, y2: at }),
        svg('text', { class: 'axis', x: left - 6, y: at + 4, 'text-anchor': 'end' }, show(most * part)));
    }
    for (const line of lines) {
      const color = `var(--c${line.color % 6})`;
      // Between two attempts there is no line.
      const begins = data.spans.filter((part) => part.job === line.name && part.phase.startsWith('attempt')).map((part) => part.start);
      const isNew = (at, points) => !at || begins.some((begin) => points[at - 1][0] < begin && begin <= points[at][0]);
      const d = line.points.map(([t, v], at, points) => `${isNew(at, points) ? 'M' : 'L'}${x(t).toFixed(1)} ${y(v).toFixed(1)}`).join('');
      root.append(svg('path', { d, fill: 'none', stroke: color, 'stroke-width': 1.6 }, svg('title', {}, line.name)));
      for (const [t, v] of line.points.length < 3 ? line.points : []) root.append(svg('circle', { cx: x(t), cy: y(v), r: 2.2, fill: color }));
    }
    // What the line nearest in time has there.
    const said = el('span', { class: 'faint' });
    one.say = (t) => {
      const near = lines.flatMap((line) => line.points.map(([at, v]) => ({ name: line.name, off: Math.abs(at - t), v })))
        .reduce((a, b) => (a && a.off <= b.off ? a : b), null);
      said.textContent = near ? `${show(near.v)} (${clean(near.name)}) at +${span(t - start)}` : '';
    };
    return el('div', {}, el('h3', {}, `${title} `, said), root);
  };

  const charts = () => {
    const names = Object.keys(data.samples).filter((name) => data.samples[name].length);
    if (!names.length) return;
    const box = el('div');
    const fixed = axes.length;
    const draw = (chosen) => {
      axes.length = fixed;
      const of = (key) => chosen.map((name) => ({
        name, color: names.indexOf(name), points: data.samples[name].map((point) => [point.t, point[key]]),
      }));
      const drawn = [
        chart('CPU (100 % is one core)', of('cpu'), (v) => `${v > 0 && v < 10 ? v.toFixed(1) : Math.round(v)} %`),
        chart('Resident memory', of('rss'), size), chart('Read from disk', of('read'), size),
        chart('Written to disk', of('written'), size)].filter(Boolean);
      box.replaceChildren(...drawn, drawn.length < 4 ? el('p', { class: 'faint' }, 'What was always 0 is not drawn.') : '');
    };
    const select = el('select', {
      'aria-label': 'Job',
      on: ['change', () => draw(select.value === '' ? names.slice(0, 12) : [names[Number(select.value)]])],
    }, el('option', { value: '' }, names.length > 12 ? 'the first 12 jobs' : 'all jobs'),
    names.map((name, at) => el('option', { value: at }, name)));
    draw(names.slice(0, 12));
    section('CPU, memory and I/O', names.length > 1 ? el('div', { class: 'tools' }, select) : '', box,
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
    const result = (job) => (job.error ? `${job.error.kind}: ${job.error.message}` : maybe(job.exit_code, (n) => `exit ${n}`));
    const name = (job) => el('td', { class: 'words' }, breakable(job.job_id));
    const stage = (job) => el('td', { class: 'nowrap' }, word(job.stage));
    const number = (value, show) => el('td', { class: 'num' }, maybe(value, show));
    if (narrow.matches) {
      section('Jobs', table([['Job'], ['Stage'], ['Took', 'num'], ['Peak RSS', 'num']], run.jobs, (job) => pair(
        [name(job), stage(job), number(job.duration_ms, span), number(job.max_rss_bytes, size)],
        el('div', { class: 'mono words' }, job.command), el('div', { class: job.error ? 'bad words' : 'faint words' }, result(job)),
      )).node);
      return;
    }
    const columns = [['Job'], ['Stage'], ['Result'], ['Attempt', 'num'], ['Took', 'num'], ['CPU', 'num'],
      ['Peak RSS', 'num'], ['Read', 'num'], ['Written', 'num'], ['Command']];
    section('Jobs', table(columns, run.jobs, (job) => el('tr', {}, name(job), stage(job), el('td', { class: 'text' }, result(job)),
      number(job.attempt, String), number(job.duration_ms, span), number(job.cpu_ms, span), number(job.max_rss_bytes, size),
      number(job.read_bytes, size), number(job.written_bytes, size), el('td', { class: 'text mono' }, job.command))).node);
  };

  const output = () => {
    const printed = run.jobs.filter((job) => outputs.has(job.job_id));
    if (!printed.length) return;
    const stamp = (t) => ({ class: 'stored', 'data-t': t, 'data-at': `+${span(Math.max(0, t - start))}`, title: clock(t), on: ['pointerenter', () => point(t)] });
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
        box.append(el('pre', { tabindex: 0 }, note, painted(kept.parts, stamp)));
      };
      box.make = make;
      boxes.set(job.job_id, box);
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
    const columns = [['Time', 'num'], ['Seq', 'num'], ['Type'], ['Job'], ...(narrow.matches ? [] : [['Details']])];
    const row = (event) => {
      const cells = [
        el('td', { class: 'num mono', title: event.t === null ? null : clock(event.t) },
          event.t === null ? '' : `+${((event.t - start) / 1000).toFixed(3)}`),
        el('td', { class: 'num' }, maybe(event.seq, String)),
        el('td', { class: `nowrap ${/fail|damage|abort/.test(event.kind) ? 'bad' : ''}` }, event.kind),
        el('td', { class: 'words' }, event.job ? breakable(event.job) : ''),
      ];
      if (!narrow.matches) return el('tr', {}, cells, el('td', { class: 'text mono' }, event.text));
      return pair(cells, event.text && el('div', { class: 'mono words faint' }, event.text));
    };
    const list = table(columns, data.events, row);
    const found = el('span', { class: 'faint', role: 'status' });
    const input = el('input', { type: 'search', placeholder: 'Search events', 'aria-label': 'Search events' });
    const select = el('select', { 'aria-label': 'Type' }, el('option', { value: '' }, 'all types'),
      kinds.map((kind) => el('option', { value: kind }, kind)));
    const drawn = Object.values(data.samples).some((points) => points.length) ? '; samples are in the charts above' : '';
    const choose = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = data.events.filter((event) => {
        const text = `${event.seq} ${event.kind} ${event.job || ''} ${event.text}`.toLowerCase();
        return (!select.value || event.kind === select.value) && words.every((one) => text.includes(one));
      });
      list.set(fits);
      found.textContent = `${fits.length} of ${data.events.length}${drawn}`;
    };
    input.addEventListener('input', choose);
    select.addEventListener('change', choose);
    choose();
    section('Events', el('div', { class: 'tools' }, input, select, found),
      data.events_left_out ? el('p', { class: 'faint' }, `The first ${data.events_left_out} events are left out; \`runlog replay\` shows all.`) : '',
      list.node);
  };

  const begin = () => { axes = []; boxes.clear(); };
  draw([begin, header, timeline, charts, host, jobs, output, events,
    () => footer('Times are in UTC, or relative to the start of the run.')]);
})();
