"""Ask and tell against a search that misbehaves."""

import socket
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fake import HEARTBEAT, FakeSearch  # isort: skip

import grpc

import srnas

UNAVAILABLE, INTERNAL = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL


@contextmanager
def fake(**options):
    search = FakeSearch(**options)
    try:
        yield search
    finally:
        search.stop()


class AskTell(unittest.TestCase):
    def test_a_search_is_measured_until_it_is_over(self):
        with fake(work=3) as server, srnas.connect(server.url, id="me") as search:
            self.assertEqual((search.metric, search.minimise, search.seed), ("loss", True, 7))
            self.assertEqual((search.space, search.space_definition, search.id), ("toy.toml", "# toy", "me"))
            for trial in search:
                self.assertEqual((trial.choices[1], trial.fidelity, trial.again, trial.wanted), (1, 1.0, False, True))
                self.assertEqual(trial.notation, f"width={trial.architecture['width']},op=conv")
                self.assertIs(trial.tell(loss=trial.architecture["width"], accuracy=9), srnas.Use.COUNTED)
                self.assertFalse(trial.wanted)
            with self.assertRaises(srnas.SearchOver):
                search.ask()
        self.assertEqual(server.answers, {n: [{"loss": float(n), "accuracy": 9.0}] for n in range(3)})

    def test_a_short_training_is_named_by_its_fidelity_in_every_call(self):
        with fake(work=2, fidelities="epochs=4,40", share=0.1, amount=4) as server, srnas.connect(server.url) as search:
            self.assertEqual(search.fidelities, "epochs=4,40")
            first, second = search.ask(), search.ask()
            self.assertAlmostEqual(first.fidelity, 0.1)
            self.assertEqual((first.amount, second.amount), (4, 4))
            server.wait_for(lambda: server.renewals)
            first.tell(loss=1, resumed_from=2)
            second.tell(loss=2)
        self.assertEqual(server.answers[0], [{"loss": 1.0, "resumed_from": 2.0}])
        # What is held at the second call, the renewals, the answers.
        self.assertGreaterEqual(len(server.said_fidelities), 4)
        for fidelity in server.said_fidelities:
            self.assertAlmostEqual(fidelity, 0.1)
        with fake() as server, srnas.connect(server.url) as search:
            # A search that says no amounts.
            self.assertEqual((search.fidelities, search.ask().amount), ("", 1))

    def test_ask_waits_no_longer_than_it_may(self):
        with fake(work=0) as server, srnas.connect(server.url) as search:
            server.over_when_empty = False
            for seconds in (0, 0.2):
                began = time.monotonic()
                self.assertIsNone(search.ask(timeout=seconds))
                self.assertLess(time.monotonic() - began, seconds + 0.5)
            server.stop()
            self.assertIsNone(search.ask(timeout=0.5))

    def test_lost_answers_are_asked_for_again(self):
        with fake() as server:
            server.fail("Attach", UNAVAILABLE)
            with srnas.connect(server.url) as search:
                server.fail("Take", INTERNAL, UNAVAILABLE)
                trial = search.ask()
                self.assertTrue(trial.again)
                server.fail("Answer", UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                self.assertIs(trial.tell(loss=1), srnas.Use.COUNTED)
            self.assertEqual(server.answers, {0: [{"loss": 1.0}] * 3})

    def test_a_restarted_search_finds_what_is_measured(self):
        with fake(work=2) as server, srnas.connect(server.url) as search:
            trial, incarnations = search.ask(), dict(server.attached)
            server.stop()
            server.forget()
            with self.assertLogs("srnas", "WARNING"):
                time.sleep(3 * HEARTBEAT)
            server.start()
            server.wait_for(lambda: bytes(trial.choices) in server.leased)
            self.assertTrue(trial.wanted)
            self.assertEqual(server.attached, incarnations)
            server.forget()
            self.assertIs(trial.tell(loss=1), srnas.Use.COUNTED)
            server.forget()
            self.assertEqual(search.ask().choices[0], 1)

    def test_another_search_at_the_address_is_refused(self):
        with fake(work=2) as server, srnas.connect(server.url) as search:
            server.search_id = "other"
            server.forget()
            with self.assertRaisesRegex(srnas.Refused, "another search listens"):
                search.ask()

    def test_a_lease_is_renewed_until_it_is_told(self):
        with fake(work=2) as server, srnas.connect(server.url) as search:
            trial = search.ask()
            server.wait_for(lambda: len(server.renewals) >= 4)
            server.fail("Renew", UNAVAILABLE)
            before = len(server.renewals)
            server.wait_for(lambda: len(server.renewals) > before + 2)
            trial.tell(loss=1)
            before = len(server.renewals)
            time.sleep(4 * HEARTBEAT)
            self.assertLessEqual(len(server.renewals), before + 1)
            self.assertEqual(set(server.renewals), {bytes(trial.choices)})

    def test_what_is_held_is_said(self):
        with fake(work=2) as server, srnas.connect(server.url) as search:
            first, second = search.ask(), search.ask()
            self.assertNotEqual(first.choices, second.choices)
            self.assertEqual(server.helds, [[], [bytes(first.choices)]])

    def test_threads_that_ask_get_different_work(self):
        with fake(work=8) as server, srnas.connect(server.url) as search:
            trials = []
            threads = [threading.Thread(target=lambda: trials.append(search.ask())) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(sorted(trial.choices[0] for trial in trials), list(range(8)))
            self.assertFalse(any(trial.again for trial in trials))

    def until_unwanted(self, trial):
        deadline = time.monotonic() + 10
        while trial.wanted and time.monotonic() < deadline:
            time.sleep(HEARTBEAT)
        self.assertFalse(trial.wanted)

    def test_unwanted(self):
        with fake() as server, srnas.connect(server.url) as search:
            trial = search.ask()
            server.unwanted.add(bytes(trial.choices))
            self.until_unwanted(trial)
            server.use = 3
            self.assertIs(trial.tell(loss=1), srnas.Use.NOT_NEEDED)

    def test_the_search_ends_while_something_is_measured(self):
        with fake() as server, srnas.connect(server.url) as search:
            trial = search.ask()
            server.fail("Renew", grpc.StatusCode.OUT_OF_RANGE)
            self.until_unwanted(trial)
            # It does not wait for everybody to ask.
            server.stop()
            began = time.monotonic()
            self.assertIs(trial.tell(loss=1), srnas.Use.NOT_NEEDED)
            self.assertEqual(list(search), [])
            self.assertLess(time.monotonic() - began, 1)

    def test_infeasible_and_not_finite(self):
        with fake(work=5) as server, srnas.connect(server.url) as search:
            search.ask().infeasible("too large \udcff " + "x" * 5000)
            search.ask().tell(loss=float("nan"))
            search.ask().tell(loss=float("-inf"), accuracy=1)
            with self.assertLogs("srnas", "WARNING"):
                search.ask().tell(loss=1, accuracy=float("nan"))
            server.use = 99
            trial = search.ask()
            for wrong in ({"lost": 1}, {}, {"loss": None}, {"loss": "low"}):
                with self.assertRaises((ValueError, TypeError)):
                    trial.tell(**wrong)
            self.assertIs(trial.tell(loss=2), srnas.Use.UNKNOWN)
            with self.assertRaisesRegex(ValueError, "told before"):
                trial.tell(loss=2)
        self.assertEqual((server.answers[0][0][:12], len(server.answers[0][0])), ("too large ? ", 2000))
        self.assertEqual(server.answers[1], ["its metric `loss` is nan"])
        self.assertEqual(server.answers[2], ["its metric `loss` is -inf"])
        self.assertEqual(server.answers[3], [{"loss": 1.0}])

    def test_several_objectives_all_have_to_be_told(self):
        with fake(work=2, also=["ms"]) as server, srnas.connect(server.url, id="a") as search:
            self.assertEqual(search.metrics, ("loss", "ms"))
            trial = search.ask()
            with self.assertRaisesRegex(ValueError, "metric `ms`, and there is `loss`"):
                trial.tell(loss=1)
            trial.tell(loss=1, ms=2)
            search.ask().tell(loss=1, ms=float("nan"))
        self.assertEqual(server.answers, {0: [{"loss": 1.0, "ms": 2.0}], 1: ["its metric `ms` is nan"]})

    def test_refused_with_the_reason(self):
        with fake() as server:
            server.fail("Attach", grpc.StatusCode.FAILED_PRECONDITION)
            with self.assertRaisesRegex(srnas.Refused, "so the test wants it"):
                srnas.connect(server.url)
            with srnas.connect(server.url, id="a") as first, srnas.connect(server.url, id="a") as second:
                with self.assertRaisesRegex(srnas.Refused, "another process"):
                    first.ask()
                second.ask().tell(loss=1)
            server.fail("Attach", grpc.StatusCode.OUT_OF_RANGE)
            with self.assertRaises(srnas.SearchOver):
                srnas.connect(server.url)

    def test_a_token_is_shown(self):
        token = "0123456789abcdef"
        with fake(token=token) as server, TemporaryDirectory() as folder:
            with self.assertRaisesRegex(srnas.Refused, "asks for a token"):
                srnas.connect(server.url)
            file = Path(folder, "token")
            file.write_text(f" {token}\n")
            with srnas.connect(server.url, token_file=file) as search:
                search.ask().tell(loss=1)
            for wrong in ("short", "x" * 1025, "0123456789 abcdef", "0123456789abcdefé"):
                file.write_text(wrong)
                with self.assertRaisesRegex(ValueError, "visible ASCII"):
                    srnas.connect(server.url, token_file=file)

    def test_addresses(self):
        for wrong in ("nowhere", "ftp://host:1", "http://host", "http://:1"):
            with self.assertRaisesRegex(ValueError, "a host and a port"):
                srnas.connect(wrong)
        with self.assertRaisesRegex(ValueError, "did you mean https://host:1"):
            srnas.connect("http://host:1", tls_ca="ca.crt")
        with self.assertRaisesRegex(ValueError, "go together"):
            srnas.connect("https://host:1", tls_cert="a.crt")

    def test_who_is_no_search_is_named(self):
        answers = {
            b"HTTP/1.1 400 Bad Request\r\n\r\n": "web server",
            b"\x15\x03\x03\x00\x02\x02\x32\x00\x00": "say https://127",
            b"SSH-2.0-OpenSSH\r\n": "another program",
        }
        for answer, expected in answers.items():
            with socket.create_server(("127.0.0.1", 0)) as listener:

                def serve(listener=listener, answer=answer):
                    while True:
                        try:
                            connection, _ = listener.accept()
                        except OSError:
                            return
                        with connection:
                            connection.sendall(answer)
                            connection.recv(64)

                threading.Thread(target=serve, daemon=True).start()
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                with self.assertLogs("srnas", "WARNING"), self.assertRaisesRegex(srnas.Refused, expected):
                    srnas.connect(url, patience=20)
        server = grpc.server(ThreadPoolExecutor(1))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with self.assertRaisesRegex(srnas.Refused, "asks no evaluators.*7778"):
            srnas.connect(f"http://127.0.0.1:{port}", patience=20)
        server.stop(None)

    def test_patience_ends(self):
        with fake() as server:
            server.stop()
            with self.assertLogs("srnas", "WARNING"), self.assertRaisesRegex(srnas.Unreachable, "no search answers"):
                began = time.monotonic()
                srnas.connect(server.url, patience=3)
            # When the time is up, and not at the pause before.
            self.assertGreaterEqual(time.monotonic() - began, 3)

    def test_closing_ends_a_call_that_waits(self):
        with fake(work=0) as server:
            server.over_when_empty = False
            search = srnas.connect(server.url)
            threading.Timer(0.2, search.close).start()
            with self.assertRaisesRegex(srnas.Error, "closed"):
                search.ask()
            with self.assertRaisesRegex(srnas.Error, "closed"):
                search.ask()


if __name__ == "__main__":
    unittest.main()
