"""Functions as evaluators."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import unittest

from fake import FakeSearch

import srnas


@srnas.evaluator
def module_level(architecture: dict) -> float:
    """Measures widths.

    Not for real.
    """
    return architecture["width"]


class Functions(unittest.TestCase):
    def serve(self, **options):
        server = FakeSearch(**options)
        self.addCleanup(server.stop)
        return server

    def test_it_stays_a_function(self):
        self.assertEqual(module_level({"width": 3}), 3)
        self.assertEqual((module_level.__name__, module_level.__doc__[:8]), ("module_level", "Measures"))
        self.assertIs(pickle.loads(pickle.dumps(module_level)), module_level)

    def test_numbers_and_metrics(self):
        server = self.serve(work=2)
        both = srnas.evaluator(lambda a: {"loss": 0.5, "accuracy": 2} if a["width"] else 1)
        self.assertEqual(both.run(server.url), 2)
        self.assertEqual(server.answers, {0: [{"loss": 1.0}], 1: [{"loss": 0.5, "accuracy": 2.0}]})

    def test_who_gets_the_trial(self):
        def named(architecture, *, trial):
            return trial.search.seed

        def second(architecture, t):
            return t.search.seed

        def optional(architecture, trial=None):
            return trial.search.seed

        def settings(architecture, epochs=7, **more):
            return epochs

        for function in (named, second, optional, settings):
            server = self.serve()
            srnas.evaluator(function).run(server.url)
            self.assertEqual(server.answers, {0: [{"loss": 7.0}]}, function.__name__)

    def test_what_goes_wrong_is_infeasible_and_the_next_is_measured(self):
        def wrong(architecture):
            width = architecture["width"]
            if width == 0:
                raise srnas.Infeasible("too narrow")
            if width == 1:
                raise MemoryError("no room")
            return [float("nan"), None, "0.3", {"lost": 1}, {"loss": None}, 1.0][width - 2]

        server = self.serve(work=8)
        with self.assertLogs("srnas", "ERROR") as logs:
            self.assertEqual(srnas.evaluator(wrong).run(server.url), 8)
        self.assertIn("Traceback", logs.output[0])
        said = [server.answers[width][0] for width in range(8)]
        self.assertEqual(said[:3], ["too narrow", "MemoryError: no room", "its metric `loss` is nan"])
        for reason, part in zip(said[3:7], ["not a NoneType", "not a str", "there is `lost`", "TypeError"]):
            self.assertIn(part, reason)
        self.assertEqual(said[7], {"loss": 1.0})

    def test_a_long_trial_is_renewed(self):
        server = self.serve()
        srnas.evaluator(lambda architecture: time.sleep(0.5) or 1).run(server.url)
        self.assertGreaterEqual(len(server.renewals), 3)

    def test_what_is_not_wanted_is_broken_off_and_nothing_said(self):
        server = self.serve(work=2)
        server.unwanted.add(bytes([0, 1]))

        def patient(architecture, trial):
            while trial.wanted and architecture["width"] == 0:
                time.sleep(0.01)
            server.leased.pop(bytes([0, 1]), None)
            if not trial.wanted:
                raise RuntimeError("broken off")
            return 1

        srnas.evaluator(patient).run(server.url)
        self.assertEqual(server.answers, {1: [{"loss": 1.0}]})

    def test_what_is_reported_is_heard_and_what_is_stopped_early_answers_with_it(self):
        server = self.serve(work=3, also=["size"])
        server.stop_from = {1: 2}
        begun = []

        def train(architecture, trial):
            for epoch in range(1, 4):
                begun.append((architecture["width"], epoch))
                trial.report(epoch, loss=1 / epoch, size=architecture["width"])
                # No report: it does not say where it is, or what is searched.
                trial.report(float("nan"), loss=1)
                trial.report(epoch, loss=float("nan"))
            return {"loss": 0.1, "size": 7}

        self.assertEqual(srnas.evaluator(train).run(server.url), 3)
        self.assertEqual(begun, [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3)])
        self.assertEqual(server.reports[1], [(1, {"loss": 1.0, "size": 1}), (2, {"loss": 0.5, "size": 1})])
        self.assertEqual(len(server.reports[2]), 3)
        self.assertEqual(server.answers[1], [{"loss": 0.5, "size": 1.0, "stopped_at": 2.0}])
        self.assertEqual(server.answers[2], [{"loss": 0.1, "size": 7.0}])

    def test_reports_wait_for_a_search_that_does_not_answer_and_keep_no_training(self):
        import grpc

        server = self.serve()
        server.fail("Report", grpc.StatusCode.UNAVAILABLE)

        def train(architecture, trial):
            for epoch in range(3):
                trial.report(epoch, epoch + 0.5)
            with self.assertRaises(TypeError):
                trial.report(1, 0.5, loss=0.5)
            with self.assertRaises(ValueError):
                trial.report(1, accuracy=0.5)
            return 1

        began = time.monotonic()
        self.assertEqual(srnas.evaluator(train).run(server.url), 1)
        self.assertLess(time.monotonic() - began, 5)
        # The first was heard, and its answer lost.
        self.assertEqual([at for at, _ in server.reports[0]], [0, 1, 2])
        self.assertEqual(server.calls.count("Report"), 2)

    def test_many_and_large_reports_go_in_several_calls(self):
        import grpc

        server = self.serve()
        server.fail("Report", grpc.StatusCode.UNAVAILABLE)

        def train(architecture, trial):
            for epoch in range(5000):
                trial.report(epoch, loss=1, **({"x" * 600_000: 1} if epoch in (7, 9) else {}))
            trial.report(5001, loss=1, **{"x" * 2_000_000: 1})
            trial._quiet_until = 0.0
            trial.report(5002, loss=1)
            return 1

        self.assertEqual(srnas.evaluator(train).run(server.url), 1)
        # More than wait are left out, and what is too large.
        self.assertEqual([at for at, _ in server.reports[0]], list(range(4096)))
        self.assertGreater(server.calls.count("Report"), 2)

    def test_a_search_of_before_hears_nothing(self):
        server = self.serve()
        server.hears_reports = False
        srnas.evaluator(lambda architecture, trial: trial.report(1, loss=3) or 1).run(server.url)
        self.assertEqual((server.calls.count("Report"), server.answers), (0, {0: [{"loss": 1.0}]}))

    def test_parallel(self):
        server, together = self.serve(work=6), threading.Barrier(3)

        def three_at_once(architecture):
            together.wait(10)
            return 1

        self.assertEqual(srnas.evaluator(three_at_once).run(server.url, parallel=3), 6)
        self.assertEqual({width: len(said) for width, said in server.answers.items()}, dict.fromkeys(range(6), 1))
        with self.assertRaises(ValueError):
            module_level.run(server.url, parallel=0)

    def test_parallel_ends_with_its_first_failure(self):
        server = self.serve(work=6)

        def replaced(architecture):
            server.attached = dict.fromkeys(server.attached, 1)
            return 1

        with self.assertRaisesRegex(srnas.Refused, "another process"):
            srnas.evaluator(replaced).run(server.url, parallel=3)

    def test_a_search_that_is_over_is_no_error(self):
        import grpc

        server = self.serve()
        server.fail("Attach", grpc.StatusCode.OUT_OF_RANGE)
        self.assertEqual(module_level.run(server.url), 0)


PROGRAM = """
import srnas, sys, time
@srnas.evaluator
def train(architecture):
    sys.stdout.write("begun\\n")
    sys.stdout.flush()
    time.sleep(60)
train.main()
"""


class Programs(unittest.TestCase):
    def start(self, *arguments):
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Who runs the tests in the background may have them ignore the keyboard, and so would the program.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.addCleanup(program.kill)
        return program

    def test_the_keyboard_interrupts(self):
        for parallel in ("1", "2"):
            server = FakeSearch(work=2)
            program = self.start("--learner", server.url, "--parallel", parallel)
            for _ in range(int(parallel)):
                line = program.stdout.readline()
                self.assertEqual(line, "begun\n", line or program.communicate(timeout=10))
            os.kill(program.pid, signal.SIGINT)
            _, log = program.communicate(timeout=10)
            self.assertEqual((program.returncode, server.answers), (0, {}), log)
            self.assertIn("interrupted", log)
            self.assertNotIn("Traceback", log)
            server.stop()

    def test_wrong_usage_and_failure(self):
        for arguments, code, part in [
            ([], 2, "--learner"),
            (["--learner", "http://localhost:1", "--parallel", "0"], 2, "at least one"),
            (["--learner", "nowhere"], 1, "error: 'nowhere': it must have"),
            (["--learner", "http://localhost:1", "--token-file", "missing"], 1, "error: "),
            (["--learner", "http://localhost:1", "--patience", "0.3"], 1, "no search answers"),
        ]:
            program = self.start(*arguments)
            _, log = program.communicate(timeout=20)
            self.assertEqual(program.returncode, code, log)
            self.assertIn(part, log)
            self.assertNotIn("Traceback", log)


if __name__ == "__main__":
    unittest.main()
