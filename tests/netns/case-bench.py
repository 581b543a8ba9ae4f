#!/usr/bin/env python3
"""scripts/bench itself: what it prints has the right shape, and README's block is replaced.

The figures are not judged here: on a busy machine they mean nothing.
"""

import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
sys.path.insert(0, os.path.join(TOP, "tests", "bench"))
BUILD = os.environ.get("NBH_BIN_DIR") or os.path.join(TOP, "build")
EXPECTED = {"ice": ["agent", "gather"], "memory": ["anon-0", "pss-0", "anon-10", "pss-10", "anon-tls-0"]}

import figures  # noqa: E402


def check(condition, what):
    if not condition:
        print(f"FAILED: {what}")
        sys.exit(1)


def run():
    bench = os.path.join(TOP, "scripts", "bench")
    done = subprocess.run([bench, "--bin", BUILD, "--quick", "--only", ",".join(EXPECTED), "--json"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        print(done.stdout.strip())
        sys.exit(77)
    check(done.returncode == 0, f"status {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def check_figures(found):
    check(not found["troubles"], f"troubles: {found['troubles']}")
    lines = {line.key: line for line in figures.LINES}
    for row, keys in EXPECTED.items():
        for key in keys:
            check(lines[key].row == row and found["figures"].get(key), f"no figure {key}")
    for key, values in found["figures"].items():
        check(lines[key].row in EXPECTED, f"{key} was not asked for")
        check(all(value > 0 for value in values), f"{key}: {values}")
    check(found["figures"]["anon-0"] < found["figures"]["pss-0"], "anonymous memory is a part of all memory")


def check_tables(found):
    results = figures.Results(found["counts"])
    results.ours = found["figures"]
    results.add_official("anon-0", 20.0)
    table = figures.as_markdown(results, ["A note."]).splitlines()
    check(len(table) == 2 + len(results.ours) + 2, f"{len(table)} lines")
    check(all(line.count("|") == 7 for line in table[:-2]), "six columns everywhere")
    row = next(line for line in table if line.startswith("| anonymous") and ", 0 " in line and "TLS" not in line)
    check("| 20.0 MB |" in row and "| < 4 MB |" in row, row)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "README.md")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n")
        figures.update_readme(path, "new")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        check(text == f"before\n{figures.BEGIN}\nnew\n{figures.END}\nafter\n", text)
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        text = file.read()
    check(text.count(figures.BEGIN) == 1 and text.count(figures.END) == 1, "README.md has the marks")


def main():
    found = run()
    check_figures(found)
    check_tables(found)
    print(f"{len(found['figures'])} figures")


main()
