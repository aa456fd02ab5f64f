"""What other programs make of the same files: transformers (PyTorch) and llama.cpp (cyllama). Prints one JSON value.

  independent.py make DIR tied|untied      a checkpoint with random weights and grouped-query attention
  independent.py logits DIR TOKENS         logits of the last token
  independent.py greedy DIR TOKENS N       N tokens, the likeliest each time
  independent.py gguf FILE TOKENS N        the same by llama.cpp, with tokens a second
  independent.py tokens FILE TEXTS         tokens of a JSON list of texts by llama.cpp
  independent.py judge DIR QUESTIONS       the scores of choices, by the rule of the Language Model Evaluation Harness
  independent.py encode DIR TEXTS          tokens of texts, by the exported tokenizer

TOKENS is a JSON list, QUESTIONS and TEXTS are files with JSON lists (a question: [[context, text], …]).
"""

import json
import sys
import time


def transformers_model(folder):
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return torch, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def tokenizer(folder):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def make(folder, tied):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=160, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=8,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=tied == "tied", initializer_range=0.2,
    )
    # Shards, so that the index is read too.
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="100KB")


def logits(folder, tokens):
    torch, model = transformers_model(folder)
    with torch.no_grad():
        return model(torch.tensor([json.loads(tokens)])).logits[0, -1].tolist()


def greedy(folder, tokens, count):
    torch, model = transformers_model(folder)
    tokens, written = json.loads(tokens), []
    with torch.no_grad():
        for _ in range(int(count)):
            written.append(int(model(torch.tensor([tokens + written])).logits[0, -1].argmax()))
    return written


def gguf(path, tokens, count):
    from cyllama.llama import llama_cpp as llama

    tokens, count, written = json.loads(tokens), int(count), []
    llama.llama_backend_init()
    params = llama.LlamaModelParams()
    model = llama.LlamaModel(path, params)
    context_params = llama.LlamaContextParams()
    context_params.n_ctx, context_params.n_threads, context_params.n_threads_batch = 512, 1, 1
    context = llama.LlamaContext(model, context_params)
    sampler = llama.LlamaSampler(llama.LlamaSamplerChainParams())
    sampler.add_greedy()
    context.decode(llama.llama_batch_get_one(tokens, 0))
    began = time.perf_counter()
    for i in range(count):
        written.append(int(sampler.sample(context, -1)))
        if i + 1 < count:
            context.decode(llama.llama_batch_get_one([written[-1]], len(tokens) + i))
    return {"tokens": written, "speed": (count - 1) / (time.perf_counter() - began)}


def tokens(path, texts):
    from cyllama.llama import llama_cpp as llama

    llama.llama_backend_init()
    model = llama.LlamaModel(path, llama.LlamaModelParams())
    vocabulary = model.get_vocab()
    return [vocabulary.tokenize(text, False, False) for text in json.loads(texts)]


def judge(folder, questions):
    torch, model = transformers_model(folder)
    tokens_of = tokenizer(folder)
    encode = lambda text: tokens_of.encode(text, add_special_tokens=False) if text else []
    scores = []
    with torch.no_grad(), open(questions) as file:
        for question in json.load(file):
            of_question = []
            for context, text in question:
                spaces = len(context) - len(context.rstrip())
                if spaces:
                    context, text = context[:-spaces], context[-spaces:] + text
                whole, before = encode(context + text), len(encode(context))
                whole = ([tokens_of.bos_token_id] + whole)[-model.config.max_position_embeddings - 1 :]
                predicted = len(encode(context + text)) - before
                rows = model(torch.tensor([whole[:-1]])).logits[0, -predicted:].double().log_softmax(-1)
                of_question.append(float(rows.gather(1, torch.tensor(whole[-predicted:])[:, None]).sum()))
            scores.append(of_question)
    return scores


def encode(folder, texts):
    tokens_of = tokenizer(folder)
    with open(texts) as file:
        return [tokens_of.encode(text, add_special_tokens=False) for text in json.load(file)]


if __name__ == "__main__":
    what, arguments = sys.argv[1], sys.argv[2:]
    print(json.dumps({f.__name__: f for f in (make, logits, greedy, gguf, tokens, judge, encode)}[what](*arguments)))
