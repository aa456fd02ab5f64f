"""The lines that `srnas compare` speaks with a program (docs/your-own-method.md), for any optimiser that can be asked and told.

A peer is a class with

    __init__(sizes, seed, budget)   how many choices each decision has; the paid queries it may make, the start among them
    ask()                           one choice for each decision, or None if it has nothing more to propose
    tell(choices, value)            the value, to be maximised, of what it was asked for last
    add(choices, value)             the value of what it did not ask for: the start, or a random draw (below)

**Repeats.** Optimisers propose again what is measured already, in a space as small as these quite often, and a search pays for
each architecture once. So a repeat is answered from what is known, for nothing, and the peer is asked again. After `REPEATS`
in a row it is stuck: then a random architecture that was not measured takes its place, is paid for, and the peer is told of it.
"""

import json
import math
import os
import random
import sys

REPEATS = 25


class Search:
    def __init__(self, said, make):
        if said["objectives"] != 1 or said.get("limits"):
            raise SystemExit("these peers search for one objective, without limits")
        self.decisions = [d["choices"] for d in said["decisions"]]
        # A decision with one choice is none: the peer does not hear of it.
        self.free = [i for i, choices in enumerate(self.decisions) if len(choices) > 1]
        self.sizes = [len(self.decisions[i]) for i in self.free]
        # 31 bits, which every library takes.
        seed = said["seed"] % 2**31
        self.rng = random.Random(seed)
        self.peer = make(self.sizes, seed, said["budget"]) if self.sizes else None
        self.known = {}
        self.proposed = None
        self.counts = {"repeats": 0, "random": 0}

    def choices(self, architecture):
        return tuple(self.decisions[i].index(architecture[i]) for i in self.free)

    def architecture(self, choices):
        whole = [decision[0] for decision in self.decisions]
        for i, choice in zip(self.free, choices):
            whole[i] = self.decisions[i][choice]
        return whole

    def tell(self, architecture, value):
        choices = self.choices(architecture)
        self.known[choices] = value
        if self.peer:
            (self.peer.tell if choices == self.proposed else self.peer.add)(choices, value)
        self.proposed = None

    def ask(self):
        """An architecture that is not known yet; None when all are."""
        if len(self.known) >= math.prod(self.sizes):
            return None
        for _ in range(REPEATS):
            asked = self.peer.ask()
            if asked is None:
                break
            choices = tuple(int(choice) for choice in asked)
            if choices not in self.known:
                self.proposed = choices
                return self.architecture(choices)
            self.counts["repeats"] += 1
            self.peer.tell(choices, self.known[choices])
        self.counts["random"] += 1
        while (choices := tuple(self.rng.randrange(size) for size in self.sizes)) in self.known:
            pass
        return self.architecture(choices)


def serve(make, name):
    # What a library prints would be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    search = None
    for line in sys.stdin:
        said = json.loads(line)
        if said["type"] == "space":
            search = Search(said, make)
        elif said["type"] == "tell":
            search.tell(said["architecture"], said["values"][0])
        elif said["type"] == "ask":
            architecture = search.ask()
            answer = {"done": True} if architecture is None else {"architecture": architecture}
            print(json.dumps(answer), file=answers, flush=True)
        elif said["type"] == "end":
            break
    # How often it was stuck, for whoever wants to know.
    if search and (log := os.environ.get("PEERS_LOG")):
        with open(log, "a") as file:
            print(json.dumps({"peer": name, "known": len(search.known), **search.counts}), file=file)
