"""Networks of the transformers library from small configurations, randomly initialized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from zoo import Animal

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TEXT = dict(**SMALL, vocab_size=60, max_position_embeddings=32)
DIM = {
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "vocab_size": 60,
    "max_position_embeddings": 32,
}
VISION = dict(**SMALL, image_size=32, patch_size=8, num_labels=5)
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def tokens(length: int = 8) -> dict[str, Tensor]:
    return {
        "input_ids": torch.randint(3, 60, (3, length)),
        "attention_mask": torch.ones(3, length, dtype=torch.int64),
    }


def pixels(size: int = 32) -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(3, 3, size, size)}


def both_sides() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(3, 60, (3, 8)), "decoder_input_ids": torch.randint(3, 60, (3, 5))}


def build(model: str, config: str, **settings: Any) -> Callable[[], nn.Module]:
    """A model class of transformers on a configuration with these settings."""

    def made() -> nn.Module:
        import transformers

        spelling = settings.pop("spelling", None) if "spelling" in settings else None
        configured = getattr(transformers, f"{config}Config")(**settings)
        if spelling:
            configured._attn_implementation = spelling
        return getattr(transformers, model)(configured)

    return made


def text(model: str, config: str, example: Callable[[], Any] = tokens, **settings: Any) -> Animal:
    return Animal(build(model, config, **{**TEXT, **settings}), example, norms=True)


def vision(model: str, config: str, size: int = 32, norms: bool = True, **settings: Any) -> Animal:
    return Animal(build(model, config, **settings), lambda: pixels(size), norms)


def speech(model: str, config: str, **settings: Any) -> Animal:
    sizes = {
        "conv_dim": [12] * 3,
        "conv_stride": [5, 2, 2],
        "conv_kernel": [10, 3, 2],
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        "vocab_size": 20,
        "num_labels": 4,
        "classifier_proj_size": 12,
    }
    return Animal(
        build(model, config, **{**SMALL, **sizes, **settings}),
        lambda: {"input_values": torch.randn(3, 400)},
        norms=True,
    )


STAGES = {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1], "num_labels": 5}
WHISPER = dict(
    d_model=16,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=2,
    decoder_attention_heads=2,
    encoder_ffn_dim=24,
    decoder_ffn_dim=24,
    vocab_size=60,
    num_mel_bins=8,
    max_source_positions=16,
    max_target_positions=16,
    use_cache=False,
    decoder_start_token_id=1,
    **ENDS,
)
SEQ2SEQ = dict(
    d_model=32,
    encoder_layers=1,
    decoder_layers=1,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=48,
    decoder_ffn_dim=48,
    vocab_size=60,
    max_position_embeddings=32,
    use_cache=False,
    decoder_start_token_id=1,
    forced_eos_token_id=2,
    **ENDS,
)
CLIP_TEXT, CLIP_VISION = {**TEXT, **ENDS}, {k: v for k, v in VISION.items() if k != "num_labels"}
BACKBONE = {"use_pretrained_backbone": False, "use_timm_backbone": False, "backbone": None}


def _detr() -> nn.Module:
    import transformers as t

    backbone = t.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12, 16, 24],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = t.DetrConfig(
        backbone_config=backbone,
        **BACKBONE,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_queries=6,
        num_labels=4,
    )
    return t.DetrForObjectDetection(config)


def _dpt() -> nn.Module:
    import transformers as t

    config = t.DPTConfig(
        **{**SMALL, "num_hidden_layers": 4},
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 12, 16, 16],
        fusion_hidden_size=12,
        reassemble_factors=[4, 2, 1, 0.5],
        is_hybrid=False,
    )
    return t.DPTForDepthEstimation(config)


TRANSFORMERS: dict[str, Animal] = {
    "hf-resnet": vision(
        "ResNetForImageClassification",
        "ResNet",
        norms=False,
        embedding_size=8,
        hidden_sizes=[16, 32],
        depths=[1, 2],
        layer_type="bottleneck",
        num_labels=5,
    ),
    "regnet": vision(
        "RegNetForImageClassification",
        "RegNet",
        norms=False,
        embedding_size=8,
        hidden_sizes=[16, 24],
        depths=[1, 1],
        groups_width=8,
        num_labels=5,
    ),
    "convnext": vision("ConvNextForImageClassification", "ConvNext", **STAGES),
    "convnext-v2": vision("ConvNextV2ForImageClassification", "ConvNextV2", **STAGES),
    "mobilenet-v1": vision(
        "MobileNetV1ForImageClassification",
        "MobileNetV1",
        norms=False,
        image_size=32,
        depth_multiplier=0.25,
        num_labels=5,
    ),
    "mobilenet-v2": vision(
        "MobileNetV2ForImageClassification",
        "MobileNetV2",
        norms=False,
        image_size=32,
        depth_multiplier=0.35,
        num_labels=5,
    ),
    "efficientnet": vision(
        "EfficientNetForImageClassification",
        "EfficientNet",
        64,
        norms=False,
        image_size=64,
        width_coefficient=0.25,
        depth_coefficient=0.1,
        hidden_dim=320,
        num_labels=5,
    ),
    "bit": vision(
        "BitForImageClassification",
        "Bit",
        embedding_size=8,
        hidden_sizes=[16, 32],
        depths=[1, 1],
        num_groups=4,
        num_labels=5,
    ),
    "vit": vision("ViTForImageClassification", "ViT", **VISION),
    "vit-eager": vision("ViTForImageClassification", "ViT", **VISION, spelling="eager"),
    "deit": vision("DeiTForImageClassification", "DeiT", **VISION),
    "beit": vision("BeitForImageClassification", "Beit", **VISION),
    "dinov2": vision(
        "Dinov2ForImageClassification",
        "Dinov2",
        **{k: v for k, v in VISION.items() if k != "intermediate_size"},
    ),
    "swin": vision(
        "SwinForImageClassification",
        "Swin",
        image_size=32,
        patch_size=4,
        embed_dim=16,
        depths=[2, 1],
        num_heads=[2, 4],
        window_size=4,
        num_labels=5,
    ),
    "swin-v2": vision(
        "Swinv2ForImageClassification",
        "Swinv2",
        image_size=32,
        patch_size=4,
        embed_dim=16,
        depths=[2, 1],
        num_heads=[2, 4],
        window_size=4,
        num_labels=5,
    ),
    "pvt": vision(
        "PvtForImageClassification",
        "Pvt",
        image_size=32,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        mlp_ratios=[2, 2, 2, 2],
        num_labels=5,
    ),
    "poolformer": vision("PoolFormerForImageClassification", "PoolFormer", **STAGES),
    "segformer": vision(
        "SegformerForSemanticSegmentation",
        "Segformer",
        64,
        **STAGES,
        num_attention_heads=[1, 2, 2, 4],
        decoder_hidden_size=12,
        mlp_ratios=[2, 2, 2, 2],
    ),
    "mobilevit": vision(
        "MobileViTForImageClassification",
        "MobileViT",
        64,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 12, 16, 16, 16, 16, 32],
        num_labels=5,
    ),
    "levit": vision(
        "LevitForImageClassification",
        "Levit",
        64,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        num_attention_heads=[2, 3, 4],
        key_dim=[8, 8, 8],
        depths=[1, 1, 1],
        attention_ratio=[2, 2, 2],
        mlp_ratio=[2, 2, 2],
        num_labels=5,
    ),
    "cvt": vision(
        "CvtForImageClassification",
        "Cvt",
        embed_dim=[8, 16, 24],
        num_heads=[1, 2, 3],
        depth=[1, 2, 3],
        num_labels=5,
    ),
    "dpt": Animal(_dpt, pixels, norms=True),
    "detr": Animal(_detr, lambda: pixels(64), norms=True),
    "yolos": vision(
        "YolosForObjectDetection",
        "Yolos",
        **{**SMALL, "image_size": [32, 32], "patch_size": 8},
        num_detection_tokens=4,
        num_labels=4,
    ),
    "vit-mae": vision("ViTModel", "ViT", **VISION),
    "bert": text("BertForSequenceClassification", "Bert"),
    "bert-eager": text("BertForMaskedLM", "Bert", spelling="eager"),
    "roberta": text("RobertaForTokenClassification", "Roberta", pad_token_id=1, max_position_embeddings=40),
    "albert": text("AlbertForSequenceClassification", "Albert", embedding_size=16),
    "distilbert": Animal(
        build("DistilBertForSequenceClassification", "DistilBert", **DIM), tokens, norms=True
    ),
    "electra": text("ElectraForPreTraining", "Electra", embedding_size=16),
    "deberta": text(
        "DebertaForSequenceClassification", "Deberta", pos_att_type=["c2p", "p2c"], relative_attention=True
    ),
    "deberta-v2": text(
        "DebertaV2ForSequenceClassification",
        "DebertaV2",
        pos_att_type=["c2p", "p2c"],
        relative_attention=True,
    ),
    "mpnet": text("MPNetForSequenceClassification", "MPNet"),
    "gpt2": Animal(
        build(
            "GPT2LMHeadModel",
            "GPT2",
            vocab_size=60,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=32,
            use_cache=False,
            **ENDS,
        ),
        tokens,
        norms=True,
    ),
    "gpt-neox": text("GPTNeoXForCausalLM", "GPTNeoX", use_cache=False),
    "opt": text("OPTForCausalLM", "OPT", ffn_dim=48, word_embed_proj_dim=16, use_cache=False),
    "llama": text("LlamaForCausalLM", "Llama", num_key_value_heads=2, use_cache=False),
    "llama-eager": text(
        "LlamaForCausalLM", "Llama", num_key_value_heads=2, use_cache=False, spelling="eager"
    ),
    "mistral": text("MistralForCausalLM", "Mistral", num_key_value_heads=2, use_cache=False),
    "qwen2": text(
        "Qwen2ForCausalLM", "Qwen2", num_key_value_heads=2, use_cache=False, tie_word_embeddings=True
    ),
    "qwen3": text("Qwen3ForCausalLM", "Qwen3", num_key_value_heads=2, head_dim=8, use_cache=False),
    "gemma": text("GemmaForCausalLM", "Gemma", num_key_value_heads=1, head_dim=8, use_cache=False),
    "phi": text("PhiForCausalLM", "Phi", use_cache=False),
    "bloom": Animal(
        build(
            "BloomForCausalLM", "Bloom", vocab_size=60, hidden_size=32, n_layer=2, n_head=4, use_cache=False
        ),
        tokens,
        norms=True,
    ),
    "t5": Animal(
        build(
            "T5ForConditionalGeneration",
            "T5",
            vocab_size=60,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=1,
            num_heads=4,
            use_cache=False,
            decoder_start_token_id=0,
        ),
        both_sides,
        norms=True,
    ),
    "bart": Animal(build("BartForConditionalGeneration", "Bart", **SEQ2SEQ), both_sides, norms=True),
    "whisper": Animal(
        build("WhisperForConditionalGeneration", "Whisper", **WHISPER),
        lambda: {"input_features": torch.randn(3, 8, 32), "decoder_input_ids": torch.randint(0, 50, (3, 4))},
        norms=True,
    ),
    "wav2vec2": speech("Wav2Vec2ForCTC", "Wav2Vec2"),
    "wav2vec2-layer-norm": speech(
        "Wav2Vec2ForSequenceClassification", "Wav2Vec2", feat_extract_norm="layer", do_stable_layer_norm=True
    ),
    "hubert": speech("HubertForCTC", "Hubert"),
    "ast": Animal(
        build(
            "ASTForAudioClassification",
            "AST",
            **SMALL,
            patch_size=8,
            max_length=32,
            num_mel_bins=16,
            frequency_stride=8,
            time_stride=8,
            num_labels=5,
        ),
        lambda: {"input_values": torch.randn(3, 32, 16)},
        norms=True,
    ),
    "clip": Animal(
        build("CLIPModel", "CLIP", text_config=CLIP_TEXT, vision_config=CLIP_VISION, projection_dim=16),
        lambda: {**tokens(), **pixels()},
        norms=True,
    ),
}
