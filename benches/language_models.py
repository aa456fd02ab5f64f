"""Language models beside PyTorch and llama.cpp, side by side on one thread, nothing but this program and Python packages needed.

Two sizes, of the shape of stories260K and with 22.6 million weights, random weights, the built-in model's tokenizer and its own
text. Training: processor time of a step as the difference of a long and a short `srnas llm tune --whole`, and of the same step by
transformers' LlamaForCausalLM with AdamW. Writing: 200 tokens at f32 by `srnas llm evaluate`, and by llama.cpp (cyllama) from the
exported GGUF file. Medians of the repeats; a ratio below 1 of a training and above 1 of writing is srnas ahead.

    pip install torch transformers cyllama
    python benches/language_models.py --srnas target/release/srnas
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

# Name, hidden size, MLP width, layers, heads, key heads, sequence, short and long training in steps.
SIZES = [
    ("stories260K's shape", 64, 172, 5, 8, 4, 256, 10, 60),
    ("22.6 million weights", 448, 1216, 10, 8, 8, 128, 2, 8),
]
SEQUENCES = 8
TOKENS = 200


def run(srnas, *arguments):
    """Processor seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
    done = subprocess.run([srnas, *map(str, arguments)], check=True, capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def srnas_step(srnas, folder, size):
    *_, length, short, long = size
    times = []
    for steps in (short, long):
        with tempfile.TemporaryDirectory(dir=folder) as runs:
            given = ["--model", folder / "config.json", "--tokenizer", folder / "tokenizer.model", "--text", folder / "text.txt"]
            rest = ["--sequences", SEQUENCES, "--length", length, "--steps", steps, "--run-dir", f"{runs}/r"]
            times.append(run(srnas, "llm", "tune", "--whole", *given, *rest)[0])
    return (times[1] - times[0]) / (long - short)


def pytorch_model(config):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(1)
    return torch, LlamaForCausalLM(LlamaConfig(**config))


def pytorch_step(config, size):
    torch, model = pytorch_model(config)
    *_, length, short, long = size
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(3, config["vocab_size"], (SEQUENCES, length))

    def step():
        optimizer.zero_grad()
        model(tokens, labels=tokens).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    for _ in range(short):
        step()
    began = time.process_time()
    for _ in range(long - short):
        step()
    return (time.process_time() - began) / (long - short)


def llama_cpp(path):
    """Tokens a second of llama.cpp."""
    from cyllama.llama import llama_cpp as llama

    llama.llama_backend_init()
    model = llama.LlamaModel(str(path), llama.LlamaModelParams())
    params = llama.LlamaContextParams()
    params.n_ctx, params.n_threads, params.n_threads_batch = 512, 1, 1
    context = llama.LlamaContext(model, params)
    sampler = llama.LlamaSampler(llama.LlamaSamplerChainParams())
    sampler.add_greedy()
    context.decode(llama.llama_batch_get_one([1], 0))
    began = time.perf_counter()
    for i in range(TOKENS):
        token = int(sampler.sample(context, -1))
        context.decode(llama.llama_batch_get_one([token], 1 + i))
    return TOKENS / (time.perf_counter() - began)


def prepared(srnas, folder, size):
    """A folder with config.json, tokenizer and text, and the configuration."""
    _, hidden, width, layers, heads, key_heads, *_ = size
    run(srnas, "llm", "export", "--model", "built-in", "--to", folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "hidden_size": hidden, "intermediate_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": key_heads, "head_dim": hidden // heads, "max_position_embeddings": 512,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    _, text = run(srnas, "llm", "generate", "--model", "built-in", "--tokens", 200)
    (folder / "text.txt").write_text(200 * (text + "\n"))
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--srnas", default="target/release/srnas", help="the program [default: target/release/srnas]")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, one program after the other [default: 3]")
    given = parser.parse_args()
    for size in SIZES:
        with tempfile.TemporaryDirectory() as place:
            folder = pathlib.Path(place) / "model"
            config = prepared(given.srnas, folder, size)
            pairs = [(pytorch_step(config, size), srnas_step(given.srnas, folder, size)) for _ in range(given.repeats)]
            theirs, ours = (statistics.median(column) for column in zip(*pairs))
            print(f"{size[0]}, a training step: PyTorch {theirs:.4f} s, srnas {ours:.4f} s, ratio {ours / theirs:.2f}", flush=True)
            gguf = pathlib.Path(place) / "model.gguf"
            run(given.srnas, "llm", "export", "--model", folder / "config.json", "--tokenizer", folder / "tokenizer.model", "--to", gguf)
            pairs = [(llama_cpp(gguf), evaluated(given.srnas, gguf)) for _ in range(given.repeats)]
            theirs, ours = (statistics.median(column) for column in zip(*pairs))
            print(f"{size[0]}, writing: llama.cpp {theirs:.0f} tokens/s, srnas {ours:.0f}, ratio {ours / theirs:.2f}", flush=True)


def evaluated(srnas, gguf):
    """Tokens a second of srnas."""
    return json.loads(run(srnas, "llm", "evaluate", "--model", gguf, "--json")[1])["tokens_per_s"]


main()
