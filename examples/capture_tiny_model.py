"""From a JSONL of answers to a store: a Hugging Face model's hidden states of given responses.

    python examples/capture_tiny_model.py        (needs pip install 'kview[capture]')

The model is made here, with random weights, so that nothing is downloaded; `capture` takes the name
of a real one just as well.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from kview.data import ActivationParser, capture

ANSWERS = [
    ("which river runs through town {} ?", "the river runs through it as every atlas has it", 0),
    ("who founded town {} ?", "a king whom nobody has ever written down", 1),
]


def make_model(folder: str) -> None:
    """A causal model of four layers and a tokenizer that knows the words above."""
    texts = " ".join(f"{prompt} {response}" for prompt, response, _ in ANSWERS).split()
    words = dict.fromkeys(["[UNK]", "[PAD]", *texts, *map(str, range(20))])
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder)
    LlamaModel(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
        )
    ).save_pretrained(folder)


def main() -> None:
    """Captures 40 labelled answers and reads them back at K=4 layers."""
    with TemporaryDirectory() as folder:
        make_model(f"{folder}/model")
        lines = [
            {
                "prompt": prompt.format(town),
                "response": response,
                "halu": halu,
                "group": f"town {town}",
            }
            for town in range(20)
            for prompt, response, halu in ANSWERS
        ]
        questions = Path(folder, "qa.jsonl")
        questions.write_text("".join(json.dumps(line) + "\n" for line in lines))

        summary = capture(f"{folder}/model", questions, f"{folder}/store.zarr", max_tokens=8)
        print(f"{summary.rows} rows")

        parser = ActivationParser(None, None, f"{folder}/store.zarr", group_by="group")
        train = parser.get_dataset("train", num_views=4)
        print(f"layers {train.layer_ids}, {len(train)} train rows")
        print(next(train.batches(epoch=0, batch_size=8)))


if __name__ == "__main__":
    main()
