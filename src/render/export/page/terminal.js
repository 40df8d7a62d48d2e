// Output as a terminal shows it in the end.
runlog.painted = (() => {
  const { clean, el } = runlog;

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
  const painted = (pieces, stamp) => {
    const blocks = [];
    let nodes = [];
    let block = null;
    // Lines that were stored at another time begin another block.
    const enter = (t) => {
      if (block && (t === null || block.t === t)) return;
      nodes = [];
      block = { t, nodes };
      blocks.push(block);
    };
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
    for (const [stream, text, t] of pieces) {
      if (!streams.has(stream)) streams.set(stream, { line: newLine(), classes: new Set(), isErr: stream === 'stderr' });
      const state = streams.get(stream);
      let rest = text;
      while (rest) {
        const found = ESCAPE.exec(rest);
        const look = [...state.classes].join(' ');
        put(state.line, found ? rest.slice(0, found.index) : rest, look);
        if (!found) break;
        rest = rest.slice(found.index + found[0].length);
        if (found[0] === '\n') {
          enter(t);
          add(state, true);
        } else if (found[0] === '\r') state.line.cursor = 0;
        else if (found[0] === '\b') state.line.cursor = Math.max(state.line.cursor - 1, 0);
        else if (found[2] === 'm') state.classes = sgr(found[1], state.classes);
        else if (found[2]) control(state.line, found[1], found[2]);
      }
    }
    for (const state of streams.values()) {
      if (!state.line.cells.length) continue;
      enter(null);
      add(state, false);
    }
    return blocks.map((one) => el('div', one.t === null ? {} : stamp(one.t), one.nodes));
  };

  return painted;
})();
