"""LoRA (Hu et al. 2022) on a ViT: its weights rest; a low-rank step beside each attention, and the head, learn."""

from kit.errors import NETWORK, KitError
from kit.plugin import ModelSpec, hookimpl

VIT, RANK, SCALE = "vit_tiny_patch16_224", 8, 2.0
EXPECTED_FAILURES = {"model/gradient": "the first layers rest; the adapters and the head learn"}


@hookimpl
def kit_models():
    """Add `lora_vit`: kit train COMPETITION --model lora_vit --size 224."""
    half = (0.5, 0.5, 0.5)
    return [ModelSpec("lora_vit", build, "ViT-Tiny/16, frozen, with LoRA of rank 8", half, half, offline=on_disk)]


def on_disk(name):
    """Return whether the weights have been downloaded before."""
    import timm
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(timm.get_pretrained_cfg(VIT).hf_hub_id, "model.safetensors"), str)


def build(request):
    """Build the ViT without its classifier, put adapters into it, join it to the requested head."""
    import timm

    from kit.plugin.network import Network

    options = {"num_classes": 0, "in_chans": request.channels, "dynamic_img_size": True}
    try:
        body = timm.create_model(VIT, pretrained=request.pretrained, **options)
    except (OSError, RuntimeError) as error:
        text = f"the weights of {VIT} can't be had ({type(error).__name__})"
        raise KitError(f"{text}: go online, or --no-pretrained", NETWORK) from None
    body.requires_grad_(False)
    for block in body.blocks:
        block.attn.qkv = adapted(block.attn.qkv)
    return Network(body, body.num_features, request.outputs, request.head, request.metadata)


def adapted(layer):
    """Return a linear layer W with a step of rank R beside it: W x + B A x, where B begins with zeros."""
    from torch import nn

    class Adapted(nn.Module):
        """The layer and its step."""

        def __init__(self):
            super().__init__()
            self.layer = layer
            self.down = nn.Linear(layer.in_features, RANK, bias=False)
            self.up = nn.Linear(RANK, layer.out_features, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, tokens):
            return self.layer(tokens) + SCALE * self.up(self.down(tokens))

    return Adapted()
