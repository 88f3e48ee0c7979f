#!/usr/bin/env python3
"""Asks Quorate and etcd the same by raw requests, and compares what they answer, field by field.

    tests/conformance/run.py target/release/quorate                      every case, and the page docs/ETCD.md
    tests/conformance/run.py target/release/quorate --case watch --show  those whose names begin so, and what was said
    tests/conformance/run.py --list                                      the names of the cases

No case says what is right: etcd does. Both are clusters of three nodes. What may differ from run to run (ids, terms,
measurements) is replaced before the comparison, as `transcript` tells; where Quorate is known to differ, `differences`
has the lines and the reason. The requests are those of a client without opinions, so that what a polite client would
never send is asked as well.
"""

import argparse
import difflib
import importlib
import json
import os
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tools")]
from local_cluster import ROOT, ClusterError, EtcdCluster, QuorateCluster, python_with, stop_when_terminated

PAGE = ROOT / "docs" / "ETCD.md"
PACKAGES = ("grpcio==1.85.1", "grpcio-tools==1.85.1")
NODES = 3


def in_environment():
    """Goes on in an interpreter that has gRPC."""
    if "QUORATE_CONFORMANCE" not in os.environ:
        python = str(python_with("conformance", *PACKAGES))
        os.execve(python, [python, *sys.argv], os.environ | {"QUORATE_CONFORMANCE": "1"})


def cases():
    """Every case by its name, file by file."""
    import catalogue
    for file in sorted((HERE / "cases").glob("*.py")):
        importlib.import_module(f"cases.{file.stem}")
    return catalogue.CASES


class Outcome:
    """What one case left on one server."""

    def __init__(self, server, case, methods):
        from coverage import Coverage
        from session import Session
        from transcript import Transcript
        base = server.clear()
        self.coverage = Coverage(methods.values())
        self.transcript = Transcript(server, base, self.coverage)
        session = Session(server, self.transcript, base)
        try:
            case(session)
        except Exception:
            self.transcript.note("the case itself failed:")
            self.transcript.lines += traceback.format_exc().splitlines()
        finally:
            session.close()


def on_both(servers, case, methods):
    """The outcomes of a case, both asked at the same time."""
    outcomes = [None, None]

    def run(k):
        outcomes[k] = Outcome(servers[k], case, methods)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in outcomes:
        raise ClusterError("a server could not be made ready for a case")
    return outcomes


def judge(name, ours, theirs, known):
    """Nothing if a case is as it should be, else what is wrong."""
    broken = [line for line in ours + theirs if line.startswith("# the case itself failed")]
    lines = list(difflib.unified_diff(theirs, ours, "etcd", "Quorate", lineterm="", n=3))
    changes = lines[2:]
    etcd = tuple(line[1:] for line in changes if line.startswith("-"))
    quorate = tuple(line[1:] for line in changes if line.startswith("+"))
    expected = known.get(name)
    if broken or (expected is None and lines):
        return "\n".join(lines)
    if expected is None:
        return None
    if not lines:
        return "it no longer differs: take it out of differences.py"
    if (etcd, quorate) != (tuple(expected.etcd), tuple(expected.quorate)):
        return "it differs otherwise than differences.py says:\n" + "\n".join(lines)
    return None


def ask(servers, chosen, methods, known, show):
    """Runs the cases. Returns the names of those that failed, and the rows that each covered on both."""
    failed, ours, theirs = [], {}, {}
    for name, case in chosen.items():
        began = time.monotonic()
        quorate, etcd = on_both(servers, case, methods)
        ours[name], theirs[name] = quorate.coverage.rows, etcd.coverage.rows
        wrong = judge(name, quorate.transcript.lines, etcd.transcript.lines, known)
        if show:
            print("\n".join(etcd.transcript.lines))
        verdict = "FAILED" if wrong else "differs" if name in known else "same"
        print(f"{verdict:7} {name}  ({len(etcd.transcript.lines)} lines, {time.monotonic() - began:.1f} s)")
        if wrong:
            failed.append(name)
            print("    " + wrong.replace("\n", "\n    "))
    return failed, ours, theirs


def check_page(methods, ours, theirs, known, server, write):
    """Whether the page is what this run would write; it is afterwards, if that was asked for."""
    from coverage import document
    with urllib.request.urlopen(f"http://{server.endpoints[0]}/version") as answer:
        version = json.load(answer)["etcdserver"]
    page = document(list(methods.values()), ours, theirs, known, version)
    if write:
        PAGE.write_text(page)
    found = PAGE.read_text() if PAGE.exists() else ""
    drift = list(difflib.unified_diff(found.splitlines(), page.splitlines(), "docs/ETCD.md", "this run", lineterm="", n=0))
    if drift:
        print("docs/ETCD.md has drifted; write it anew with --write-docs:\n" + "\n".join(drift[:40]))
    return not drift


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", nargs="?", help="the binary `quorate` whose `up` is asked")
    parser.add_argument("--case", default="", help="only cases whose names begin so; the page is not looked at then")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--show", action="store_true", help="print what was asked and what etcd answered")
    parser.add_argument("--write-docs", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    args = parser.parse_args()
    in_environment()
    chosen = {name: case for name, case in cases().items() if name.startswith(args.case)}
    if args.list:
        print("\n".join(chosen))
        return 0
    if args.binary is None or not chosen:
        parser.error("a binary is needed, and at least one case")
    stop_when_terminated()
    sys.stdout.reconfigure(line_buffering=True)
    from differences import DIFFERENCES
    from session import Server
    from wire import methods as all_methods
    methods = all_methods()
    with tempfile.TemporaryDirectory(prefix="quorate-conformance-") as temporary:
        with QuorateCluster(args.binary, Path(temporary) / "quorate", NODES) as ours:
            with EtcdCluster(Path(temporary) / "etcd", NODES) as theirs:
                servers = [Server("quorate", ours, methods), Server("etcd", theirs, methods)]
                failed, *rows = ask(servers, chosen, methods, DIFFERENCES, args.show)
                is_whole = not args.case and not failed
                is_true = not is_whole or check_page(methods, *rows, DIFFERENCES, servers[1], args.write_docs)
    print(f"{len(chosen) - len(failed)} as expected, {len(failed)} failed")
    return 1 if failed or not is_true else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ClusterError as error:
        sys.exit(f"run.py: {error}")
