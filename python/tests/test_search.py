"""A search in this process: ask, tell, optimize."""

import json
import logging
import math
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

import srnas

SPACE = {
    "layers": [1, 2, 3],
    "width": srnas.Range(16, 128, step=16),
    "rate": srnas.Range(1e-4, 1e-1, log=True),
    "op": srnas.Choice(["conv", "pool"], active_if={"layers": [2, 3]}),
}


def loss(architecture):
    """Least at 2 layers, width 64, rate 0.01, convolutions."""
    wrong = abs(architecture["layers"] - 2) + abs(architecture["width"] - 64) / 64
    return wrong + abs(math.log10(architecture["rate"]) + 2) + (architecture.get("op") == "pool")


def loss_and_pid(architecture, trial):
    return {"loss": loss(architecture), "pid": os.getpid(), "amount": trial.amount}


def notations(search):
    return [m.notation for m in search.measurements]


def test_optimize_finds_the_best_and_repeats_by_its_seed():
    search = srnas.Search(SPACE, minimise="loss")
    best = search.optimize(loss, budget=40)
    assert len(search) == 40 and len(set(notations(search))) == 40
    assert best == search.best and best.value == min(m.value for m in search.measurements)
    assert best.value < 0.3, best
    assert best.architecture["layers"] == 2 and best.metrics == {"loss": best.value}
    again = srnas.Search(SPACE, minimise="loss")
    again.optimize(loss, budget=40)
    assert notations(again) == notations(search)
    other = srnas.Search(SPACE, minimise="loss", seed=2)
    other.optimize(loss, budget=10)
    assert notations(other) != notations(search)[:10]
    # The budget is of all calls.
    search.optimize(loss, budget=40)
    assert len(search) == 40
    assert list(search.importance())[0] in SPACE
    maximised = srnas.Search(SPACE, maximise="quality")
    maximised.optimize(lambda a: -loss(a), budget=40)
    assert notations(maximised) == notations(search)
    assert maximised.best.notation == best.notation


def test_ask_and_tell_from_whichever_thread_in_whatever_order():
    search = srnas.Search(SPACE, minimise="loss", budget=6)
    trials = [search.ask() for _ in range(4)]
    assert search.running == 4 and len({trial.notation for trial in trials}) == 4
    assert all(trial.wanted and not trial.again and trial.fidelity == trial.amount == 1 for trial in trials)
    assert repr(trials[0]) == f"Trial({trials[0].notation})"
    threads = [threading.Thread(target=trial.tell, args=[loss(trial.architecture)]) for trial in trials[:0:-1]]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (len(search), search.running) == (3, 1)
    # By its decisions, and by its notation.
    assert search.tell(trials[0].architecture, loss=0.5) is srnas.Use.COUNTED
    assert (len(search), search.running, search.measurements[-1].value) == (4, 0, 0.5)
    fifth = search.ask()
    fifth.give_up()
    assert (len(search), search.running) == (4, 0)
    assert search.tell(search.ask().notation, loss=1) is srnas.Use.COUNTED
    last = search.ask()
    # What is under way may cost nothing yet, but all of the budget may be spent with it.
    assert search.ask() is None and search.ask(timeout=0.1) is None
    assert last.tell(loss=0.1, other=3) is srnas.Use.COUNTED
    with pytest.raises(srnas.InputError, match="told before"):
        last.tell(loss=0.1)
    with pytest.raises(srnas.SearchOver, match="budget of 6 is spent"):
        search.ask()
    assert list(search) == []
    assert search.measurements[-1].metrics == {"loss": 0.1, "other": 3}


def test_a_program_with_a_loop_of_its_own():
    search = srnas.Search(SPACE, minimise="loss", budget=12)
    for trial in search:
        trial.tell(loss=loss(trial.architecture))
    assert len(search) == 12
    optimized = srnas.Search(SPACE, minimise="loss")
    optimized.optimize(loss, budget=12)
    assert notations(optimized) == notations(search)
    # Who says no budget is not stopped by one; the whole space is an end, too.
    small = srnas.Search({"a": [1, 2, 3], "b": [True, False]}, maximise="x")
    assert sum(trial.tell(trial.architecture["a"]) is srnas.Use.COUNTED for trial in small) == 6
    with pytest.raises(srnas.SearchOver, match="every architecture of the space"):
        small.ask()
    assert small.best.architecture["a"] == 3


def test_what_was_measured_elsewhere_informs_and_costs_nothing():
    search = srnas.Search(SPACE, minimise="loss", start=[{"layers": 1, "width": 32, "rate": 0.1}, "layers=2,width=64,rate=0.1,op=pool"])
    near = {"layers": 2, "width": 64, "rate": 0.01, "op": "conv"}
    assert search.tell(near, loss=0.0) is srnas.Use.COUNTED
    assert search.tell(near, loss=0.5) is srnas.Use.NOT_NEEDED
    assert search.tell({**near, "rate": 0.1}, infeasible="it burnt") is srnas.Use.COUNTED
    assert (len(search), search.spent, search.best.elsewhere) == (0, 0, True)
    asked = [search.ask().architecture for _ in range(2)]
    assert asked == [{"layers": 1, "width": 32, "rate": 0.1}, {"layers": 2, "width": 64, "rate": 0.1, "op": "pool"}]
    assert [m.infeasible for m in search.measurements] == [None, "it burnt"]


def test_a_ledger_goes_on_and_is_one_of_one_search(tmp_path):
    ledger = tmp_path / "run.sqlite"
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        search.optimize(loss, budget=10)
        waiting = [search.ask(), search.ask()]
        given_up = search.ask()
        given_up.give_up()
        with pytest.raises(srnas.Error, match="in use"):
            srnas.Search(SPACE, minimise="loss", ledger=ledger)
    with pytest.raises(srnas.Error, match="closed"):
        search.ask()
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        assert len(search) == 10
        again = [search.ask(), search.ask(), search.ask()]
        assert [t.notation for t in again[:2]] == [t.notation for t in waiting]
        assert [t.again for t in again] == [True, True, False]
    # What was asked for in another process may be told there by its name.
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        assert search.tell(waiting[1].notation, loss=3) is srnas.Use.COUNTED
        assert (len(search), search.spent) == (11, 11)
        assert search.ask().notation == waiting[0].notation
    for other, part in [
        ({"space": {**SPACE, "layers": [1, 2, 3, 4]}}, "its space, or its fidelities, were others"),
        ({"space": srnas.Space(SPACE, name="else")}, "its space is space, not else"),
        ({"minimise": "error"}, "it searches -loss, not -error"),
        ({"fidelity": "epochs=1,3"}, "its space, or its fidelities"),
    ]:
        with pytest.raises(srnas.InputError, match=part):
            srnas.Search(**{"space": SPACE, "minimise": "loss", "ledger": ledger, **other})
    (tmp_path / "text").write_text("no ledger at all, but long enough to be one" * 99)
    with pytest.raises(srnas.InputError, match="is not a ledger of srnas"):
        srnas.Search(SPACE, minimise="loss", ledger=tmp_path / "text")
    with pytest.raises(srnas.InputError, match="cannot write"):
        srnas.Search(SPACE, minimise="loss", ledger=tmp_path / "nowhere" / "run.sqlite")
    with sqlite3.connect(ledger) as file:
        assert file.execute("SELECT count(*) FROM measurements").fetchone() == (11,)


KILLED = """
import os, signal, sys, srnas
from test_search import SPACE, loss
search, done = srnas.Search(SPACE, minimise="loss", ledger="run.sqlite"), []
def measure(architecture):
    with open("begun", "a") as begun:
        begun.write(repr(architecture) + "\\n")
    done.append(1)
    if len(done) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(architecture)
search.optimize(measure, budget=20)
print(len(search))
"""


def run(program, folder, **options):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    return subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, **options)


def test_a_killed_process_loses_nothing_and_repeats_nothing(tmp_path):
    killed = run(KILLED, tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    begun = (tmp_path / "begun").read_text().splitlines()
    assert len(begun) == 8
    killed = run(KILLED, tmp_path)
    begun = (tmp_path / "begun").read_text().splitlines()
    assert len(begun) == 16 and begun[8] == begun[7], "what was being measured comes first"
    finished = run(KILLED.replace("SIGKILL", "SIGCHLD"), tmp_path)
    assert finished.stdout == "20\n", finished.stderr
    begun = (tmp_path / "begun").read_text().splitlines()
    assert len(begun) == 22 and len(set(begun)) == 20
    # As if nobody had killed it.
    straight = srnas.Search(SPACE, minimise="loss")
    straight.optimize(loss, budget=20)
    assert [str(m.architecture) for m in straight.measurements] == list(dict.fromkeys(begun))


def test_what_has_no_value_is_infeasible():
    said = iter([None, float("nan"), {"loss": None, "x": 1}, {"loss": 3, "x": None}, {"loss": float("inf")}, srnas.Infeasible("too large"), KeyError("no"), 1])

    def measure(architecture):
        value = next(said)
        if isinstance(value, Exception):
            raise value
        return value

    search = srnas.Search(SPACE, minimise="loss")
    search.optimize(measure, budget=8)
    assert [m.infeasible for m in search.measurements] == [
        "its metric `loss` is None",
        "its metric `loss` is not a number (NaN)",
        "its metric `loss` is None",
        None,
        "its metric `loss` is infinite",
        "too large",
        "KeyError: 'no'",
        None,
    ]
    assert [m.value for m in search.measurements if m.value is not None] == [3, 1]
    assert search.retry("too large") == 1 and len(search) == 7
    assert search.retry() == 5 and search.spent == 2
    failed = [search.ask().notation for _ in range(6)]
    search = srnas.Search(SPACE, minimise="loss")
    trial = search.ask()
    for wrong in ({"lost": 1}, {}, {"loss": "low"}):
        with pytest.raises((ValueError, TypeError)):
            trial.tell(**wrong)
    with pytest.raises(TypeError):
        trial.tell(1, loss=1)
    assert trial.wanted and len(failed) == len(set(failed))
    assert trial.infeasible("no " + "x" * 5000) is srnas.Use.COUNTED
    assert len(search.measurements[0].infeasible) == 2000


def test_what_failed_is_measured_again_from_a_ledger(tmp_path):
    with srnas.Search(SPACE, minimise="loss", ledger=tmp_path / "run.sqlite") as search:
        search.optimize(lambda a: None if a["layers"] == 1 else loss(a), budget=20)
        without = {m.notation for m in search.measurements if m.value is None}
        assert without and search.retry("is None") == len(without)
    with srnas.Search(SPACE, minimise="loss", ledger=tmp_path / "run.sqlite") as search:
        assert len(search) == 20 - len(without)


def test_a_function_that_does_not_work_says_so(caplog):
    search = srnas.Search(SPACE, minimise="loss")
    with pytest.raises(NameError, match="lss"):
        search.optimize(lambda a: lss(a), budget=20)  # noqa: F821
    assert len(search) == 3
    with pytest.raises(srnas.Error, match="4 measurements have no value, and no more are allowed"):
        srnas.Search(SPACE, minimise="loss").optimize(lambda a: None, budget=20, max_failures=4)
    search = srnas.Search(SPACE, minimise="loss")
    calls = []

    def sometimes(architecture):
        calls.append(1)
        if len(calls) != 2:
            raise ValueError("not this time")
        return 1.0

    search.optimize(sometimes, budget=9)
    assert len(calls) == 9
    for wrong, kind in [(dict(budget=0), "budget=0"), (dict(budget=3, parallel=0), "parallel=0"), (dict(budget=2.5), "budget=2.5")]:
        with pytest.raises(srnas.InputError, match=kind):
            search.optimize(loss, **wrong)
    with pytest.raises(srnas.InputError, match="by a function"):
        search.optimize(3, budget=20)
    with pytest.raises(srnas.InputError, match="say when it ends"):
        search.optimize(loss)


def test_threads_measure_at_once():
    together = threading.Barrier(4, timeout=20)

    def four_at_once(architecture):
        together.wait()
        return loss(architecture)

    search = srnas.Search(SPACE, minimise="loss")
    search.optimize(four_at_once, budget=24, parallel=4)
    assert len(set(notations(search))) == 24
    with pytest.raises(ZeroDivisionError):
        srnas.Search(SPACE, minimise="loss").optimize(lambda a: 1 / 0, budget=24, parallel=4)


def test_processes_measure():
    search = srnas.Search(SPACE, minimise="loss", fidelity="epochs=2,6")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        search.optimize(loss_and_pid, budget=6, parallel=2, executor=pool)
    found = search.measurements
    assert search.spent <= 6 + 1e-9 and {m.metrics["amount"] for m in found} == {2, 6}
    assert os.getpid() not in {m.metrics["pid"] for m in found}
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        srnas.Search(SPACE, minimise="loss").optimize(lambda a: 1 / 0, budget=9, executor=pool)
    copy = pickle.loads(pickle.dumps(srnas.Search(SPACE, minimise="loss").ask()))
    assert copy.architecture and copy.amount == 1
    with pytest.raises(srnas.InputError, match="a copy in another process"):
        copy.tell(1)


def reporting(architecture, trial):
    """Four epochs, each a little better; the loss is told from the first."""
    for epoch in range(1, 5):
        trial.report(epoch, loss(architecture) + 0.1 * (4 - epoch))
    return loss(architecture)


def test_what_is_reported_is_a_curve_and_what_is_surely_worse_ends_early(tmp_path):
    ledger = tmp_path / "run.sqlite"
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        assert not (tmp_path / "run.sqlite.curves").exists(), "nothing was reported"
        search.optimize(reporting, budget=6)
        whole = [m.curve for m in search.measurements]
        for m in search.measurements:
            assert [at for at, _ in m.curve] == [1, 2, 3, 4] and m.curve[-1][1] == pytest.approx(m.value)
    assert len(list((tmp_path / "run.sqlite.curves").iterdir())) == 6
    with srnas.Search(SPACE, minimise="loss", ledger=ledger, stop_early="median:after=2,of=5") as search:
        assert [m.curve for m in search.measurements] == whole
        search.optimize(reporting, budget=30, parallel=3)
        early = [m for m in search.measurements if "stopped_at" in m.metrics]
        assert early and all(m.counts and m.metrics["stopped_at"] >= 2 for m in early)
        assert all(m.curve[-1] == (m.metrics["stopped_at"], m.value) for m in early)
        # By ask and tell; a trial that fails leaves no curve.
        trial = search.ask(timeout=5)
        with pytest.raises(srnas.StoppedEarly, match="stopped early at 2") as stopped:
            trial.report(1, 1e3)
            trial.report(2, loss=1e3, note=1)
        assert stopped.value.metrics == {"loss": 1e3, "note": 1.0, "stopped_at": 2.0}
        trial.infeasible("it burns")
        assert search.measurements[-1].curve == ()
        assert len(list((tmp_path / "run.sqlite.curves").iterdir())) == 30
    for rule in ("mean", "median:of=0"):
        with pytest.raises(srnas.InputError, match="stop_early"):
            srnas.Search(SPACE, minimise="loss", stop_early=rule)


def test_an_interrupted_training_goes_on_with_its_curve_or_begins_it_anew(tmp_path):
    ledger = tmp_path / "run.sqlite"
    for first, expected in ((2.0, [1.0, 2.0]), (1.0, [1.0])):
        with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
            search.ask().report(1, 0.5)
        with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
            trial = search.ask()
            assert trial.again
            trial.report(first, 0.4)
            trial.tell(0.4)
            assert [at for at, _ in search.measurements[-1].curve] == expected


def test_what_fails_or_is_told_leaves_nothing_for_later_reports(tmp_path):
    ledger, curves = tmp_path / "run.sqlite", tmp_path / "run.sqlite.curves"
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        search.ask().report(1, 0.5)
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        # It fails before it reports anything here.
        trial = search.ask()
        trial.infeasible("it burns")
        assert list(curves.iterdir()) == [] and search.measurements[0].curve == ()
        # Told by its architecture, it is heard no more.
        trial = search.ask()
        trial.report(1, 0.5)
        search.tell(trial.architecture, loss=0.4)
        trial.report(2, 0.3)
        assert search.measurements[1].curve == ((1.0, 0.5),) and search.best == search.measurements[1]
        # What is known is not told away.
        search.tell(trial.architecture, infeasible="no")
        assert search.measurements[1].curve == ((1.0, 0.5),)
        trial = search.ask()
        trial.report(1, 0.5)
        trial.give_up()
        assert len(list(curves.iterdir())) == 1
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        assert [m.curve for m in search.measurements] == [(), ((1.0, 0.5),)]


def test_threads_of_an_executor_are_heard_and_processes_are_not():
    search = srnas.Search(SPACE, minimise="loss", stop_early="median:of=3")
    with ThreadPoolExecutor(2) as executor:
        search.optimize(reporting, budget=20, parallel=2, executor=executor)
    assert all(m.counts and m.curve for m in search.measurements)
    assert any("stopped_at" in m.metrics for m in search.measurements)
    stopped = pickle.loads(pickle.dumps(srnas.StoppedEarly("at 3", {"loss": 0.5})))
    assert (str(stopped), stopped.metrics) == ("at 3", {"loss": 0.5})
    search = srnas.Search(SPACE, minimise="loss")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        search.optimize(reporting, budget=2, executor=executor)
    assert [m.curve for m in search.measurements] == [(), ()]


def test_shorter_trainings_go_on_where_they_ended():
    search = srnas.Search(SPACE, minimise="loss", fidelity="epochs=2,6")
    assert search.fidelities == "epochs=2,6"
    done = {}

    def measure(architecture, trial):
        before = done.get(trial.notation, 0)
        done[trial.notation] = trial.amount
        return {"loss": loss(architecture) + 0.1 / trial.amount, "resumed_from": before}

    search.optimize(measure, budget=10)
    full = [m for m in search.measurements if m.full]
    assert any(m.cost < 0.7 for m in full) and len(search) > 12 and search.spent <= 10 + 1e-9
    assert search.best.trained == 6


def test_several_objectives_and_limits():
    def measure(a):
        return {"loss": loss(a), "ms": a["width"] * a["layers"] / 10, "mb": a["width"] / 10}

    search = srnas.Search(SPACE, minimise=["loss", "ms"], require="mb <= 9")
    search.optimize(measure, budget=30)
    assert search.metrics == ("loss", "ms", "mb")
    front = search.front
    assert len(front) > 1 and all(m.metrics["mb"] <= 9 for m in front)
    for m in front:
        assert not any(o.metrics["loss"] < m.metrics["loss"] and o.metrics["ms"] < m.metrics["ms"] for o in front)
    reward = srnas.Search(SPACE, maximise="quality*(ms/10)^-0.07")
    reward.optimize(lambda a: {"quality": 9 - loss(a), "ms": a["width"]}, budget=5)
    assert reward.best.value == pytest.approx(reward.best.metrics["quality"] * (reward.best.metrics["ms"] / 10) ** -0.07)
    assert len(reward.front) == 1


def test_a_search_ends_when_it_is_enough():
    search = srnas.Search(SPACE, minimise="loss")
    search.optimize(loss, budget=200, stop_when="loss <= 1")
    assert len(search) < 60 and search.best.value <= 1
    n = len(search)
    search.optimize(loss, budget=200, stop_when=["loss <= 1"])
    assert len(search) == n
    search.optimize(loss, budget=200, no_gain=5)
    assert len(search) < 200
    n = len(search)
    began = time.monotonic()
    search.optimize(lambda a: time.sleep(0.05) or loss(a), budget=200, time_limit=0.3)
    assert n < len(search) < 200 and time.monotonic() - began < 5
    search.optimize(loss, budget=n + 20)
    assert len(search) == max(n + 20, len(search))


def test_methods_and_what_earlier_searches_say(tmp_path):
    for method in ("random", "evolution:population=5", "gp", "local", "mobo"):
        search = srnas.Search(SPACE, minimise="loss", method=method)
        search.optimize(loss, budget=15, parallel=2)
        assert len(set(notations(search))) == 15, method
    with srnas.Search(SPACE, minimise="loss", ledger=tmp_path / "before.sqlite") as before:
        before.optimize(loss, budget=30)
        best = before.best.value
    after = srnas.Search(SPACE, minimise="error", past=tmp_path / "before.sqlite")
    after.optimize(lambda a: 2 * loss(a) + 1, budget=3)
    assert after.best.value < 2 * best + 2
    transfer = srnas.Search(SPACE, minimise="error", past=[tmp_path / "before.sqlite"], method="transfer-gp")
    transfer.optimize(lambda a: 2 * loss(a) + 1, budget=5)
    for wrong, part in [
        ({"past": tmp_path / "nothing"}, "neither a ledger nor a run directory"),
        ({"method": "evolve"}, "unknown method `evolve`"),
        ({"method": "transfer-gp"}, "learns from past tasks"),
        ({"policy": tmp_path / "none"}, "none"),
        ({"minimise": []}, "say which metric"),
        ({"maximise": "loss"}, "an objective twice"),
        ({"require": "ms < 3"}, "is no limit"),
        ({"fidelity": "epochs"}, "fidelity=epochs"),
        ({"fidelity": "epochs=0,27"}, "a training of nothing"),
        ({"seed": -1}, "seed=-1"),
        ({"budget": "many"}, "budget='many'"),
        ({"minimise": [3]}, "minimise="),
        ({"start": [{"layers": 9}]}, "layers"),
        ({"start": [3]}, "an architecture is"),
    ]:
        with pytest.raises(srnas.InputError, match=part):
            srnas.Search(**{"space": SPACE, "minimise": "loss", **wrong})


INTERRUPTED = """
import sys, time, srnas
from test_search import SPACE, loss
search = srnas.Search(SPACE, minimise="loss", ledger="run.sqlite")
def measure(architecture):
    if len(search) >= 5:
        sys.stdout.write("slow" + chr(10))
        sys.stdout.flush()
        time.sleep(60)
    return loss(architecture)
try:
    search.optimize(measure, budget=20, parallel={parallel})
except KeyboardInterrupt:
    taken_up = search.ask()
    print("interrupted", len(search), search.running, taken_up.again, flush=True)
"""


@pytest.mark.parametrize("parallel", [1, 3])
def test_the_keyboard_interrupts(tmp_path, parallel):
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    program = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.replace("{parallel}", str(parallel))],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who runs the tests in the background may have them ignore the keyboard, and so would the program.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        for _ in range(parallel):
            assert program.stdout.readline() == "slow\n"
        began = time.monotonic()
        program.send_signal(signal.SIGINT)
        out, error = program.communicate(timeout=20)
        assert time.monotonic() - began < 10
    finally:
        program.kill()
    assert out.split()[0] == "interrupted" and out.split()[2:] == ["1", "True"], (out, error)
    assert program.returncode == 0 and 5 <= int(out.split()[1]) < 8
    with srnas.Search(SPACE, minimise="loss", ledger=tmp_path / "run.sqlite") as search:
        assert [search.ask().again for _ in range(parallel + 1)] == [True] * parallel + [False]


def test_python_goes_on_while_a_proposal_is_computed():
    space = {f"d{i}": ["a", "b", "c", "d", "e"] for i in range(60)}
    search = srnas.Search(space, minimise="loss")
    search.optimize(lambda a: sum("abcde".index(v) * math.sin(i) for i, v in enumerate(a.values())), budget=60)
    ticks, over = [], threading.Event()

    def tick():
        while not over.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.0005)

    thread = threading.Thread(target=tick)
    thread.start()
    spans = []
    for _ in range(5):
        began = time.monotonic()
        trial = search.ask()
        spans.append((began, time.monotonic()))
        trial.tell(1.0)
    over.set()
    thread.join()
    inside = sum(any(began < t < ended for began, ended in spans) for t in ticks)
    assert inside > 5, (inside, spans)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_is_told_that_the_search_is_not_its_own(tmp_path):
    program = """
        import os, srnas
        search = srnas.Search({"a": [1, 2, 3]}, minimise="loss", ledger="run.sqlite")
        trial = search.ask()
        child = os.fork()
        if child == 0:
            try:
                trial.tell(1.0)
            except srnas.Error as error:
                os._exit(7 if "was forked from it" in str(error) else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        trial.tell(1.0)
        assert len(search) == 1
        """
    done = run(textwrap.dedent(program), tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_search_is_seen(caplog):
    search = srnas.Search({"a<b": [1, 2, 3], "loss": ["<script>", "x"], "n": srnas.Range(1, 9)}, minimise="loss")
    assert "0 measured" in repr(search) and "<table>" in search._repr_html_()
    with caplog.at_level(logging.INFO, "srnas"):
        search.optimize(lambda a: None if a["n"] == 3 else {"loss": a["n"], "extra": 2}, budget=20)
    assert any("counted" in record.message for record in caplog.records)
    assert "best 1" in repr(search)
    html = search._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html and "a&lt;b" in html
    pandas = pytest.importorskip("pandas")
    frame = search.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and len(frame) == 20 and frame.index[0] == 1
    assert list(frame.columns) == ["a<b", "loss", "n", "metric loss", "extra", "infeasible", "breaks", "trained", "cost", "elsewhere"]
    assert (frame["metric loss"].dropna() == frame.dropna(subset=["metric loss"])["n"]).all()


def test_a_search_is_plotted():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("svg")
    search = srnas.Search(SPACE, minimise="loss")
    search.optimize(loss, budget=10)
    axes = search.plot()
    step = axes.lines[1].get_ydata()
    assert min(step) == step[-1] == search.best.value
    both = srnas.Search(SPACE, minimise=["loss", "ms"])
    both.optimize(lambda a: {"loss": loss(a), "ms": a["width"]}, budget=10)
    assert both.plot(ax=axes) is axes and axes.get_ylabel() == "ms"


def test_spaces_in_python_are_those_in_files(tmp_path):
    space = srnas.Space(
        {
            "layers": (1, 2),
            "width1": srnas.Choice([4, 8, 16], ordered=True),
            "width2": srnas.Choice([4, 8, 16], ordered=True, active_if={"layers": 2}),
            "rate": srnas.Range(0.01, 0.1, levels=4),
            "op": ['quo"te', "ümlaut", "back\\slash"],
            "wide": srnas.Range(1, 100, log=True, ordered=False),
            "flag": [True, False],
        },
        require=["width1 * width2 <= 128", "layers >= 1"],
        forbid=[{"rate": 0.1, "flag": [True]}],
        interchangeable=[["width1", "width2"]] if False else [],
        name="mine",
    )
    (tmp_path / "space.toml").write_text(space.to_toml())
    loaded = srnas.Space.load(tmp_path / "space.toml")
    assert loaded.decisions == space.decisions and loaded.name == "mine" and loaded.to_toml() == space.to_toml()
    assert space.decisions["op"] == ['quo"te', "ümlaut", "back\\slash"] and space.decisions["flag"] == [True, False]
    assert len(space.decisions["rate"]) == 4 and space.size == 2 * 3 * 3 * 4 * 3 * len(space.decisions["wide"]) * 2
    assert pickle.loads(pickle.dumps(space)).decisions == space.decisions
    for given in (space, tmp_path / "space.toml", str(tmp_path / "space.toml")):
        searches = srnas.Search(given, minimise="loss")
        searches.optimize(lambda a: a["width1"] * a["rate"], budget=20)
        assert notations(searches) == notations(srnas_search_of(space))
    assert all(m.architecture.get("width2", 1) * m.architecture["width1"] <= 128 for m in searches.measurements)
    assert srnas.Space.load("nb201").size == 15625
    for wrong, part in [
        ({}, "decisions by name"),
        ({"a": "abc"}, "a list of choices"),
        ({"a": [1, None]}, "neither a number"),
        ({"a": [float("nan")]}, "is no choice"),
        ({"a": []}, "a"),
        ({"a": [1, 1]}, "1"),
        ({"a": srnas.Range(3, 1)}, "a"),
        ({"a": srnas.Choice([1, 2], active_if={"b": 1})}, "active_if of `a`"),
        ({"a": srnas.Choice([1, 2], active_if=["b"])}, "active_if of `a`"),
        ("nowhere.toml", "there is no file nowhere.toml, and no space of that name"),
        (7, "a space is a dict"),
    ]:
        with pytest.raises(srnas.InputError, match=part):
            srnas.Search(wrong, minimise="loss")
    with pytest.raises(srnas.InputError, match="width"):
        srnas.Space({"a": [1, 2]}, require="width <= 3")


def srnas_search_of(space):
    search = srnas.Search(space, minimise="loss")
    search.optimize(lambda a: a["width1"] * a["rate"], budget=20)
    return search


def test_a_configspace_is_a_space(tmp_path):
    hyperparameters = [{"name": "depth", "type": "uniform_int", "lower": 1, "upper": 4, "default_value": 2, "log": False}]
    text = json.dumps({"name": "cs", "hyperparameters": hyperparameters, "conditions": [], "forbiddens": []})
    (tmp_path / "cs.json").write_text(text)
    search = srnas.Search(tmp_path / "cs.json", maximise="x")
    assert search.space.decisions == {"depth": [1, 2, 3, 4]}
    assert search.optimize(lambda a: a["depth"], budget=9).value == 4


def test_numbers_of_other_libraries_are_numbers():
    numpy = pytest.importorskip("numpy")
    search = srnas.Search({"a": numpy.array([1, 2, 4]).tolist(), "b": [numpy.float64(0.5), numpy.int64(3)]}, minimise="loss")
    search.optimize(lambda a: numpy.float32(a["a"]), budget=numpy.int64(4))
    assert len(search) == 4
    assert search.tell({"a": numpy.int64(4), "b": numpy.float64(0.5)}, numpy.float64(1)) in srnas.Use


def test_random_calls_from_many_threads_leave_it_whole(tmp_path):
    with srnas.Search(SPACE, minimise="loss", ledger=tmp_path / "run.sqlite", budget=60) as search:

        def work(seed):
            draw = random.Random(seed)
            while True:
                try:
                    trial = search.ask(timeout=0.05)
                except srnas.SearchOver:
                    return
                if trial is None:
                    continue
                what = draw.random()
                if what < 0.2:
                    trial.give_up(take_up=draw.random() < 0.5)
                elif what < 0.3:
                    trial.infeasible("no")
                else:
                    search.tell(trial if what < 0.6 else trial.architecture, loss(trial.architecture))

        threads = [threading.Thread(target=work, args=[seed]) for seed in range(8)]
        [thread.start() for thread in threads]
        [thread.join(20) for thread in threads]
        assert not any(thread.is_alive() for thread in threads)
        assert len(search) == 60 and search.running == 0
        assert len(set(notations(search))) == 60
    with sqlite3.connect(tmp_path / "run.sqlite") as file:
        assert file.execute("SELECT count(*) FROM answers").fetchone() == (60,)


def test_a_space_of_ones_own_is_kept_beside_the_ledger(tmp_path):
    ledger, beside = tmp_path / "run.sqlite", tmp_path / "run.sqlite.space.toml"
    with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
        assert beside.read_text() == search.space.to_toml()
    # Of another ledger of this name, and gone: it is as the ledger's.
    for left in ("nothing of this", None):
        beside.unlink() if left is None else beside.write_text(left)
        with srnas.Search(SPACE, minimise="loss", ledger=ledger) as search:
            assert beside.read_text() == search.space.to_toml()
    with srnas.Search("nb201", minimise="loss", ledger=tmp_path / "known.sqlite"):
        assert not (tmp_path / "known.sqlite.space.toml").exists()


def test_a_database_that_searches_share_is_for_the_program():
    with pytest.raises(srnas.InputError, match="srnas search --oracle remote"):
        srnas.Search(SPACE, minimise="loss", ledger="postgres://ada@db/nas")
