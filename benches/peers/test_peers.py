"""That each peer keeps to the protocol, repeats by seed, and comes to an end: `python -m unittest discover benches/peers`."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE))

import bandits
import protocol
import solver

# The one in the middle is no decision.
SPACE = {"layers": ["one", "two", "three"], "head": ["only"], "activation": ["relu", "gelu"]}
VALUES = {"one": 1.0, "two": 5.0, "three": 2.0, "only": 0.0, "relu": 0.25, "gelu": 0.5}
START = ["one", "only", "relu"]


def value(architecture):
    return sum(VALUES[choice] for choice in architecture)


def searched(peer, told=(START,), space=SPACE, asks=100, seed=4_000_000_000):
    """What a peer asks for, until it says that it is done."""
    command = [sys.executable, str(HERE / "solver.py"), peer]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def say(**said):
        print(json.dumps(said), file=program.stdin, flush=True)

    decisions = [{"name": name, "choices": choices} for name, choices in space.items()]
    say(type="space", protocol=1, space="made-up", decisions=decisions, objectives=1, budget=6, seed=seed)
    for architecture in told:
        say(type="tell", architecture=architecture, values=[value(architecture)])
    asked = []
    for _ in range(asks):
        say(type="ask")
        answer = json.loads(program.stdout.readline())
        if answer.get("done"):
            break
        asked.append(answer["architecture"])
        say(type="tell", architecture=asked[-1], values=[value(asked[-1])])
    say(type="end")
    program.communicate(timeout=60)
    return asked, program.returncode


class Peers(unittest.TestCase):
    def test_every_architecture_is_asked_for_once_and_then_it_is_done(self):
        everything = {(layers, "only", act) for layers in SPACE["layers"] for act in SPACE["activation"]}
        for peer in solver.PEERS:
            with self.subTest(peer):
                asked, status = searched(peer)
                self.assertEqual(status, 0)
                # The start was told, and what is measured is never asked for again.
                self.assertEqual(sorted(map(tuple, asked)), sorted(everything - {tuple(START)}))

    def test_the_same_seed_asks_for_the_same_and_another_for_others(self):
        space = {f"d{i}": list(VALUES) for i in range(6)}
        start = ["one"] * 6
        for peer in solver.PEERS:
            with self.subTest(peer):
                one, same, other = (searched(peer, [start], space, 12, seed)[0] for seed in (7, 7, 8))
                self.assertEqual(one, same)
                self.assertNotEqual(one, other)

    def test_a_search_goes_on_and_leaves_when_it_is_told_to(self):
        for peer in solver.PEERS:
            with self.subTest(peer):
                told = [START, ["two", "only", "gelu"], ["three", "only", "gelu"]]
                asked, status = searched(peer, told, asks=1)
                self.assertEqual(status, 0)
                self.assertNotIn(asked[0], told)

    def test_nothing_to_decide(self):
        self.assertEqual(searched("tpe", [["only"]], {"head": ["only"]}), ([], 0))


class Stuck(unittest.TestCase):
    def test_repeats_are_answered_from_what_is_known_then_a_random_one_is_drawn(self):
        heard = []

        class Stubborn:
            def __init__(self, sizes, seed, budget):
                pass

            def ask(self):
                return [0, 0]

            def tell(self, choices, value):
                heard.append(("tell", choices, value))

            def add(self, choices, value):
                heard.append(("add", choices, value))

        decisions = [{"name": name, "choices": choices} for name, choices in SPACE.items()]
        search = protocol.Search({"decisions": decisions, "objectives": 1, "budget": 6, "seed": 1}, Stubborn)
        search.tell(START, 1.25)
        asked = search.ask()
        self.assertNotEqual(asked, START)
        search.tell(asked, 3.0)
        self.assertEqual(heard[0], ("add", (0, 0), 1.25))
        self.assertEqual(heard[1:-1], [("tell", (0, 0), 1.25)] * protocol.REPEATS)
        self.assertEqual(heard[-1], ("add", search.choices(asked), 3.0))

    def test_one_objective_alone(self):
        with self.assertRaises(SystemExit):
            protocol.Search({"decisions": [], "objectives": 2, "budget": 6, "seed": 1}, None)


class Bandits(unittest.TestCase):
    def test_what_is_paid_fits_into_the_budget_and_repeats_by_seed(self):
        from syne_tune.optimizer.baselines import ASHA, BOHB

        names = ["a", "b", "c"]
        notation = {(x, y, z): x + y + z for x in "123" for y in "123" for z in "123"}
        full = {written: float(written) for written in notation.values()}
        short = {written: of / 2 for written, of in full.items()}
        for make in ASHA, BOHB:
            with self.subTest(make.__name__):
                one, same = (
                    list(bandits.search(make, (names, notation), "213", 3, 6, 0.06, short, full)) for _ in range(2)
                )
                self.assertEqual(one, same)
                self.assertEqual([row[:2] for row in one[:2]], [("213", 0.06), ("213", 1.0)])
                self.assertAlmostEqual(one[-1][2], sum(row[1] for row in one))
                self.assertLessEqual(one[-1][2], 6)
                # What was trained so long is not paid for again.
                self.assertEqual(len(one), len({row[:2] for row in one}))
                self.assertEqual(one[-1][3], max(full[row[0]] for row in one if row[1] == 1.0))


class Table(unittest.TestCase):
    def test_means_of_two_folders_are_merged(self):
        head = "method,task,seed,query,architecture,incumbent,regret,cost,spent\n"
        with tempfile.TemporaryDirectory() as folder:
            one, two = pathlib.Path(folder, "one"), pathlib.Path(folder, "two")
            for place, rows in (
                (one, ["random,t,0,1,x,4,6,1,1", "random,t,0,2,y,6,4,1,2", "random,t,1,1,x,4,6,1,1", "random,t,1,2,z,9,1,1,2"]),
                (two, ["cmd:python solver.py tpe,t,0,1,x,4,6,1,1", "cmd:python solver.py tpe,t,0,2,b,10,0,1,2"]),
            ):
                place.mkdir()
                place.joinpath("results.csv").write_text(head + "\n".join(rows) + "\n")
            summary = {"problems": [{"problem": "t", "report": "t", "best": 10, "median": 5}]}
            one.joinpath("summary.json").write_text(json.dumps(summary))
            command = [sys.executable, str(HERE / "table.py"), str(one), str(two), "--at", "1,2,3"]
            means = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            paired = subprocess.run([*command, "--against", "tpe"], check=True, capture_output=True, text=True).stdout
        self.assertIn("| `random` | 2 | 1.200 [1.200, 1.200] | .500 [.200, .800] | |", means)
        self.assertIn("| `tpe` | 1 | 1.200 [1.200, 1.200] | .0000 [.0000, .0000] | |", means)
        self.assertIn("| `random` | 1 | .0000 [.0000, .0000] | .800 [.800, .800] | |", paired)


if __name__ == "__main__":
    unittest.main()
