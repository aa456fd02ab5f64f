"""Trains a small network on two spirals, with nothing but Python's standard library: about a second.

    srnas search --oracle 'cmd:python3 examples/own/train.py' --space examples/own/space.toml --minimise loss --budget 40

It reads the architecture from stdin and the seed from the environment; its last line is what was measured, and the lines
before say how the training goes. With `--fidelity epochs=4,40` the search also asks for trainings of 4 epochs, and one of
40 goes on where that of 4 ended.
"""

import json
import math
import os
import pickle
import random
import sys

EPOCHS = 40
POINTS = 120

ACTIVATIONS = {
    "tanh": (math.tanh, lambda y: 1 - y * y),
    "relu": (lambda x: max(x, 0.0), lambda y: 1.0 if y > 0 else 0.0),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-max(min(x, 30.0), -30.0))), lambda y: y * (1 - y)),
}


def spirals(rng, points):
    """Points of two spirals that wind around each other, with noise, and which of the two each is on."""
    data = []
    for _ in range(points):
        which = rng.randrange(2)
        turn = 0.5 + 5.0 * math.sqrt(rng.random())
        angle = turn + math.pi * which
        point = [turn / 5 * math.cos(angle), turn / 5 * math.sin(angle)]
        data.append(([x + rng.gauss(0, 0.05) for x in point], which))
    return data


def train_network(choices, seed, epochs=EPOCHS, resume=None, keep=None, report=None):
    """Trains what the choices describe; what was measured, by name.

    It trains the first `epochs` of all EPOCHS, from the state in the folder `resume` if there is one, and leaves its own
    state in the folder `keep`. Every ten epochs `report` is told the epoch and the loss.
    """
    rng = random.Random(seed)
    train, test = spirals(rng, POINTS), spirals(rng, 4 * POINTS)
    activate, slope = ACTIVATIONS[choices["activation"]]
    widths = [2, choices["width1"]] + ([choices["width2"]] if choices["layers"] == 2 else []) + [1]
    # weights[l][j]: those of unit j of layer l, the last one its bias.
    weights = [
        [[rng.gauss(0, choices["spread"] / math.sqrt(n)) for _ in range(n)] + [0.0] for _ in range(m)]
        for n, m in zip(widths, widths[1:])
    ]
    speed = [[[0.0] * len(unit) for unit in layer] for layer in weights]

    def forward(point):
        values = [point]
        for depth, layer in enumerate(weights):
            sums = [sum(w * v for w, v in zip(unit, values[-1])) + unit[-1] for unit in layer]
            last = depth == len(weights) - 1
            values.append(sums if last else [activate(s) for s in sums])
        return values

    def loss(data):
        total, right = 0.0, 0
        for point, which in data:
            logit = forward(point)[-1][0]
            margin = logit if which else -logit
            total += math.log1p(math.exp(-abs(margin))) + max(-margin, 0.0)
            right += margin > 0
        return total / len(data), 100.0 * right / len(data)

    first = 0
    if resume:
        with open(os.path.join(resume, "state.pickle"), "rb") as file:
            first, weights, speed, train, state = pickle.load(file)
        rng.setstate(state)
    for epoch in range(first, epochs):
        rng.shuffle(train)
        rate = choices["rate"] * (1 - epoch / EPOCHS)
        for begin in range(0, len(train), choices["batch"]):
            batch = train[begin : begin + choices["batch"]]
            gradients = [[[0.0] * len(unit) for unit in layer] for layer in weights]
            for point, which in batch:
                values = forward(point)
                delta = [1 / (1 + math.exp(-max(min(values[-1][0], 30.0), -30.0))) - which]
                for depth in reversed(range(len(weights))):
                    inputs, layer = values[depth], weights[depth]
                    for unit, error in zip(gradients[depth], delta):
                        for i, value in enumerate(inputs):
                            unit[i] += error * value
                        unit[-1] += error
                    if depth:
                        delta = [
                            slope(value) * sum(error * unit[i] for unit, error in zip(layer, delta))
                            for i, value in enumerate(inputs)
                        ]
            for layer, layer_speed, layer_gradient in zip(weights, speed, gradients):
                for unit, unit_speed, gradient in zip(layer, layer_speed, layer_gradient):
                    for i in range(len(unit)):
                        unit_speed[i] = choices["momentum"] * unit_speed[i] - rate * gradient[i] / len(batch)
                        unit[i] += unit_speed[i]
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss(train)[0]:.4f}", file=sys.stderr)
            if report:
                report(epoch + 1, loss(test)[0])

    if keep:
        with open(os.path.join(keep, "state.pickle"), "wb") as file:
            pickle.dump((epochs, weights, speed, train, rng.getstate()), file)
    test_loss, accuracy = loss(test)
    size = sum(len(unit) for layer in weights for unit in layer)
    measured = {"loss": test_loss, "accuracy": accuracy, "weights": size}
    # Only the rest is paid for.
    return {**measured, "resumed_from": first} if first else measured


if __name__ == "__main__":
    architecture, seed = json.load(sys.stdin), int(os.environ.get("SRNAS_SEED", "0"))
    # Without --fidelity, a full training.
    epochs = int(os.environ.get("SRNAS_FIDELITY", EPOCHS))
    keep = os.environ.get("SRNAS_DIRECTORY") if epochs < EPOCHS else None
    resume = os.environ.get("SRNAS_RESUME_FROM")

    def report(epoch, loss):
        print(json.dumps({"epoch": epoch, "loss": loss}), flush=True)

    print(json.dumps(train_network(architecture, seed, epochs, resume, keep, report)))
