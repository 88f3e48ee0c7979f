// Draws what is in view of the model that the page carries as data (`html.rs` writes it, `model.rs` says what it means).
'use strict';
(() => {
const $ = id => document.getElementById(id);
const D = JSON.parse($('data').textContent);
const rows = D.rows.map(([at, lane, lines, view]) => ({ at, lane, lines, view }));
const arrows = D.arrows.map(([from, to, sent, ends, kind, label, fate, copy]) => ({ from, to, sent, ends, kind, label, fate, copy }));
const marks = D.marks.map(([row, lane, name, label, number]) => ({ row, lane, name, label, number }));
const states = D.states.map(([row, lane, role, label, detail]) => ({ row, lane, role, label, detail }));
const kinds = D.kinds.map(([name, timer, routine, count, shown]) => ({ name, timer, routine, count, shown: !!shown }));
const failed = D.failed.length ? { row: D.failed[0], rule: D.failed[1], what: D.failed[2] } : null;
const FATES = ['arrived', 'was still on its way when the run ended', 'was lost: the link was cut', 'was lost: the network dropped it', 'was lost: the receiver was down', 'was lost: the receiver could not read it'];
// Okabe and Ito's colours, which people tell apart whatever their eyes; shapes, dashes and words say the same.
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#b8548d', '#3a9bd9', '#c98500'];
const ROW = 15, DECADE = 9, GAP_MAX = 60, TOP = 46, AXIS = 118;
const show = { disk: true, clients: true, details: true, faults: true };
const WORDS = { disk: 'writes and syncs', clients: 'requests and answers', details: 'changes of details', faults: 'faults and notes' };
const canvas = $('canvas'), pen = canvas.getContext('2d'), scroller = $('scroller');
let ys, visible, total, zoom = 1, linear = false, width = 0, height = 0, gap = 100, ink = {};
let picked = null, hovered = null, drawn = [], boxes = [];

// The roles that are rare are drawn broad.
const lasts = D.roles.map(() => 0);
const bands = D.lanes.map(() => []);

// ---- where things lie

function isShown(mark) {
  if (mark.name === 'fire') return kinds[mark.number].shown;
  if (mark.name === 'persist') return show.disk;
  if (mark.name === 'ask' || mark.name === 'reply') return show.clients;
  if (mark.name === 'note') return show.faults;
  return true;
}

function layout() {
  const keep = scroller.scrollTop > 0 ? rowAt(scroller.scrollTop + TOP) : -1;
  visible = new Uint8Array(rows.length);
  const see = row => { if (row >= 0 && row < rows.length) visible[row] = 1; };
  for (const a of arrows) if (kinds[a.kind].shown) { see(a.sent); see(a.ends); }
  for (const m of marks) if (isShown(m)) { see(m.row); if (m.name === 'persist') see(m.number); }
  for (const s of states) if (show.details || !s.detail) see(s.row);
  for (const [, from, to] of D.spans) { see(from); see(to); }
  if (show.faults) for (const [from, to] of D.faults) { see(from); see(to); }
  if (failed) see(failed.row);
  ys = new Float64Array(rows.length);
  const start = rows.length ? rows[0].at : 0;
  // True time takes as much room as a browser lets a page have, and no more.
  const scale = rows.length ? Math.min(40 * zoom / D.delay, 1.5e7 / (rows[rows.length - 1].at - start + 1)) : 1;
  let y = TOP, last = null;
  rows.forEach((row, i) => {
    if (linear) {
      y = TOP + ROW + (row.at - start) * scale;
    } else if (visible[i]) {
      const more = last === null ? 0 : DECADE * Math.log10(1 + (row.at - last) * 10 / D.delay);
      y += (ROW + Math.min(more, GAP_MAX)) * zoom;
      last = row.at;
    }
    ys[i] = y;
  });
  total = y + 9 * ROW;
  resize();
  if (keep >= 0) scroller.scrollTop = ys[keep] - TOP;
}

const yOf = row => row < 0 ? TOP : row >= rows.length ? total - 7 * ROW : ys[row];
const xOf = lane => AXIS + gap * (lane + 0.3);

/// The first row that lies at `y` or below.
function rowAt(y) {
  let low = 0, high = rows.length;
  while (low < high) { const mid = (low + high) >> 1; if (ys[mid] < y) low = mid + 1; else high = mid; }
  return low;
}

function resize() {
  const ratio = window.devicePixelRatio || 1;
  width = Math.max(scroller.clientWidth, AXIS + D.lanes.length * 110);
  height = scroller.clientHeight;
  canvas.width = width * ratio; canvas.height = height * ratio;
  canvas.style.width = width + 'px'; canvas.style.height = height + 'px';
  $('height').style.height = Math.max(0, total - height) + 'px';
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  gap = (width - AXIS) / Math.max(1, D.lanes.length);
  const style = getComputedStyle(document.documentElement);
  for (const name of ['paper', 'ink', 'faint', 'line', 'alarm', 'alarm-paper', 'pick']) ink[name] = style.getPropertyValue('--' + name).trim();
  redraw();
}

// ---- words

function time(at) { return D.timed ? (at / 1e9).toFixed(6) + ' s' : 'step ' + at; }
function span(ns) {
  if (!D.timed) return ns + ' steps';
  if (ns < 1e3) return ns + ' ns';
  if (ns < 1e6) return (ns / 1e3).toFixed(ns < 1e4 ? 1 : 0) + ' µs';
  if (ns < 1e9) return (ns / 1e6).toFixed(ns < 1e7 ? 1 : 0) + ' ms';
  return (ns / 1e9).toFixed(2) + ' s';
}

function fitted(text, room) {
  if (pen.measureText(text).width <= room) return text;
  let low = 0, high = text.length;
  while (low < high) { const mid = (low + high + 1) >> 1; if (pen.measureText(text.slice(0, mid) + '…').width <= room) low = mid; else high = mid - 1; }
  return low > 2 ? text.slice(0, low) + '…' : '';
}

/// Writes where there is room: at `x`, `y`, and not over what was written before. Says whether it did.
function write(text, x, y, room, { colour = ink.ink, bold = false, size = 11, must = false, filled = false } = {}) {
  pen.font = `${bold ? '600 ' : ''}${size}px system-ui, "DejaVu Sans", sans-serif`;
  text = fitted(text, Math.min(room, width - x - 4));
  if (!text) return false;
  const box = [x - 2, y - size + 1, x + pen.measureText(text).width + 2, y + 3];
  if (!must && boxes.some(b => b[0] < box[2] && b[2] > box[0] && b[1] < box[3] && b[3] > box[1])) return false;
  boxes.push(box);
  if (filled) { pen.fillStyle = ink.paper; pen.fillRect(box[0], box[1], box[2] - box[0], box[3] - box[1]); }
  pen.strokeStyle = ink.paper; pen.lineWidth = 3; pen.lineJoin = 'round'; pen.strokeText(text, x, y);
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
  return true;
}

// ---- drawing

let isDue = false;
function redraw() { if (!isDue) { isDue = true; requestAnimationFrame(() => { isDue = false; draw(); }); } }

function line(x1, y1, x2, y2, colour, thick = 1, dash = []) {
  pen.strokeStyle = colour; pen.lineWidth = thick; pen.setLineDash(dash);
  pen.beginPath(); pen.moveTo(x1, y1); pen.lineTo(x2, y2); pen.stroke(); pen.setLineDash([]);
}

function draw() {
  const scroll = scroller.scrollTop, from = scroll - 60, to = scroll + height + 60;
  drawn = []; boxes = [];
  pen.fillStyle = ink.paper; pen.fillRect(0, 0, width, height);
  pen.save(); pen.translate(0, -scroll);
  if (failed) drawFailure();
  drawAxis(from, to);
  drawLanes(from, to);
  drawFaults(from, to);
  const shown = arrows.map((a, i) => i).filter(i => kinds[arrows[i].kind].shown && yOf(arrows[i].ends) >= from && yOf(arrows[i].sent) <= to);
  shown.forEach(i => drawArrow(i));
  drawStates(from, to, false);
  drawMarks(from, to);
  shown.forEach(i => labelArrow(i, scroll));
  if (show.details) drawStates(from, to, true);
  if (failed) nameFailure();
  pen.restore();
  drawHeads();
}

function drawFailure() {
  const y = yOf(failed.row), lane = rows[failed.row].lane;
  pen.fillStyle = ink['alarm-paper']; pen.fillRect(0, y - 10, width, 20);
  line(0, y - 10, width, y - 10, ink.alarm, 1.5); line(0, y + 10, width, y + 10, ink.alarm, 1.5);
  const x = lane < 0 ? AXIS : xOf(lane);
  pen.strokeStyle = ink.alarm; pen.lineWidth = 2.5;
  if (lane >= 0) { pen.beginPath(); pen.arc(x, y, 9, 0, 7); pen.stroke(); }
  // Its words come last, over all else; what would lie under them looks for another place.
  boxes.push([AXIS, y - 29, width, y - 12]);
}

function nameFailure() {
  const words = `✗ ${failed.rule}: ${failed.what}`;
  write(words, AXIS + 4, yOf(failed.row) - 16, width - AXIS - 12, { colour: ink.alarm, bold: true, size: 12, must: true, filled: true });
}

function drawAxis(from, to) {
  let last = -99, before = null;
  for (let i = rowAt(from); i < rows.length && ys[i] <= to; i++) {
    if (!visible[i]) continue;
    const y = ys[i];
    if (before !== null && !linear && rows[i].at - rows[before].at > 30 * D.delay && y - ys[before] > 24) {
      write('⋮ ' + span(rows[i].at - rows[before].at), 44, (y + ys[before]) / 2 + 4, 70, { colour: ink.faint, size: 10 });
      last = Math.min(last, y - 30);
    }
    before = i;
    if (y - last < 26) continue;
    last = y;
    line(AXIS - 8, y, AXIS - 2, y, ink.faint);
    write(time(rows[i].at), 34, y + 4, AXIS - 44, { colour: ink.faint });
  }
}

function drawLanes(from, to) {
  D.lanes.forEach((_, lane) => {
    const x = xOf(lane);
    line(x, Math.max(from, TOP), x, Math.min(to, yOf(rows.length)), ink.line, 1.5);
    bands[lane].forEach(([first, end, role]) => {
      const y1 = Math.max(yOf(first), from), y2 = Math.min(yOf(end), to);
      if (y2 <= y1) return;
      const broad = breadth(role);
      pen.fillStyle = COLOURS[role % COLOURS.length]; pen.globalAlpha = 0.5;
      pen.fillRect(x - broad / 2, y1, broad, y2 - y1); pen.globalAlpha = 1;
    });
  });
  for (const [lane, first, end, paused] of D.spans) {
    const x = xOf(lane), y1 = Math.max(yOf(first), from), y2 = Math.min(yOf(end), to);
    if (y2 < y1) continue;
    pen.fillStyle = ink.paper; pen.fillRect(x - 6, y1, 12, y2 - y1);
    if (paused) {
      pen.strokeStyle = ink.faint; pen.lineWidth = 1; pen.strokeRect(x - 5, y1, 10, y2 - y1);
      for (let y = Math.ceil(y1 / 6) * 6; y + 6 < y2; y += 6) line(x - 5, y + 6, x + 5, y, ink.faint);
    } else {
      line(x, y1, x, y2, ink.faint, 1.5, [2, 7]);
    }
  }
}

function breadth(role) {
  const most = Math.max(...lasts);
  return lasts[role] === most ? 4 : lasts[role] > most / 4 ? 7 : 10;
}

function drawFaults(from, to) {
  if (!show.faults) return;
  const ends = [];
  for (const [first, end, label] of D.faults) {
    const y1 = yOf(first), y2 = yOf(end);
    let column = ends.findIndex(free => free <= y1);
    if (column < 0) column = ends.length;
    ends[column] = Math.max(y2, y1 + 4);
    if (y2 < from || y1 > to) continue;
    const x = 5 + Math.min(column, 3) * 7;
    pen.fillStyle = ink.faint; pen.fillRect(x, y1, 5, Math.max(y2 - y1, 4));
    announce(y1, label);
  }
  for (const m of marks) if (m.name === 'note') { const y = yOf(m.row); if (y >= from && y <= to) announce(y, m.label); }
}

function announce(y, label) {
  line(AXIS, y, width, y, ink.faint, 1, [1, 5]);
  write(label, AXIS + 2, y + 4, width - AXIS - 20, { colour: ink.ink, size: 11, bold: true });
}

function drawStates(from, to, detail) {
  for (const s of states) {
    if (!!s.detail !== detail) continue;
    const y = yOf(s.row);
    if (y < from || y > to || (s.row < 0 && detail)) continue;
    const x = xOf(s.lane) + 12;
    if (detail) { write(s.label, x, y + 4, gap - 30, { colour: ink.faint, size: 10 }); continue; }
    const colour = COLOURS[s.role % COLOURS.length];
    const at = y + (s.row < 0 ? 16 : 4);
    if (write(s.label, x + 8, at, gap - 34, { bold: true })) {
      pen.fillStyle = colour; pen.fillRect(x, at - 8, 5, 9);
    }
  }
}

function ends(a) {
  const x1 = xOf(a.from), y1 = yOf(a.sent), side = a.to > a.from ? 1 : -1;
  let x2 = xOf(a.to) - side * 6, y2 = yOf(a.ends);
  if (a.fate > 1) {
    // Lost at once: a stub. Lost on arrival: almost there.
    if (a.sent === a.ends) { x2 = x1 + side * gap * 0.3; y2 = y1 + 2 + 6 * Math.abs(a.to - a.from); } else { x2 = xOf(a.to) - side * 16; }
  }
  return [x1 + side * 5, y1, x2, y2, side];
}

function drawArrow(i) {
  const a = arrows[i], [x1, y1, x2, y2, side] = ends(a);
  const isPicked = [picked, hovered].some(p => p && p.arrow === i);
  const lost = a.fate > 1;
  const colour = isPicked ? ink.pick : COLOURS[a.kind % COLOURS.length];
  pen.globalAlpha = kinds[a.kind].routine && !isPicked ? 0.55 : 1;
  line(x1, y1, x2, y2, colour, isPicked ? 2.5 : 1.3, a.copy ? [5, 4] : []);
  drawn.push([i, x1, y1, x2, y2]);
  if (lost) {
    line(x2 - 4, y2 - 4, x2 + 4, y2 + 4, ink.ink, 1.8); line(x2 - 4, y2 + 4, x2 + 4, y2 - 4, ink.ink, 1.8);
  } else if (a.fate === 0 && a.ends < rows.length) {
    const angle = Math.atan2(y2 - y1, x2 - x1);
    pen.save(); pen.translate(x2 + side * 2, y2); pen.rotate(angle);
    pen.fillStyle = colour; pen.beginPath(); pen.moveTo(0, 0); pen.lineTo(-8, -3.5); pen.lineTo(-8, 3.5); pen.fill(); pen.restore();
  } else {
    pen.strokeStyle = colour; pen.lineWidth = 1.3; pen.beginPath(); pen.arc(x2, y2, 3, 0, 7); pen.stroke();
  }
  pen.globalAlpha = 1;
}

/// Beside the receiver if there is room, and else nearer to the sender.
function labelArrow(i, scroll) {
  const a = arrows[i], [x1, y1, x2, y2, side] = ends(a);
  const isPicked = picked && picked.arrow === i;
  const reach = Math.abs(x2 - x1), slope = (y2 - y1) / (x2 - x1 || 1);
  if (a.fate > 1 && a.sent === a.ends) {
    write(`⇥ ${D.lanes[a.to]} ${a.label}`, side > 0 ? x2 + 7 : x2 - Math.min(7 + gap * 0.4, 90), y2 + 4, gap * 0.4, { colour: ink.faint, size: 10 });
    return;
  }
  for (let near = 0; near < Math.max(1, Math.round(reach / gap)); near++) {
    const left = side > 0 ? x2 - gap * (near + 1) + 18 : x2 + gap * near + 12;
    const room = gap - 34, x = left + 4;
    const y = y1 + slope * (x + room / 3 - x1) - 3;
    if (y < scroll - 20 || y > scroll + height + 20) continue;
    if (write(a.label, x, y, room, { colour: isPicked ? ink.pick : ink.ink, size: 10.5 })) return;
  }
}

function drawMarks(from, to) {
  for (const m of marks) {
    if (m.lane < 0 || !isShown(m)) continue;
    const y = yOf(m.row), x = xOf(m.lane);
    const durable = m.name === 'persist' && m.number > -2 ? yOf(m.number) : y;
    if (durable < from || y > to) continue;
    if (m.name === 'fire') {
      line(x - 9, y, x + 9, y, ink.ink, 2);
      write(m.label, x - 15 - Math.min(gap * 0.28, 80), y + 4, gap * 0.28, { size: 10 });
    } else if (m.name === 'persist') {
      line(x - 8, y, x - 8, durable, ink.ink, 1);
      pen.strokeStyle = ink.ink; pen.lineWidth = 1.3; pen.fillStyle = ink.paper;
      pen.fillRect(x - 11, y - 3, 6, 6); pen.strokeRect(x - 11, y - 3, 6, 6);
      if (m.number > -2) { pen.fillStyle = ink.ink; pen.fillRect(x - 11.5, durable - 3.5, 7, 7); }
    } else if (m.name === 'ask' || m.name === 'reply') {
      const tip = m.name === 'ask' ? x - 6 : x - 18, tail = m.name === 'ask' ? x - 18 : x - 6, d = tip > tail ? -5 : 5;
      line(tail, y, tip, y, ink.ink, 1.5); line(tip, y, tip + d, y - 3, ink.ink, 1.5); line(tip, y, tip + d, y + 3, ink.ink, 1.5);
      write(m.label, x - 24 - Math.min(gap * 0.26, 90), y + 4, gap * 0.26, { size: 10, colour: ink.faint });
    } else if (m.name === 'crash') {
      line(x - 7, y - 7, x + 7, y + 7, ink.ink, 2.5); line(x - 7, y + 7, x + 7, y - 7, ink.ink, 2.5);
      write('crash', x + 12, y + 4, gap - 30, { bold: true });
    } else if (m.name === 'boot') {
      pen.fillStyle = ink.ink; pen.beginPath(); pen.moveTo(x - 7, y - 5); pen.lineTo(x + 7, y - 5); pen.lineTo(x, y + 5); pen.fill();
    } else {
      pen.strokeStyle = ink.ink; pen.lineWidth = 1.3; pen.beginPath(); pen.arc(x, y, 4, 0, 7); pen.stroke();
    }
  }
  const row = picked && picked.row;
  if (row !== null && row !== undefined && rows[row]) {
    pen.strokeStyle = ink.pick; pen.lineWidth = 2; pen.beginPath();
    if (rows[row].lane >= 0) pen.arc(xOf(rows[row].lane), ys[row], 11, 0, 7); else pen.rect(3, ys[row] - 9, width - 6, 18);
    pen.stroke();
  }
}

function drawHeads() {
  pen.fillStyle = ink.paper; pen.fillRect(0, 0, width, 28); line(0, 28, width, 28, ink.line);
  pen.font = '600 14px system-ui, "DejaVu Sans", sans-serif'; pen.fillStyle = ink.ink; pen.textAlign = 'center';
  D.lanes.forEach((name, lane) => pen.fillText(name, xOf(lane), 19));
  pen.textAlign = 'left'; pen.font = '11px system-ui, sans-serif'; pen.fillStyle = ink.faint;
  pen.fillText(D.timed ? 'time ↓' : 'order ↓', 34, 19);
}

// ---- what is pointed at

function under(event) {
  const frame = canvas.getBoundingClientRect();
  const x = event.clientX - frame.left, y = event.clientY - frame.top + scroller.scrollTop;
  let best = null, near = 8;
  for (let i = rowAt(y - 9); i < rows.length && ys[i] <= y + 9; i++) {
    const off = Math.abs(ys[i] - y), lane = rows[i].lane;
    if (visible[i] && off < near && (lane < 0 ? x < AXIS : Math.abs(x - xOf(lane)) < 14)) { best = { row: i }; near = off; }
  }
  if (best) return best;
  near = 6;
  for (const [i, x1, y1, x2, y2] of drawn) {
    const t = Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / ((x2 - x1) ** 2 + (y2 - y1) ** 2 || 1)));
    const off = Math.hypot(x - x1 - t * (x2 - x1), y - y1 - t * (y2 - y1));
    if (off < near) { best = { arrow: i }; near = off; }
  }
  return best;
}

function element(name, text, parent, cls) {
  const made = document.createElement(name);
  made.textContent = text;
  if (cls) made.className = cls;
  parent.append(made);
  return made;
}

function viewAt(lane, row) {
  for (let i = Math.min(row, rows.length - 1); i >= 0; i--) if (rows[i].lane === lane) return rows[i].view;
  const begins = states.find(s => s.row < 0 && s.lane === lane);
  return begins ? begins.label : 'not started';
}

function tell(what) {
  const panel = $('panel');
  panel.textContent = '';
  if (!what) { element('p', 'Point at a step or a message to see what it is; click to keep it here. Arrow keys go from step to step, Escape lets go.', panel, 'hint'); return; }
  const list = texts => { const ul = element('ul', '', panel); texts.forEach(text => element('li', text, ul)); };
  let row = what.row;
  if (what.arrow !== undefined) {
    const a = arrows[what.arrow], sent = rows[a.sent], end = rows[a.ends];
    element('h2', `${D.lanes[a.from]} → ${D.lanes[a.to]}${a.copy ? ' (a second copy)' : ''}`, panel);
    list([a.label]);
    element('h2', 'Its way', panel);
    list([sent ? 'sent at ' + time(sent.at) : 'sent before what is shown',
      end ? `${FATES[a.fate]}, at ${time(end.at)}${sent ? ', after ' + span(end.at - sent.at) : ''}` : 'ends after what is shown']);
    row = Math.min(a.ends, rows.length - 1);
  } else {
    const r = rows[row];
    element('h2', `${r.lane < 0 ? 'All' : D.lanes[r.lane]}, ${time(r.at)}`, panel);
    if (failed && failed.row === row) element('p', `✗ ${failed.rule}: ${failed.what}`, panel, 'bad');
    list(r.lines);
  }
  element('h2', 'The nodes then', panel);
  list(D.lanes.map((name, lane) => `${name} is ${viewAt(lane, row) || 'down'}`));
}

function pick(what, center) {
  picked = what;
  tell(what);
  if (what && center) {
    const y = yOf(what.row !== undefined ? what.row : arrows[what.arrow].sent);
    if (center === 'always' || y < scroller.scrollTop + 60 || y > scroller.scrollTop + height - 60) scroller.scrollTop = y - height * 0.55;
  }
  redraw();
}

function step(direction) {
  let i = picked ? (picked.row !== undefined ? picked.row : arrows[picked.arrow].sent) : rowAt(scroller.scrollTop + TOP) - direction;
  for (i += direction; i >= 0 && i < rows.length; i += direction) if (visible[i]) { pick({ row: i }, 'if needed'); return; }
}

function find(word) {
  if (!word) { $('found').textContent = ''; return; }
  const wanted = word.toLowerCase();
  const has = row => row.view.toLowerCase().includes(wanted) || row.lines.some(text => text.toLowerCase().includes(wanted));
  const start = picked && picked.row !== undefined ? picked.row + 1 : 0;
  for (let n = 0; n < rows.length; n++) {
    const i = (start + n) % rows.length;
    if (has(rows[i])) { $('found').textContent = 'Enter: the next'; pick({ row: i }, 'always'); return; }
  }
  $('found').textContent = 'nowhere';
}

// ---- controls

function controls() {
  const box = $('kinds');
  const toggle = (text, get, set) => {
    const label = element('label', '', box), input = document.createElement('input');
    input.type = 'checkbox'; input.checked = get();
    input.addEventListener('change', () => { set(input.checked); layout(); });
    label.append(input, ' ' + text);
  };
  for (const timer of [0, 1]) {
    if (kinds.some(k => k.timer === timer)) element('h2', timer ? 'Timers' : 'Messages', box);
    kinds.filter(k => k.timer === timer).forEach(k => toggle(`${k.name}${k.routine ? ', routine' : ''} (${k.count})`, () => k.shown, on => { k.shown = on; }));
  }
  element('h2', 'And', box);
  Object.keys(show).forEach(name => toggle(WORDS[name], () => show[name], on => { show[name] = on; }));
  const key = [['→', 'a message; the slope is its delay'], ['┄→', 'a second copy'], ['─✕', 'lost'], ['─○', 'still on its way at the end'],
    ['▼', 'a node starts'], ['✕', 'a node crashes; it is down where its line is broken'], ['▨', 'a node stands still'], ['━', 'a timer fires'],
    ['□', 'a write'], ['■', 'it is durable'], ['▮', 'on the left: a fault lasts'], ['⋮', 'a long wait'], ['◯', 'told of a lost connection']];
  key.forEach(([sign, words]) => { const div = element('div', '', $('key')); element('b', sign, div); element('span', words, div); });
  D.roles.forEach((role, i) => {
    const div = element('div', '', $('key')), swatch = element('b', '▌', div);
    swatch.style.color = COLOURS[i % COLOURS.length]; element('span', role || 'no state', div);
  });
  const rescale = factor => { zoom = Math.max(linear ? 0.001 : 0.5, Math.min(8, zoom * factor)); layout(); };
  $('in').onclick = () => rescale(1.3); $('out').onclick = () => rescale(1 / 1.3);
  $('linear').onchange = event => { linear = event.target.checked; zoom = 1; layout(); };
  $('find').addEventListener('keydown', event => { if (event.key === 'Enter') find(event.target.value); event.stopPropagation(); });
  if ($('copy')) $('copy').onclick = () => navigator.clipboard.writeText($('command').textContent);
  if ($('to-failure')) { if (failed) $('to-failure').onclick = () => pick({ row: failed.row }, 'always'); else $('to-failure').hidden = true; }
  scroller.addEventListener('scroll', redraw, { passive: true });
  scroller.addEventListener('wheel', event => { if (event.ctrlKey) { event.preventDefault(); rescale(event.deltaY < 0 ? 1.15 : 1 / 1.15); } }, { passive: false });
  window.addEventListener('resize', resize);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', resize);
  canvas.addEventListener('mousemove', hover);
  canvas.addEventListener('mouseleave', () => { $('tip').hidden = true; hovered = null; redraw(); });
  canvas.addEventListener('click', event => pick(under(event)));
  document.addEventListener('keydown', event => {
    if (event.target.tagName === 'INPUT') return;
    const act = { ArrowDown: () => step(1), ArrowUp: () => step(-1), Escape: () => pick(null), '+': () => rescale(1.3), '-': () => rescale(1 / 1.3), '/': () => $('find').focus() }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
}

function hover(event) {
  hovered = under(event);
  const tip = $('tip');
  tip.hidden = !hovered;
  if (hovered) {
    tip.textContent = hovered.arrow !== undefined ? arrows[hovered.arrow].label + (arrows[hovered.arrow].fate ? ` (${FATES[arrows[hovered.arrow].fate]})` : '') : rows[hovered.row].lines.join('; ');
    tip.style.left = Math.min(event.clientX + 14, innerWidth - 480) + 'px';
    tip.style.top = Math.min(event.clientY + 16, innerHeight - 60) + 'px';
  }
  canvas.style.cursor = hovered ? 'pointer' : 'default';
  if (!picked) tell(hovered);
  redraw();
}

function begin() {
  // What a node is, from each change to the next, and until it crashes.
  const open = D.lanes.map(() => null);
  const events = states.map(s => [s.row, s.lane, s.role]).concat(marks.filter(m => m.name === 'crash').map(m => [m.row, m.lane, -1]));
  const close = (lane, row) => { if (open[lane]) { bands[lane].push([open[lane][0], row, open[lane][1]]); lasts[open[lane][1]] += row - open[lane][0]; } };
  events.sort((a, b) => a[0] - b[0]).forEach(([row, lane, role]) => { close(lane, row); open[lane] = role < 0 ? null : [row, role]; });
  D.lanes.forEach((_, lane) => close(lane, rows.length));
  controls();
  layout();
  if (failed) pick({ row: failed.row }, 'always');
}

begin();
})();
