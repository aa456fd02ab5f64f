"""The real search with three workers: one is killed in the middle of a trial, and the search itself is killed and
resumed. Skipped where the program is not built."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("SRNAS_PROGRAM", ROOT / "target" / "release" / "srnas"))
BUDGET = 24

SPACE = """
[[decisions]]
name = "layers"
choices = [1, 2, 3]
[[decisions]]
name = "width"
choices = [8, 16, 32, 64]
[[decisions]]
name = "op"
choices = ["conv", "pool", "skip"]
active_if = { layers = [2, 3] }
"""

# Where the file `slow` is, everything takes its time; who began and who ended what stands in two files.
WORKER = """
import json, os, sys, time, srnas
def note(file, architecture):
    with open(file, "a") as notes:
        notes.write(json.dumps([sys.argv[2], architecture]) + "\\n")
@srnas.evaluator
def measure(architecture):
    note("began", architecture)
    time.sleep(0.1)
    while os.path.exists("slow"):
        time.sleep(0.05)
    note("ended", architecture)
    if architecture.get("op") == "pool":
        raise ValueError("no pool here")
    return {"loss": 1000 - architecture["layers"] * architecture["width"], "strange": float("nan")}
measure.main(["--id", *sys.argv[2:], "--learner", sys.argv[1]])
"""


@unittest.skipUnless(PROGRAM.is_file(), f"{PROGRAM} is not built")
class EndToEnd(unittest.TestCase):
    def setUp(self):
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "space.toml").write_text(SPACE)

    def start(self, name, *command):
        log = (self.folder / name).open("w")
        unset = ("SRNAS_TOKEN_FILE", "RUST_LOG")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        process = subprocess.Popen(
            [str(word) for word in command], cwd=self.folder, stdout=log, stderr=log, env=environment
        )
        log.close()
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def worker(self, url, name, *options):
        return self.start(f"{name}.log", sys.executable, "-c", WORKER, url, name, *options)

    def wait_for(self, name, pattern, seconds=60.0):
        until = time.monotonic() + seconds
        while True:
            text = (self.folder / name).read_text() if (self.folder / name).exists() else ""
            found = re.search(pattern, text, re.DOTALL)
            if found:
                return found
            self.assertLess(time.monotonic(), until, f"{pattern} is not in {name}:\n{text}")
            time.sleep(0.05)

    def search(self, log, *arguments):
        search = self.start(log, PROGRAM, "search", *arguments)
        return search, "http://" + self.wait_for(log, r"listening for evaluators address=(\S+)")[1]

    def begin(self, *arguments):
        new = ["--oracle", "remote", "--space", "space.toml", "--minimise", "loss", "--run-dir", "run"]
        return self.search("search.log", *new, "--listen", "127.0.0.1:0", *arguments)

    def wait_until(self, condition, seconds=60.0):
        until = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), until, self.told())
            time.sleep(0.05)

    def told(self):
        """Everything that was logged and noted, for whoever has to find out what went wrong."""
        files = [*self.folder.glob("*.log"), self.folder / "began", self.folder / "ended"]
        return "\n".join(f"--- {file.name}\n{file.read_text()}" for file in files if file.exists())

    def noted(self, file):
        """Complete lines: another may just be written."""
        path = self.folder / file
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def busy(self):
        """Who is in the middle of a trial."""
        ended = self.noted("ended")
        return {worker for worker, architecture in self.noted("began") if [worker, architecture] not in ended}

    def kept(self, table):
        with sqlite3.connect(self.folder / "run" / "ledger.sqlite") as ledger:
            return ledger.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def ends(self, process, log):
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            pass
        self.assertEqual(process.returncode, 0, (self.folder / log).read_text())

    def test_a_worker_and_the_search_are_killed(self):
        names = {"first", "second", "third"}
        slow = self.folder / "slow"
        slow.touch()
        search, url = self.begin("--budget", BUDGET, "--lease", "2s")
        first, second, third = (self.worker(url, name) for name in sorted(names))
        # All are at work before any may go on, however long one took to start.
        self.wait_until(lambda: self.busy() == names)
        slow.unlink()
        self.wait_for("search.log", " 5 measured")
        slow.touch()
        # Who went past it before it was there has ended by then.
        time.sleep(0.5)
        self.wait_until(lambda: self.busy() == names)
        third.kill()
        search.kill()
        search.wait()
        again = ["--resume", "--run-dir", "run", "--budget", BUDGET, "--listen", url[len("http://") :]]
        search, _ = self.search("resumed.log", *again)
        for name in ("first", "second"):
            self.wait_for(f"{name}.log", "attached again")
        # Each brings its work up next: what a resumed search asks for before that may be measured twice.
        time.sleep(0.5)
        slow.unlink()
        self.ends(search, "resumed.log")
        self.ends(first, "first.log")
        self.ends(second, "second.log")
        self.assertEqual(self.kept("measurements") + self.kept("infeasible"), BUDGET)
        # Each once, but what the third was at.
        begun = [str(architecture) for worker, architecture in self.noted("began") if worker != "third"]
        self.assertEqual(len(begun), len(set(begun)), self.told())
        ended = [str(architecture) for _, architecture in self.noted("ended")]
        self.assertEqual((len(ended), len(set(ended))), (BUDGET, BUDGET), self.told())

    def test_many_at_a_time_in_one_worker(self):
        search, url = self.begin("--budget", BUDGET)
        worker = self.worker(url, "only", "--parallel", "4")
        self.ends(search, "search.log")
        self.ends(worker, "only.log")
        self.assertIn(f"{BUDGET} measurements counted", (self.folder / "only.log").read_text())
        self.assertEqual(len(self.noted("began")), BUDGET)

    def test_a_worker_that_is_late(self):
        (self.folder / "slow").touch()
        search, url = self.begin("--budget", "2", "--timeout", "500ms", "--lease", "1s")
        worker = self.worker(url, "late")
        self.wait_for("late.log", "not wanted any more")
        (self.folder / "slow").unlink()
        self.ends(search, "search.log")
        self.ends(worker, "late.log")
        self.assertIn("not needed", (self.folder / "late.log").read_text())


if __name__ == "__main__":
    unittest.main()
