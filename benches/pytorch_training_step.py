"""The training step of `oracle/benches/training_step.rs` in PyTorch, to compare with.

The same networks of NAS-Bench-201 cells and the same wide residual networks, the same batch of 64 images and the same step: forward, cross-entropy, backward, SGD
with Nesterov momentum and weight decay. Prints milliseconds a step.

    pip install torch
    OMP_NUM_THREADS=1 python benches/pytorch_training_step.py --threads 1
    cargo bench -p srnas-oracle --bench training_step

`--only WRN` times what has that in its name; `--least` prints the least of all steps in place of their median, which is what to compare where other programs run
on the machine. channels_last ends PyTorch 2.15 on some machines: 2.9 has it.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

EDGES = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
EVERYTHING, ALL = [3, 1, 3, 2, 4, 3], [3] * 6
# Name, cell, channels, size, width, stages; of wide residual networks blocks a stage and widening factor in place of a cell.
CASES = [
    ("digits, a cell of everything", EVERYTHING, 1, 8, 4, 2),
    ("digits, all 3x3", ALL, 1, 8, 4, 2),
    ("CIFAR-10, a cell of everything", EVERYTHING, 3, 32, 16, 3),
    ("CIFAR-10, all 3x3", ALL, 3, 32, 16, 3),
    ("digits, WRN-16-2", (2, 2), 1, 8, 2, 3),
    ("CIFAR-10, WRN-10-1", (1, 1), 3, 32, 16, 3),
]


def conv_norm(inputs, outputs, kernel, stride=1, relu=True):
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(*([nn.ReLU()] if relu else []), conv, nn.BatchNorm2d(outputs))


class Cell(nn.Module):
    def __init__(self, choices, width):
        super().__init__()
        edge = {
            1: nn.Identity,
            2: lambda: conv_norm(width, width, 1),
            3: lambda: conv_norm(width, width, 3),
            4: lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        }
        self.edges = nn.ModuleList(edge[choice]() for choice in choices)

    def forward(self, images):
        nodes = [images, None, None, None]
        for (source, target), edge in zip(EDGES, self.edges):
            carried = edge(nodes[source])
            nodes[target] = carried if nodes[target] is None else nodes[target] + carried
        return nodes[3]


class Reduction(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(conv_norm(width, 2 * width, 3, 2), conv_norm(2 * width, 2 * width, 3))
        self.shortcut = conv_norm(width, 2 * width, 1, 2, relu=False)

    def forward(self, images):
        return self.inner(images) + self.shortcut(images)


class Block(nn.Module):
    """Pre-activation: the shortcut of a block that changes its shape begins behind the first activation."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.convs = nn.ModuleList(
            [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)]
        )
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images):
        active = F.relu(self.norms[0](images))
        carried = images if self.shortcut is None else self.shortcut(active)
        return carried + self.convs[1](F.relu(self.norms[1](self.convs[0](active))))


def wide(shape, channels, width, stages):
    depth, factor = shape
    inputs = max(width, 4)
    layers = [nn.Conv2d(channels, inputs, 3, 1, 1, bias=False)]
    for stage in range(stages):
        outputs = (width << stage) * factor
        for block in range(depth):
            layers.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    last = [nn.BatchNorm2d(inputs), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10)]
    return nn.Sequential(*layers, *last)


def network(choices, channels, width, stages):
    if isinstance(choices, tuple):
        return wide(choices, channels, width, stages)
    layers = [conv_norm(channels, width, 3, relu=False)]
    for stage in range(stages):
        if stage > 0:
            layers.append(Reduction(width))
            width *= 2
        layers.append(Cell(choices, width))
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def milliseconds(choices, channels, size, width, stages, layout, of=statistics.median):
    model = network(choices, channels, width, stages).to(memory_format=layout)
    images = torch.rand(64, channels, size, size).to(memory_format=layout)
    labels = torch.randint(0, 10, (64,))
    sgd = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def step():
        sgd.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        sgd.step()

    for _ in range(10):
        step()
    times = []
    began = time.perf_counter()
    while time.perf_counter() - began < 3:
        start = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - start))
    return of(times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--least", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    of = min if arguments.least else statistics.median
    for name, *case in CASES:
        if arguments.only in name:
            # The faster of its two memory layouts.
            layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
            both = {layout: milliseconds(*case, form, of) for layout, form in layouts.items()}
            best = min(both, key=both.get)
            print(f"{name}: {both[best]:.3f} ms, {best} (of " + ", ".join(f"{k} {v:.3f}" for k, v in both.items()) + ")", flush=True)
