"""etcdctl's own two trials of a cluster: of its speed, and of what it takes to hold data."""

import threading

# The one takes a minute by itself.
CHECKED_WITHIN_S = 180


def ask(node):
    said = {}

    def run(kind):
        done = node.run(f"check {kind} --load s", within_s=CHECKED_WITHIN_S)
        said[kind] = done.stdout + done.stderr

    threads = [threading.Thread(target=run, args=(kind,)) for kind in ("perf", "datascale")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Its other verdicts are on single requests, and so on the machine.
    node.tally.check(node.name, "check perf: throughput", "PASS: Throughput" in said["perf"], True)
    node.tally.check(node.name, "check datascale", "PASS: Approximate system memory used" in said["datascale"], True)
    if node.tally.failed:
        print(said)
