"""The learner step of `learner/benches/learner_step.rs` in PyTorch, to compare with.

The same network (width 64, 0 or 2 transformer blocks), the same batch (512 observations of 37 candidates) and the
same step: double DQN targets, Huber loss, backward, gradient clip, Adam, weight average. Prints milliseconds a step.

    pip install torch
    python benches/pytorch_learner_step.py --threads 2
    cargo bench -p srnas-learner --bench learner_step
"""

import argparse
import copy
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

CANDIDATES, FEATURES, CONTEXT, WIDTH, HEADS = 37, 22, 12, 64, 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.inner_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.packed = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH, bias=False)
        self.inner = nn.Linear(WIDTH, 2 * WIDTH)
        self.outer = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, stream, mask):
        batch, count, _ = stream.shape
        packed = self.packed(self.attention_norm(stream)).view(batch, count, 3, HEADS, WIDTH // HEADS)
        queries, keys, values = packed.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask[:, None, None, :])
        stream = stream + self.attended(attended.transpose(1, 2).reshape(batch, count, WIDTH))
        return stream + self.outer(F.relu(self.inner(self.inner_norm(stream))))


class QNetwork(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.candidate = nn.Linear(FEATURES, WIDTH, bias=False)
        self.context = nn.Linear(CONTEXT, WIDTH)
        self.hidden = nn.Linear(WIDTH, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.pooled = nn.Linear(2 * WIDTH, WIDTH, bias=False)
        self.pooled_context = nn.Linear(CONTEXT, WIDTH)
        self.value = nn.Linear(WIDTH, 1)
        self.advantage = nn.Linear(WIDTH, WIDTH, bias=False)
        self.advantage_state = nn.Linear(WIDTH, WIDTH)
        self.advantage_score = nn.Linear(WIDTH, 1, bias=False)
        for parameter in [*self.value.parameters(), *self.advantage_score.parameters()]:
            nn.init.zeros_(parameter)

    def forward(self, candidates, contexts, mask):
        hidden = F.relu(self.candidate(candidates) + self.context(contexts)[:, None])
        hidden = F.relu(self.hidden(hidden))
        for block in self.blocks:
            hidden = block(hidden, mask)
        valid = mask[..., None]
        counts = mask.sum(1, keepdim=True)
        mean = hidden.masked_fill(~valid, 0).sum(1) / counts
        most = hidden.masked_fill(~valid, -torch.inf).amax(1)
        state = F.relu(self.pooled(torch.cat([mean, most], 1)) + self.pooled_context(contexts))
        advantage = F.relu(self.advantage(hidden) + self.advantage_state(state)[:, None])
        advantage = self.advantage_score(advantage)[..., 0]
        centred = advantage - advantage.masked_fill(~mask, 0).sum(1, keepdim=True) / counts
        base = candidates[..., 0].masked_fill(~mask, -torch.inf)
        scores = self.value(state) + base - base.amax(1, keepdim=True) + centred
        return scores.masked_fill(~mask, -1e9)


def step(network, target, average, optimiser, batch):
    now, actions, returns, following, discounts, weights = batch
    with torch.no_grad():
        choice = network(*following).argmax(1, keepdim=True)
        goal = returns + discounts * target(*following).gather(1, choice)[:, 0]
    chosen = network(*now).gather(1, actions[:, None])[:, 0]
    loss = (weights * F.huber_loss(chosen, goal, reduction="none")).mean()
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimiser.step()
    with torch.no_grad():
        torch._foreach_lerp_(average, list(network.parameters()), 0.0025)
    return loss.item(), (chosen - goal).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--layers", type=int, nargs="*", default=[0, 2])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)

    def observations():
        size = options.batch
        mask = torch.ones(size, CANDIDATES, dtype=torch.bool)
        return torch.randn(size, CANDIDATES, FEATURES), torch.randn(size, CONTEXT), mask

    size = options.batch
    batch = (
        observations(),
        torch.randint(CANDIDATES, (size,)),
        torch.rand(size),
        observations(),
        torch.full((size,), 0.9),
        torch.ones(size),
    )
    for layers in options.layers:
        network = QNetwork(layers)
        target = copy.deepcopy(network)
        average = [parameter.detach().clone() for parameter in network.parameters()]
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
        times = []
        for index in range(options.steps + 10):
            start = time.perf_counter()
            step(network, target, average, optimiser, batch)
            if index >= 10:
                times.append(1e3 * (time.perf_counter() - start))
        median, least = statistics.median(times), min(times)
        print(f"torch {torch.__version__} threads={options.threads} layers={layers}: "
              f"median {median:.1f} ms, least {least:.1f} ms", flush=True)


if __name__ == "__main__":
    main()
