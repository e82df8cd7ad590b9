"""What a stranger's network or loss does wrong is named when training begins: the plugin, its file and line."""

import re

import pytest

from helpers.strangers import leaves, use

QUICK = ("--folds", 2, "--fold", 0, "--epochs", 1)
FORWARD = "super().forward(output.logits.float(), batch.target)"
COMMANDS = {
    "loss returns a vector": (
        (FORWARD, f"{FORWARD} * torch.ones(3)"),
        "Smooth returned torch.float32 of 3, not a scalar",
    ),
    "loss returns a number": ((FORWARD, "1.0"), r"the loss kit_leaves.*Smooth returned 1.0, not a scalar tensor"),
    "loss raises": (
        ("output.logits.float()", "output.nothing"),
        r"plugin leaves of kit-leaves failed at .*kit_leaves.py:\d+ \(Att",
    ),
    "loss takes one argument": (
        ("def forward(self, output, batch):", "def forward(self, output):"),
        r"Smooth can't take an Output and a Batch \(TypeError: .*: correct it at .*kit_leaves.py:\d+$",
    ),
    "torch's own loss": (
        ("return Smooth(label_smoothing=0.1)", "return nn.CrossEntropyLoss()"),
        r"CrossEntropyLoss can't take an Output and a Batch \(",
    ),
    "network takes nothing": (
        (
            "return Network(body",
            "class Bare(Network):\n        def forward(self):\n            return 0\n\n    return Bare(body",
        ),
        r"leaf_net failed on 2 images .*kit_leaves.py:\d+ \(TypeError",
    ),
    "network returns a tensor": (
        (
            "return Network(body",
            "class Bare(Network):\n        def forward(self, images, metadata=None):\n"
            "            return super().forward(images, metadata).logits\n\n    return Bare(body",
        ),
        "the plugin of leaf_net returns torch.float32 of 2x3, not an Output",
    ),
    "network raises": (
        (
            "return Network(body",
            "class Bare(Network):\n        def forward(self, images, metadata=None):\n"
            "            return images.nothing\n\n    return Bare(body",
        ),
        r"leaf_net failed on 2 images .*kit_leaves.py:\d+ \(AttributeError",
    ),
    "submission": (('submission="leaves"', 'submission="leavs"'), "no submission is called 'leavs'"),
    "another task's metric": (('metric="accuracy"', 'metric="roc_auc_x"'), "no metric is called 'roc_auc_x'"),
}


@pytest.mark.parametrize("mistake", COMMANDS)
def test_what_a_network_or_a_loss_does_wrong_is_named(kit, tmp_path, monkeypatch, mistake):
    change, said = COMMANDS[mistake]
    use(
        monkeypatch,
        tmp_path / "plugin",
        leaves(
            change, ("    from torch import nn\n\n    class", "    import torch\n    from torch import nn\n\n    class")
        ),
    )
    kit("download", "leaves", "--miniature")
    found = kit("train", "leaves", *QUICK, "--json", code=2).json["error"]
    assert re.search(said, found)
