// What the package etcd3 for Node makes of a cluster: node node_client.cjs HOST:PORT… Prints a line a check, and ends at the
// first that does not hold.

const assert = require("node:assert/strict");
const { Etcd3 } = require("etcd3");

let held = 0;

function equal(what, got, expected) {
  assert.deepEqual(got, expected, what);
  held += 1;
  console.log(`ok      ${what}`);
}

/** Resolves with the next event of a watcher. */
const next = (watcher, event) => new Promise((resolve) => watcher.once(event, resolve));

async function data(client) {
  await client.put("a/1").value("one");
  await client.put("a/2").value("two");
  equal("get", await client.get("a/1").string(), "one");
  equal("get of nothing", await client.get("none").string(), null);
  equal("a prefix", await client.getAll().prefix("a/").strings(), { "a/1": "one", "a/2": "two" });
  equal("keys", await client.getAll().prefix("a/").sort("Key", "Descend").keys(), ["a/2", "a/1"]);
  const swap = (from, to) =>
    client.if("a/1", "Value", "==", from).then(client.put("a/1").value(to)).else(client.get("a/1")).commit();
  equal("a transaction", [(await swap("one", "uno")).succeeded, (await swap("one", "eins")).succeeded], [true, false]);
  equal("delete", (await client.delete().prefix("a/")).deleted, "2");
}

async function watches(client) {
  const watcher = await client.watch().prefix("w/").create();
  const put = next(watcher, "put");
  await client.put("w/1").value("x");
  equal("a watch: a put", (await put).value.toString(), "x");
  const gone = next(watcher, "delete");
  await client.delete().key("w/1");
  equal("a watch: a deletion", (await gone).key.toString(), "w/1");
  await watcher.cancel();
}

async function leases(client) {
  const lease = client.lease(60);
  await lease.put("leased").value("v");
  equal("what a lease holds", await client.get("leased").string(), "v");
  await lease.revoke();
  equal("a lease that was revoked", await client.get("leased").string(), null);
}

async function locks(client) {
  const within = await client.lock("door").do(async () => {
    const other = client.lock("door");
    await assert.rejects(other.acquire());
    return "inside";
  });
  equal("a lock", within, "inside");
  const again = client.lock("door");
  await again.acquire();
  await again.release();
  equal("a lock that was given back", (await client.getAll().prefix("door").keys()).length, 0);
}

async function elections(client) {
  const campaign = client.election("mayor").campaign("ada");
  await next(campaign, "elected");
  equal("who leads", await client.election("mayor").leader(), "ada");
  await campaign.resign();
}

async function users(client, hosts) {
  await client.user("root").create("secret");
  await client.role("root").create();
  await client.user("root").addRole("root");
  await client.role("reader").create();
  await client.role("reader").grant({ permission: "Read", key: "pub" });
  await client.user("ada").create("lovelace");
  await client.user("ada").addRole("reader");
  await client.put("pub").value("open");
  await client.auth.authEnable();
  const root = new Etcd3({ hosts, auth: { username: "root", password: "secret" } });
  const ada = new Etcd3({ hosts, auth: { username: "ada", password: "lovelace" } });
  equal("what a user may read", await ada.get("pub").string(), "open");
  await assert.rejects(ada.put("pub").value("shut"));
  await root.put("pub").value("ajar");
  equal("what root wrote", await ada.get("pub").string(), "ajar");
  await root.auth.authDisable();
  ada.close();
  root.close();
}

async function main(hosts) {
  const client = new Etcd3({ hosts });
  for (const ask of [data, watches, leases, locks, elections]) await ask(client);
  await users(client, hosts);
  client.close();
  console.log(`${held} passed`);
  // Its clients keep timers.
  process.exit(0);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`FAILED  ${error.stack}`);
  process.exit(1);
});
