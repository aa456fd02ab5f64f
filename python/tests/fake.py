"""A search that exists only for the tests: it speaks the wire, in this process, and remembers what it heard."""

import json
import threading
import time
from concurrent import futures

# Before grpc, which reads once whether it is to handle forks: the tests start processes while it runs.
import srnas  # noqa: F401  # isort: skip
import grpc

from srnas import _wire as wire

HEARTBEAT = 0.05


class FakeSearch:
    """Hands out `work` architectures one after the other, then is over. `port` survives `stop` and `start`."""

    def __init__(self, work=1, search_id="s", token=None, fidelities="", share=1.0, amount=0.0, also=()):
        self.also = also
        self.fidelities, self.share, self.amount, self.said_fidelities = fidelities, share, amount, []
        self.search_id, self.token = search_id, token
        self.waiting = [bytes([index, 1]) for index in range(work)]
        self.leased, self.answers, self.attached = {}, {}, {}
        self.renewals, self.calls, self.headers, self.helds = [], [], [], []
        # What was reported of each width, and of which one everything is stopped from a place on.
        self.hears_reports, self.reports, self.stop_from = True, {}, {}
        self.unwanted, self.failures = set(), {}
        self.use, self.over_when_empty = wire.USE_COUNTED, True
        self.port, self.changed = 0, threading.Condition()
        self.start()

    def start(self):
        self.server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                getattr(self, name), request_deserializer=asked.FromString, response_serializer=said.SerializeToString
            )
            for name, (asked, said) in wire.METHODS.items()
        }
        service = wire.path("").strip("/")
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
        self.port = self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.server.stop(None).wait()

    def forget(self):
        """As one that was killed and resumed: it knows nobody, and what was leased waits again."""
        with self.changed:
            self.attached.clear()
            self.waiting = list(self.leased) + self.waiting
            self.leased.clear()

    def fail(self, call, *codes):
        """The next answers to a call, which does its work all the same: a lost answer."""
        self.failures[call] = list(codes)

    def wait_for(self, condition, seconds=10.0):
        with self.changed:
            assert self.changed.wait_for(condition, seconds), (self.calls, self.answers)

    def _heard(self, call, request, context, known=True):
        self.calls.append(call)
        self.headers.append(dict(context.invocation_metadata()))
        if self.token and self.headers[-1].get("authorization") != f"Bearer {self.token}":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "this learner asks for a token")
        if known and request.evaluator.id not in self.attached:
            context.abort(grpc.StatusCode.NOT_FOUND, "attach again")
        if known and self.attached[request.evaluator.id] != request.evaluator.incarnation:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another process has this name")

    def _done(self, call, context):
        self.changed.notify_all()
        if self.failures.get(call):
            context.abort(self.failures[call].pop(0), "so the test wants it")

    def Attach(self, request, context):
        with self.changed:
            self._heard("Attach", request, context, known=False)
            self.attached[request.evaluator.id] = request.evaluator.incarnation
            self._done("Attach", context)
            beat = int(HEARTBEAT * 1000)
            return wire.AttachResponse(
                search_id=self.search_id, metric="loss", minimise=True, also=self.also, space="toy.toml",
                space_definition="# toy", seed=7, fidelities=self.fidelities, lease_ms=3 * beat, heartbeat_ms=beat,
                hears_reports=self.hears_reports,
            )

    def Take(self, request, context):
        with self.changed:
            self._heard("Take", request, context)
            self.helds.append(list(request.held))
            self.said_fidelities += request.held_fidelities
            until, given = time.monotonic() + request.wait_ms / 1000, None
            while given is None:
                lost = [c for c, id in self.leased.items() if id == request.evaluator.id and c not in request.held]
                given = lost[0] if lost else self.waiting.pop(0) if self.waiting else None
                if given is None:
                    if self.over_when_empty and not self.leased:
                        context.abort(grpc.StatusCode.OUT_OF_RANGE, "the search is over")
                    if not context.is_active() or time.monotonic() >= until:
                        return wire.TakeResponse()
                    self.changed.wait(0.02)
            self.leased[given] = request.evaluator.id
            self._done("Take", context)
            # The decisions of examples/own that the README names, besides its own.
            own = {"rate": 0.1, "batch": 4, "width1": 8}
            architecture = json.dumps({"width": given[0], "op": "conv", **own})
            notation = f"width={given[0]},op=conv"
            work = wire.Work(
                choices=given, architecture=architecture, notation=notation, fidelity=self.share, again=bool(lost),
                amount=self.amount,
            )
            return wire.TakeResponse(work=work)

    def Renew(self, request, context):
        with self.changed:
            self._heard("Renew", request, context)
            self.renewals.append(request.choices)
            self.said_fidelities.append(request.fidelity)
            wanted = request.choices not in self.unwanted
            if wanted and request.choices in self.waiting:
                self.waiting.remove(request.choices)
                self.leased[request.choices] = request.evaluator.id
            self._done("Renew", context)
            return wire.RenewResponse(wanted=wanted)

    def Report(self, request, context):
        with self.changed:
            self._heard("Report", request, context)
            width = request.choices[0]
            if request.begins:
                self.reports[width] = []
            said = [(point.at, dict(point.values)) for point in request.points]
            self.reports[width] += said
            self._done("Report", context)
            stop = any(at >= self.stop_from.get(width, float("inf")) for at, _ in said)
            return wire.ReportResponse(wanted=request.choices not in self.unwanted, stop=stop)

    def Answer(self, request, context):
        with self.changed:
            self._heard("Answer", request, context)
            self.said_fidelities.append(request.fidelity)
            said = dict(request.metrics.values) if request.HasField("metrics") else request.infeasible
            self.answers.setdefault(request.choices[0], []).append(said)
            self.leased.pop(request.choices, None)
            self.waiting = [choices for choices in self.waiting if choices != request.choices]
            self._done("Answer", context)
            return wire.AnswerResponse(use=self.use)
