// The lab's page. What it shows is decided by the address: #NAME?SETUP is a protocol and a run of it. Whatever is turned
// changes the address, and the address is run; so every run on this page has a link.
'use strict';

const $ = id => document.getElementById(id);
/** The numbers of every setup that have a slider: name, words, least, greatest, what it is. */
const SLIDERS = [
  ['loss', 'lost, %', 0, 100, 'How many of a hundred messages are lost'],
  ['duplicates', 'sent twice, %', 0, 100, 'How many of a hundred messages arrive twice'],
  ['crashes', 'crashes', 0, 20, 'How many crashes strike, at nodes and times that the seed draws'],
  ['partitions', 'partitions', 0, 20, 'How often a node is cut off from the others for a while'],
  ['pauses', 'pauses', 0, 20, 'How often a node stands still for a while'],
];
const CLUSTER = [
  ['nodes', 'nodes', 1, 20, 'The number of nodes'],
  ['requests', 'requests', 0, 50, 'How many requests clients put'],
  ['lasts', 'trouble, ms', 0, 20000, 'How long faults strike and requests come'],
  ['patience', 'patience, ms', 0, 60000, 'How long everything is well after that, at the most, before what is due has to have happened'],
  ['seed', 'seed', 0, 1000, 'What chance is drawn from: the same seed is the same run'],
];
const EXTRA = ['faults', 'asks'];

let catalogue = [];
let row = null;
/** The setup that is shown: names and values, all of them text. */
let setup = new Map();
/** Counts questions, so that an answer which was overtaken is not shown. */
let asked = 0;

function element(name, text, parent, kind) {
  const made = document.createElement(name);
  if (text !== '' && text !== null && text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  if (parent) parent.append(made);
  return made;
}

/** As the first words of a sentence. */
const sentence = text => text.slice(0, 1).toUpperCase() + text.slice(1);
const words = map => [...map].map(([name, value]) => `${name}=${value}`).join('&');
function read(text) {
  const map = new Map();
  for (const word of text.split(/[&\s]+/).filter(Boolean)) {
    const at = word.indexOf('=');
    map.set(at < 0 ? word : word.slice(0, at), at < 0 ? '' : word.slice(at + 1));
  }
  return map;
}

async function ask(path, parameters) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`).catch(() => {
    throw new Error('The lab does not answer. Is `quorate lab serve` still running?');
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

function listRows() {
  const wanted = $('find').value.trim().toLowerCase();
  $('rows').replaceChildren();
  let family = null;
  for (const one of catalogue) {
    if (wanted && !`${one.name} ${one.title} ${one.what} ${one.family}`.toLowerCase().includes(wanted)) continue;
    if (one.family !== family) element('h2', family = one.family, $('rows'));
    const link = element('a', one.title, $('rows'), 'row');
    link.href = `#${one.name}`;
    link.title = sentence(one.what);
    if (row && one.name === row.name) link.setAttribute('aria-current', 'page');
  }
  if (!$('rows').children.length) element('p', 'No protocol has these words.', $('rows'), 'hint');
}

function overview() {
  const body = $('overview').tBodies[0];
  body.replaceChildren();
  for (const one of catalogue) {
    const line = element('tr', '', body);
    const link = element('a', one.title, element('td', '', line));
    link.href = `#${one.name}`;
    element('td', sentence(one.what), line);
    element('td', one.claims.length, line);
    element('td', one.mutants.length, line);
    const held = one.status.find(finding => finding.startsWith('held'));
    element('td', held ? `${held.split(' ')[1]} seeds held` : 'not tested', line);
  }
}

/** Makes the control of one number. It stays while the number changes, so that a hand or a key can go on with it. */
function slider(parent, [name, text, least, greatest, what]) {
  const line = element('label', '', parent, 'slider');
  line.title = what ?? '';
  element('span', text, line);
  const range = element('input', '', line), number = element('input', '', line);
  range.type = 'range'; range.min = least; range.max = greatest; range.dataset.name = name; range.setAttribute('aria-label', text);
  number.type = 'number'; number.min = least; number.dataset.name = name; number.setAttribute('aria-label', `${text}, as a number`);
  range.addEventListener('input', () => { number.value = range.value; });
  range.addEventListener('change', () => turn(name, range.value));
  number.addEventListener('change', () => turn(name, number.value));
}

/** Changes one number, and runs. */
function turn(name, value) {
  if (value === '' || value === null) setup.delete(name); else setup.set(name, value);
  go();
}

/** Goes to the address of what is set. */
function go() {
  const hash = `#${row.name}?${words(setup)}`;
  if (location.hash === hash) run(); else location.hash = hash;
}

function showProtocol() {
  $('welcome').hidden = true;
  $('protocol').hidden = false;
  document.title = `${row.title} — Quorate's lab`;
  $('title').textContent = row.title;
  $('what').textContent = sentence(row.what);
  $('header').replaceChildren();
  for (const part of row.header_order) {
    element('dt', part, $('header'));
    element('dd', row.header[part], $('header'));
  }
  element('dt', 'Code', $('header'));
  element('dd', row.path + (row.is_in_production ? ' — the database runs this very code' : ''), $('header'));
  $('scope').replaceChildren();
  row.explorations.forEach((what, at) => { element('option', what, $('scope')).value = at + 1; });
  $('explore').disabled = $('scope').disabled = row.explorations.length === 0;
  $('findings').textContent = row.status.join('\n');
  showBook().catch(() => { $('book').hidden = true; });
  $('curves').replaceChildren();
  for (const curve of row.curves) {
    const figure = element('figure', '', $('curves'));
    const button = element('button', `Plot: ${curve.what}`, figure);
    button.type = 'button';
    button.addEventListener('click', () => {
      const image = new Image();
      button.disabled = true;
      button.textContent = `Running many seeds for each point: ${curve.what}`;
      image.alt = curve.what;
      image.addEventListener('load', () => { button.replaceWith(image); element('figcaption', curve.what, figure); });
      image.addEventListener('error', () => { button.disabled = false; button.textContent = `The plot did not come; try again: ${curve.what}`; });
      image.src = `/curve?${new URLSearchParams({ row: row.name, curve: curve.name })}`;
    });
  }
}

/** Shows what the book says of the row, folded. */
async function showBook() {
  const mine = row;
  $('book').open = false;
  const said = await ask('/book', { row: row.name });
  if (row !== mine) return;
  $('book').hidden = !said.text;
  $('book').querySelector('summary').textContent = `In the book: ${said.chapter}`;
  // The text is the binary's own.
  $('book').querySelector('div').innerHTML = said.text;
  const whole = element('a', 'The whole chapter', element('p', '', $('book').querySelector('div')));
  whole.href = said.address;
}

/** Makes the controls of the row. */
function makeControls() {
  $('scenarios').replaceChildren();
  element('legend', 'Scenarios', $('scenarios'));
  for (const scenario of row.scenarios) {
    const button = element('button', scenario.name.replaceAll('_', ' '), $('scenarios'), 'scenario');
    button.type = 'button';
    button.title = scenario.what;
    button.addEventListener('click', () => { setup = read(scenario.setup); go(); });
  }
  element('p', '', $('scenarios'), 'hint');
  $('sliders').replaceChildren();
  $('cluster').replaceChildren();
  SLIDERS.forEach(one => slider($('sliders'), one));
  const line = element('label', '', $('sliders'), 'slider');
  element('span', 'delay, ms', line);
  const delay = element('input', '', line);
  delay.type = 'text'; delay.dataset.name = 'delay'; delay.setAttribute('aria-label', 'delay, ms, such as 1-10');
  delay.addEventListener('change', () => turn('delay', delay.value));
  CLUSTER.forEach(one => slider($('cluster'), one));
  row.knobs.forEach(knob => slider($('cluster'), [knob.name, knob.name.replaceAll('_', ' '), knob.min, knob.max, knob.what]));
  $('mutant').replaceChildren();
  element('option', 'none', $('mutant')).value = '';
  row.mutants.forEach(mutant => { element('option', mutant.name, $('mutant')).value = mutant.name; });
}

/** Shows what is set. */
function showSetup() {
  const current = words(setup);
  const usual = new Map(row.knobs.map(knob => [knob.name, knob.usual]));
  const buttons = [...$('scenarios').querySelectorAll('button')];
  row.scenarios.forEach((scenario, at) => buttons[at].setAttribute('aria-pressed', scenario.setup === current));
  const shown = row.scenarios.find(scenario => scenario.setup === current);
  $('scenarios').querySelector('p').textContent = shown ? shown.what : '';
  for (const input of document.querySelectorAll('#setup [data-name]')) {
    const { name } = input.dataset;
    input.value = setup.get(name) ?? usual.get(name) ?? '';
  }
  $('mutant').value = setup.get('mutant') ?? '';
  const mutant = row.mutants.find(one => one.name === setup.get('mutant'));
  $('mutant-what').textContent = mutant ? `${mutant.what} It should break ${mutant.breaks.replaceAll('_', ' ')}.` : '';
  $('extra').value = EXTRA.filter(name => setup.has(name)).map(name => `${name}=${setup.get(name)}`).join(' ');
}

/** Draws beside the verdict what it speaks of. */
function draw(path, parameters) {
  $('diagram').hidden = $('alone').hidden = false;
  $('diagram').src = $('alone').firstElementChild.href = `${path}?${new URLSearchParams(parameters)}`;
}

function showVerdict(kind, headline, text) {
  $('verdict').className = kind;
  $('verdict').replaceChildren();
  element('strong', headline, $('verdict'));
  if (text) element('span', text, $('verdict'));
}

/** The claims, each with whether it held in this run. */
function showClaims(broken) {
  $('claims').replaceChildren();
  for (const claim of row.claims) {
    const line = element('div', '', $('claims'), `claim ${claim.name === broken ? 'broken' : broken ? 'open' : 'held'}`);
    element('span', claim.name === broken ? '✗' : broken ? '·' : '✓', line);
    element('b', claim.name.replaceAll('_', ' '), line);
    element('span', claim.what, line);
  }
}

async function run() {
  const mine = ++asked;
  showVerdict('', 'Running…');
  try {
    const said = await ask('/run', { row: row.name, setup: words(setup) });
    if (mine !== asked) return;
    const counts = Object.entries(said.counters).map(([name, count]) => `${name} ${count}`).join(', ');
    const measures = Object.entries(said.measures).map(([name, value]) => `${name} ${Math.round(value * 1000) / 1000}`).join(', ');
    if (said.broken) showVerdict('broken', `${said.broken.claim.replaceAll('_', ' ')} was broken after ${said.virtual_seconds.toFixed(3)} s`, said.broken.what);
    else showVerdict('held', 'Every claim held', [measures, counts].filter(Boolean).join('\n'));
    showClaims(said.broken && said.broken.claim);
    draw('/diagram', { row: row.name, setup: words(setup) });
  } catch (error) {
    if (mine !== asked) return;
    showVerdict('broken', 'This cannot be run', error.message);
    $('claims').replaceChildren();
    $('diagram').hidden = $('alone').hidden = true;
  }
}

/** Tries seeds from the next on, until one breaks a claim. */
async function hunt() {
  const mine = ++asked;
  const from = Number(setup.get('seed') ?? 0) + 1;
  showVerdict('', 'Looking for a seed that breaks a claim…');
  try {
    const tried = new Map(setup).set('seed', from);
    const said = await ask('/seeds', { row: row.name, setup: words(tried), count: 1000 });
    if (mine !== asked) return;
    if (said.broken) { setup = read(said.setup); go(); return; }
    showVerdict('held', `All claims held with ${said.held} seeds, from ${from}`, `It took ${said.seconds.toFixed(1)} s.`);
  } catch (error) {
    if (mine === asked) showVerdict('broken', 'This cannot be run', error.message);
  }
}

async function explore() {
  const mine = ++asked;
  const question = { row: row.name, scope: $('scope').value, mutant: setup.get('mutant') ?? '' };
  showVerdict('', 'Visiting every state…');
  $('explore').disabled = true;
  try {
    const found = await ask('/explore', question);
    if (mine !== asked) return;
    const where = `${found.nodes} nodes, ${found.what}: ${found.states.toLocaleString('en')} states, ${found.depth} steps deep, ${found.seconds.toFixed(1)} s`;
    if (found.broken) {
      const must = found.must_break === found.broken.claim ? ' This is the boundary: nobody can keep it here.' : '';
      showVerdict('broken', `${found.broken.claim.replaceAll('_', ' ')} was broken in ${found.broken.steps} steps; no fewer do`, `${found.broken.what}.${must}\n${where}`);
      showClaims(found.broken.claim);
      draw('/explore', { ...question, draw: 1 });
    } else {
      const all = found.is_exhausted ? 'Every claim held in every state' : 'Every claim held in what was seen; there is more';
      showVerdict('held', all, where);
      showClaims(null);
    }
  } catch (error) {
    if (mine === asked) showVerdict('broken', 'This cannot be explored', error.message);
  } finally {
    $('explore').disabled = false;
  }
}

/** What somebody typed may be no escape at all. */
function unescaped(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

/** Shows what the address says. */
function follow() {
  const hash = unescaped(location.hash.slice(1));
  const at = hash.indexOf('?');
  const name = at < 0 ? hash : hash.slice(0, at);
  const known = catalogue.find(one => one.name === name);
  if (!known) {
    row = null;
    $('welcome').hidden = false;
    $('protocol').hidden = true;
    document.title = "Quorate's lab";
    $('unknown').hidden = !name;
    if (name) ask('/book', { row: name }).catch(error => { $('unknown').textContent = sentence(error.message); });
    listRows();
    return;
  }
  const isOther = row !== known;
  row = known;
  setup = read(at < 0 ? row.setup : hash.slice(at + 1));
  if (isOther) { showProtocol(); makeControls(); listRows(); }
  showSetup();
  run();
}

$('find').addEventListener('input', listRows);
$('setup').addEventListener('submit', event => { event.preventDefault(); go(); });
$('next').addEventListener('click', () => turn('seed', String(Number(setup.get('seed') ?? 0) + 1)));
$('break').addEventListener('click', hunt);
$('explore').addEventListener('click', explore);
$('mutant').addEventListener('change', () => turn('mutant', $('mutant').value));
$('extra').addEventListener('change', () => {
  EXTRA.forEach(name => setup.delete(name));
  read($('extra').value).forEach((value, name) => setup.set(name, value));
  go();
});
$('copy').addEventListener('click', async () => {
  await navigator.clipboard.writeText(location.href);
  $('copy').textContent = 'Copied';
  setTimeout(() => { $('copy').textContent = 'Copy link'; }, 1500);
});
window.addEventListener('hashchange', follow);
ask('/catalogue', {}).then(rows => {
  catalogue = rows;
  listRows();
  overview();
  follow();
}).catch(error => {
  $('unknown').hidden = false;
  $('unknown').textContent = error.message;
});
