"""Which architectures of transformers run in the engine: exported by torch.onnx, compared with ONNX Runtime.

    python scripts/architectures.py           writes docs/architectures.md
    python scripts/architectures.py bert vit  prints the rows of these

Small random configurations: what is tested is the operators and shapes of an architecture, not its accuracy.
"""

from __future__ import annotations

import io
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from gossamer.engine import Engine
from gossamer.errors import GossamerError

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"
TOLERANCE = 1e-4  # of the largest output

SMALL = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    vocab_size=99,
    max_position_embeddings=64,
)


@dataclass(frozen=True)
class Architecture:
    """A configuration class of transformers, what differs from its defaults, and what kind of input it reads."""

    config: str
    changes: dict
    kind: str  # text, image, audio
    size: int = 32  # of an image's side, or samples or frames of audio
    model: str = ""  # the class; else AutoModel


def text(config: str, **changes) -> Architecture:
    return Architecture(config, {**SMALL, **changes}, "text")


def image(config: str, size: int = 32, **changes) -> Architecture:
    return Architecture(config, changes, "image", size)


VIT = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    image_size=32,
    patch_size=8,
)
ARCHITECTURES = {
    "bert": text("BertConfig"),
    "roberta": text("RobertaConfig"),
    "distilbert": Architecture(
        "DistilBertConfig", dict(dim=32, n_layers=2, n_heads=4, hidden_dim=64, vocab_size=99), "text"
    ),
    "albert": text("AlbertConfig", embedding_size=16),
    "electra": text("ElectraConfig", embedding_size=16),
    "mpnet": text("MPNetConfig"),
    "deberta-v2": text("DebertaV2Config"),
    "gpt2": Architecture(
        "GPT2Config", dict(n_embd=32, n_layer=2, n_head=4, vocab_size=99, use_cache=False), "text"
    ),
    "gpt-neox": text("GPTNeoXConfig", use_cache=False),
    "opt": text("OPTConfig", ffn_dim=64, word_embed_proj_dim=32, use_cache=False),
    "llama": text("LlamaConfig", num_key_value_heads=2, use_cache=False),
    "mistral": text("MistralConfig", num_key_value_heads=2, use_cache=False),
    "qwen2": text("Qwen2Config", num_key_value_heads=2, use_cache=False),
    "bloom": Architecture(
        "BloomConfig", dict(hidden_size=32, n_layer=2, n_head=4, vocab_size=99, use_cache=False), "text"
    ),
    "t5-encoder": Architecture(
        "T5Config",
        dict(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=99),
        "text",
        model="T5EncoderModel",
    ),
    "vit": image("ViTConfig", **VIT),
    "deit": image("DeiTConfig", **VIT),
    "beit": image("BeitConfig", **VIT),
    "dinov2": image("Dinov2Config", **{k: v for k, v in VIT.items() if k != "intermediate_size"}),
    "swin": image(
        "SwinConfig",
        image_size=32,
        patch_size=4,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 4],
        window_size=4,
    ),
    "resnet": image("ResNetConfig", embedding_size=8, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1]),
    "convnext": image("ConvNextConfig", hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1]),
    "mobilenet-v2": image("MobileNetV2Config", 64),
    "efficientnet": image("EfficientNetConfig", 64),
    "segformer": image(
        "SegformerConfig", 64, hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1], decoder_hidden_size=16
    ),
    "mobilevit": image("MobileViTConfig", 64, image_size=64),
    "wav2vec2": Architecture(
        "Wav2Vec2Config",
        dict(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            conv_dim=[16] * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        ),
        "audio",
        2000,
    ),
    "hubert": Architecture(
        "HubertConfig",
        dict(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            conv_dim=[16] * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        ),
        "audio",
        2000,
    ),
    "whisper-encoder": Architecture(
        "WhisperConfig",
        dict(
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_layers=1,
            decoder_attention_heads=4,
            decoder_ffn_dim=64,
            vocab_size=99,
            max_source_positions=50,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        ),
        "frames",
        100,
    ),
    "ast": Architecture(
        "ASTConfig",
        dict(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_length=64,
            num_mel_bins=32,
        ),
        "spectrogram",
        64,
    ),
}


def example(architecture: Architecture) -> dict[str, torch.Tensor]:
    """One input by name."""
    generator = torch.Generator().manual_seed(1)
    size = architecture.size
    match architecture.kind:
        case "text":
            return {
                "input_ids": torch.randint(3, 99, (1, 12), generator=generator),
                "attention_mask": torch.ones(1, 12, dtype=torch.int64),
            }
        case "image":
            return {"pixel_values": torch.randn(1, 3, size, size, generator=generator)}
        case "audio":
            return {"input_values": torch.randn(1, size, generator=generator)}
        case "frames":
            return {"input_features": torch.randn(1, 80, size, generator=generator)}
        case _:
            return {"input_values": torch.randn(1, size, 32, generator=generator)}


def built(architecture: Architecture) -> torch.nn.Module:
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, architecture.config)(**architecture.changes)
    if architecture.model:
        model = getattr(transformers, architecture.model)(config)
    else:
        model = transformers.AutoModel.from_config(config, attn_implementation="eager")
    if architecture.kind == "frames":
        model = model.get_encoder()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):  # so that signals neither vanish nor grow through many layers
            torch.nn.init.kaiming_normal_(module.weight)
    return model.eval()


class FirstOutput(torch.nn.Module):
    """The network's main output alone."""

    def __init__(self, model: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=False)[0]


def exported(architecture: Architecture, path: Path) -> dict[str, np.ndarray]:
    """Writes the ONNX file; returns the example by input name."""
    inputs = example(architecture)
    wrapped = FirstOutput(built(architecture), list(inputs))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped,
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["output"],
            dynamo=True,
            verbose=False,
        )
    return {name: tensor.numpy() for name, tensor in inputs.items()}


def compared(path: Path, inputs: dict[str, np.ndarray]) -> float:
    """The largest difference from ONNX Runtime, of the largest output."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options)
    engine = Engine(path)
    known = {port.name for port in engine.inputs}
    given = {name: array for name, array in inputs.items() if name in known}
    wanted = session.run(None, given)[0]
    got = engine(given)
    got = got if isinstance(got, np.ndarray) else next(iter(got.values()))
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def row(name: str) -> str:
    """One line of the table: what became of an architecture."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        try:
            inputs = exported(ARCHITECTURES[name], path)
        except Exception as error:
            return f"| {name} | | not exported: {type(error).__name__}: {str(error).splitlines()[0][:120]} |"
        try:
            difference = compared(path, inputs)
        except GossamerError as error:
            return f"| {name} | | {type(error).__name__}: {error} |"
        verdict = "agrees" if difference <= TOLERANCE else "DIFFERS"
        return f"| {name} | {difference:.1e} | {verdict} |"


HEAD = f"""# Architectures

Networks of `transformers`, small random configurations, exported by `torch.onnx.export` and run from the file by
`gossamer.Engine`; the largest difference from ONNX Runtime as a share of the largest output (agreement: {TOLERANCE}).
Written by `scripts/architectures.py`.

| architecture | difference | |
| --- | --- | --- |
"""


if __name__ == "__main__":
    sys.stderr = io.StringIO() if len(sys.argv) == 1 else sys.stderr  # the exporter is talkative
    rows = []
    for chosen in sys.argv[1:] or ARCHITECTURES:
        rows.append(row(chosen))
        print(rows[-1], flush=True)
    if len(sys.argv) == 1:
        PAGE.write_text(HEAD + "\n".join(rows) + "\n")
