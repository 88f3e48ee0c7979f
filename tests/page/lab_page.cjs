// What a reader does on the lab's page: node lab_page.cjs URL. Prints a line a check, and ends at the first that does not
// hold. Whatever the browser complains of is a failure too.

const assert = require("node:assert/strict");
const { chromium } = require("playwright-core");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];

let held = 0;
function holds(what, claim) {
  assert.ok(claim, what);
  held += 1;
  console.log(`ok      ${what}`);
}

async function main(home) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });
  const context = await browser.newContext({ viewport: { width: 1400, height: 1200 } });
  const page = await context.newPage();
  const complaints = [];
  const refused = /status of 400/; // what a refused setup is answered with
  const listen = (page) => {
    page.on("console", (message) => {
      if (message.type() === "error" && !refused.test(message.text())) complaints.push(message.text());
    });
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("request", (request) => {
      if (!request.url().startsWith(home) && !request.url().startsWith("data:")) complaints.push(`asks for ${request.url()}`);
    });
  };
  listen(page);
  const picture = async (name) => {
    if (process.env.PICTURES) await page.screenshot({ path: `${process.env.PICTURES}/${name}.png` });
  };
  const verdict = () => page.locator("#verdict").innerText();
  const diagram = () => page.frameLocator("#diagram");

  await page.goto(home);
  await page.waitForSelector("a.row");
  const rows = await page.evaluate(() => fetch("/catalogue").then((answer) => answer.json()));
  holds("every protocol is on the page", (await page.locator("a.row").count()) === rows.length && rows.length > 2);
  await picture("home");

  await page.click('a.row[href="#paxos"]');
  await page.waitForSelector("#verdict.held");
  holds("Paxos runs, and its claims hold", (await page.locator(".claim.held").count()) === 3);
  await diagram().locator("#canvas").waitFor();
  holds("the run is drawn", (await diagram().locator(".extent").innerText()).includes("steps"));

  // The slider as a hand would drag it: thirty steps to the right.
  const loss = page.locator("#sliders .slider input[type=range]").first();
  await loss.focus();
  for (let step = 0; step < 30; step += 1) await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() => /[?&]loss=(4\d|3\d)/.test(location.hash));
  await page.waitForSelector("#verdict.held, #verdict.broken");
  holds("the loss that was dragged is in the address, and Paxos holds all the same", (await verdict()).includes("Every claim held"));

  await page.click("button.scenario >> text=duelling proposers");
  await page.waitForSelector("#verdict.broken");
  holds("the duel never ends", (await verdict()).includes("termination was broken"));
  await picture("duel");

  // A mutant, a seed that shows it, and the link to that very run.
  await page.goto(`${home}#paxos`);
  await page.waitForSelector("#verdict.held");
  await page.selectOption("#mutant", "ignores_what_was_accepted");
  await page.waitForFunction(() => location.hash.includes("mutant="));
  await page.waitForSelector("#verdict.held, #verdict.broken");
  if (!(await verdict()).includes("agreement")) await page.click("#break");
  await page.waitForFunction(() => document.querySelector("#verdict.broken")?.innerText.includes("agreement was broken"));
  const said = await verdict();
  holds("the mutant is caught by the claim that it breaks", said.includes("agreement was broken"));
  const colleague = await context.newPage();
  listen(colleague);
  await colleague.goto(page.url());
  await colleague.waitForSelector("#verdict.broken");
  holds("the link shows a colleague the very run", (await colleague.locator("#verdict").innerText()) === said);
  await colleague.close();

  await diagram().locator("#to-failure").click();
  const panel = diagram().locator("#panel");
  const before = await panel.innerText();
  await diagram().locator("#scroller").press("ArrowUp");
  await page.waitForFunction((before) => document.querySelector("#diagram").contentDocument.querySelector("#panel").innerText !== before, before);
  holds("the run can be stepped through, from the step that broke the claim", before.includes("agreement"));
  await picture("step");

  await page.click("#explore");
  await page.waitForFunction(() => /was broken in \d+ steps/.test(document.querySelector("#verdict").innerText));
  await page.waitForFunction(() => document.querySelector("#diagram").contentDocument?.title.includes("shortest run"));
  holds("exploration finds the shortest run, and draws it", true);
  await picture("explored");
  await page.selectOption("#mutant", "");
  await page.waitForSelector("#verdict.held");
  await page.click("#explore");
  await page.waitForFunction(() => /every state/.test(document.querySelector("#verdict.held")?.innerText ?? ""));
  holds("without the mutant every state holds", true);

  await page.goto(`${home}#two_generals?nodes=3`);
  await page.waitForFunction(() => document.querySelector("#verdict").innerText.includes("two generals"));
  holds("what is impossible is explained", (await verdict()).includes("no more and no fewer"));

  await page.goto(`${home}#paxos?nodes=3&loss=0&crashes=0&partitions=0&duplicates=0&delay=10-10&backoff=0&asks=n1@0,n3@5&lasts=13000&patience=0`);
  await page.waitForSelector("#verdict.broken");
  await page.waitForFunction(() => /\d{5} steps/.test(document.querySelector("#diagram").contentDocument?.querySelector(".extent")?.innerText));
  const steps = Number((await diagram().locator(".extent").innerText()).match(/(\d+) steps/)[1]);
  const moved = await page.evaluate(async () => {
    const inside = document.querySelector("#diagram").contentDocument;
    const scroller = inside.getElementById("scroller");
    const began = performance.now();
    for (let frame = 0; frame < 60; frame += 1) {
      scroller.scrollTop += 997;
      await new Promise((drawn) => requestAnimationFrame(drawn));
    }
    return { frames: (60 / (performance.now() - began)) * 1000, top: scroller.scrollTop };
  });
  console.log(`        ${steps} steps scroll at ${moved.frames.toFixed(0)} frames a second`);
  holds("ten thousand steps are drawn and scrolled", steps >= 10000 && moved.top > 10000);

  // A claim that breaks is told with what it promises, in the diagram too.
  await page.goto(`${home}#redlock`);
  await page.click("button.scenario >> text=a client stands still");
  await page.waitForFunction(() => document.querySelector("#verdict.broken")?.innerText.includes("exclusion"));
  await page.waitForFunction(() => document.querySelector("#diagram").contentDocument?.querySelector(".banner"));
  holds("the diagram says which claim broke, and what it promises",
    (await diagram().locator(".banner strong").innerText()) === "✗ exclusion was broken: No two nodes are inside at the same time.");
  holds("the diagram has a page of its own", (await page.locator("#alone a").getAttribute("href")).startsWith("/diagram?row=redlock"));

  // The book.
  const summary = page.locator("#book summary");
  await page.waitForFunction(() => document.querySelector("#book summary").innerText.includes("Who may act"));
  await summary.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => {
    const figures = [...document.querySelectorAll("#book img")];
    return figures.length > 0 && figures.every((figure) => figure.naturalWidth > 0);
  });
  await picture("book");
  holds("the book's words on a protocol are there, with their figures", (await page.locator("#book h2").count()) > 0);
  await page.click("#book .open a[href*=pause]");
  await page.waitForFunction(() => location.hash.startsWith("#redlock?") && location.hash.includes("pause:n4@25"));
  holds("a figure's run is a link away", true);
  await page.goto(`${home}book/consensus`);
  holds("a chapter can be read as a whole", (await page.locator("main img").count()) > 5);
  await picture("chapter");

  await page.goto(`${home}#paxso`);
  await page.waitForFunction(() => /did you mean paxos/.test(document.querySelector("#unknown").innerText));
  holds("an unknown protocol in the address suggests the nearest", true);

  // A narrow window, in the dark.
  const phone = await browser.newContext({ viewport: { width: 420, height: 900 }, colorScheme: "dark" });
  const narrow = await phone.newPage();
  listen(narrow);
  for (const place of ["", "#raft", "book/clock", "book/consensus"]) {
    await narrow.goto(home + place);
    await narrow.waitForSelector(place === "" ? "a.row" : place === "#raft" ? "#verdict.held" : "main img");
    if (place === "#raft") await narrow.frameLocator("#diagram").locator("#canvas").waitFor();
    const wide = await narrow.evaluate(() => [document, document.querySelector("iframe")?.contentDocument].filter(Boolean)
      .map((page) => page.documentElement).filter((root) => root.scrollWidth > root.clientWidth).length);
    if (process.env.PICTURES) await narrow.screenshot({ path: `${process.env.PICTURES}/narrow${place.replace(/\W/g, "_")}.png`, fullPage: true });
    holds(`a narrow window shows ${place || "the catalogue"} without scrolling sideways`, wide === 0);
  }
  await phone.close();

  assert.deepEqual(complaints, []);
  holds("the browser has nothing to complain of, and asks nobody else", true);
  await browser.close();
  console.log(`${held} passed`);
}

main(process.argv[2]).catch((error) => {
  console.error(`FAILED  ${error.stack}`);
  process.exit(1);
});
