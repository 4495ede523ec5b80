"""Tiny Llama and BERT models with a tokenizer of forty words, built offline."""

from pathlib import Path
from typing import Any

import torch
import transformers

WORDS = [f"w{i}" for i in range(40)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
SIZES: dict[str, Any] = {
    "vocab_size": len(WORDS) + len(SPECIAL),
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}


def tokenizer(kind: str = "causal") -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    found = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    found.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=found,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "attention_mask"]
        + (["token_type_ids"] if kind == "encoder" else []),
    )


def save(path: Path, kind: str) -> Path:
    torch.manual_seed(0)
    if kind == "causal":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES))
    elif kind == "headless":
        model = transformers.LlamaModel(transformers.LlamaConfig(**SIZES))
    else:
        model = transformers.BertModel(transformers.BertConfig(**SIZES))
    model.save_pretrained(path)
    tokenizer(kind).save_pretrained(path)
    return path
