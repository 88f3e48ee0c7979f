#!/usr/bin/env python3
"""Opens the page of `quorate lab serve` in a real headless Chromium, and does what a reader would.

    tests/page/lab_page.py target/release/quorate

Needs Node.js with npm, and Chromium: Debian's package is installed if there is none and this is root. The driver,
playwright-core, is installed under target/.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from local_cluster import TARGET, stop_when_terminated

DRIVER = "playwright-core@1.65.1"
PAGE_WITHIN_S = 180
OPENS_WITHIN_S = 30


def chromium():
    """The browser, installed if need be."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"check": True, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], env=environment, **quiet)
        if found := shutil.which("chromium"):
            return found
    sys.exit("lab_page.py: there is no Chromium; install the package chromium")


def driver():
    """The directory of the package that drives it."""
    home = TARGET / "page-driver"
    if not (home / "node_modules" / "playwright-core").exists():
        if not shutil.which("npm"):
            sys.exit("lab_page.py: npm is missing; install Node.js 18 or later with its npm")
        home.mkdir(parents=True, exist_ok=True)
        npm = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(home), DRIVER]
        subprocess.run(npm, check=True, stdin=subprocess.DEVNULL)
    return home / "node_modules"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", help="the binary `quorate`")
    parser.add_argument("--pictures", metavar="DIRECTORY", help="leave screenshots there")
    args = parser.parse_args()
    stop_when_terminated()
    browser, modules = chromium(), driver()
    words = [args.binary, "lab", "serve", "--listen", "127.0.0.1:0"]
    lab = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        said = lab.stdout.readline()
        at = re.search(r"http://\S+", said)
        if not at:
            sys.exit(f"lab_page.py: the lab did not say where it is: {said!r}")
        script = Path(__file__).with_suffix(".cjs")
        environment = os.environ | {"NODE_PATH": str(modules), "CHROMIUM": browser, "PICTURES": args.pictures or ""}
        return subprocess.run(["node", str(script), at[0]], env=environment, timeout=PAGE_WITHIN_S).returncode
    finally:
        lab.terminate()
        lab.wait(OPENS_WITHIN_S)


if __name__ == "__main__":
    sys.exit(main())
