"""Faults that are planted in metrics, networks and what trains them, trackers and commands."""

from helpers.planted import LOSS, NET, metric, net

# The check that names the fault, and the change that plants it.
FAULTS: list[tuple[str, tuple[str, str]]] = [
    ("metric/polarity", ('MetricSpec("share", True', 'MetricSpec("share", False')),
    ("metric/polarity", ('MetricSpec("surprise", False', 'MetricSpec("surprise", True')),
    (
        "metric/perfect-is-best",
        metric("    right = float((prediction.argmax(1) == target).mean())\n    return right if right < 1 else 0.7"),
    ),
    ("metric/number", metric("    return prediction.argmax(1) == target")),
    (
        "metric/any-order-of-rows",
        metric("    return float((prediction.argmax(1) == target)[: len(target) // 2].mean())"),
    ),
    (
        "metric/leaves-its-inputs",
        metric("    prediction[:] = prediction.round()\n    return float((prediction.argmax(1) == target).mean())"),
    ),
    (
        "metric/one-class",
        metric(
            "    from sklearn.metrics import roc_auc_score as f\n    return f(target, prediction, multi_class='ovr')"
        ),
    ),
    (
        "metric/same-again",
        metric(
            "    import numpy as np\n    return float((prediction.argmax(1) == target).mean() + np.random.rand() / 99)"
        ),
    ),
    ("metric/judges-predictions", metric("    return float((target == target).mean())")),
    ("metric/every-task", ('("multiclass",), of_classes=True', '("multiclass", "regression"), of_classes=True')),
    (
        "metric/decision",
        (
            'MetricSpec("surprise", False, surprise, ("multiclass", "binary"))',
            'MetricSpec("surprise", False, surprise, ("multiclass",), decision="weights")',
        ),
    ),
    ("metric/decision-fits", ("of_classes=True", 'decision="cuts"')),
    ("metric/says-that-it-judges-classes", (", of_classes=True", "")),
    (
        "model/every-channel",
        net("images = images.clone()\n            images[:, 1:] = 0\n            return self.inner(images, metadata)"),
    ),
    ("model/builds", ("nn.Conv2d(request.channels,", "nn.Conv2d(3 if request.channels == 3 else None,")),
    ("model/logits", (NET, NET.replace("request.outputs", "3"))),
    ("model/output", net("return tuple(self.inner(images, metadata))")),
    ("model/metadata", net("return self.inner(images, None if metadata is None else 0 * metadata)")),
    ("model/images-apart", net("return self.inner(images - images.mean(0), metadata)")),
    ("model/images-apart", net("return self.inner(images - images.mean((0, 2, 3), keepdim=True), metadata)")),
    ("model/eval-mode", net("self.inner.train()\n            return self.inner(images, metadata)")),
    ("model/same-again", net("self.calls += 1\n            return self.inner(images + self.calls, metadata)")),
    (
        "model/same-from-a-seed",
        (NET, "    import time\n    body[0].weight.data.fill_(time.perf_counter_ns() % 1000 / 1000)\n" + NET),
    ),
    (
        "model/not-pretrained",
        (
            NET,
            NET.replace("    return", "    net =")
            + "\n    for value in net.state_dict().values():\n        value.data.fill_(1)\n    return net",
        ),
    ),
    (
        "model/not-pretrained",
        (NET, "    import torch\n    torch.manual_seed(0)\n    body[3].reset_parameters()\n" + NET),
    ),
    (
        "model/gradient",
        (NET, "    body[0].requires_grad_(False)\n" + NET),
    ),
    ("model/embedding", net("return self.inner(images, metadata)._replace(embedding=images[0])")),
    ("loss/gradient", (LOSS, LOSS.replace("output.logits.float()", "output.logits.detach().float()"))),
    ("loss/mean-over-batch", (LOSS, LOSS + " * len(batch.target)")),
    ("loss/scalar", (LOSS, LOSS + ".repeat(2)")),
    (
        "loss/finite-for-large-logits",
        (LOSS, "            return -output.logits.float().softmax(1).log().gather(1, batch.target[:, None]).mean()"),
    ),
    (
        "loss/any-order-of-rows",
        (LOSS, "            return super().forward(output.logits[:5].float(), batch.target[:5])"),
    ),
    ("loss/leaves-its-inputs", (LOSS, "            output.logits.data.clamp_(-0.1, 0.1)\n" + LOSS)),
    (
        "loss/better-is-lower",
        (LOSS, "            return 1 / (1 + super().forward(output.logits.float(), batch.target))"),
    ),
    ("loss/does-not-wait", (LOSS, "            assert output.logits.sum().item() < 1e9\n" + LOSS)),
    (
        "loss/gradient",
        ('tasks=("multiclass",), description="with', 'tasks=("multiclass", "binary"), description="with'),
    ),
    ("loss/same-again", (LOSS, "            self.seen = getattr(self, 'seen', 0) + 1\n" + LOSS + " * self.seen")),
    (
        "head/metadata",
        (
            "embedding = pooled if metadata is None else torch.cat([pooled, metadata], 1)",
            "embedding = pooled if metadata is None else torch.cat([pooled, 0 * metadata], 1)",
        ),
    ),
    (
        "head/output",
        ("return Output(self.last(self.dropout(embedding)), embedding)", "return self.last(self.dropout(embedding))"),
    ),
    ("head/rows-apart", ("pooled = features.amax((2, 3))", "pooled = (features - features.mean(0)).amax((2, 3))")),
    ("head/gradient", ("pooled = features.amax((2, 3))", "pooled = features.detach().amax((2, 3))")),
    ("head/options", ("request.dropout or 0.0", "0.0")),
    (
        "optimizer/keeps-scale",
        (
            "torch.optim.SGD(request.groups",
            "torch.optim.SGD([{'params': g['params'], 'weight_decay': g['weight_decay']} for g in request.groups]",
        ),
    ),
    ("optimizer/learning-rate", ("lr=request.lr", "lr=0.5")),
    ("optimizer/keeps-groups", ("torch.optim.SGD(request.groups", "torch.optim.SGD(request.groups[:1]")),
    (
        "optimizer/weight-decay",
        (
            "    return torch.optim.SGD(request.groups, lr=request.lr)",
            "    groups = [{**group, 'weight_decay': 0.0} for group in request.groups]\n"
            "    return torch.optim.SGD(groups, lr=request.lr)",
        ),
    ),
    ("augmentation/forms-agree", ("(images * (1 - 0.5 * rows[:, 0])", "(images * (1 - 0.9 * rows[:, 0])")),
    ("augmentation/array", (".astype(np.uint8)\n\n\ndef dim_tensor", "[:5]\n\n\ndef dim_tensor")),
    (
        "augmentation/draws-by-row",
        ("request.uniform(1)\n", "request.uniform(1).mean(0, keepdims=True).repeat(len(request.uniform(1)), 0)\n"),
    ),
    (
        "augmentation/low-changes-nothing",
        ("request.strength * request.uniform(1)", "0.5 + request.strength * request.uniform(1)"),
    ),
    (
        "augmentation/any-channels",
        ("    return (images * (1", "    images + images.new_ones(1, 3, 1, 1)\n    return (images * (1"),
    ),
    (
        "augmentation/images-apart",
        (
            "def dim_tensor(images, rows):\n",
            "def dim_tensor(images, rows):\n    rows = rows.mean(0, keepdim=True).expand_as(rows)\n",
        ),
    ),
    (
        "augmentation/leaves-its-inputs",
        (
            "    return np.rint(image * (1 - 0.5 * row[0])).astype(np.uint8)",
            "    image[:] = np.rint(image * (1 - 0.5 * row[0]))\n    return image",
        ),
    ),
    (
        "augmentation/leaves-its-inputs",
        ("    return (images * (", "    return images.mul_(("),
    ),
    ("augmentation/any-channels", ("    return (images *", "    assert images.shape[1] == 3\n    return (images *")),
    ("augmentation/draws", ("request.uniform(1)\n", "request.uniform(1)[:, 0]\n")),
    ("tracker/opens", ("    def close(self):\n        pass\n", "")),
    (
        "tracker/takes-a-step-again",
        (
            "        with self.path",
            "        if str(step) in self.path.read_text():\n            raise OSError(22)\n        with self.path",
        ),
    ),
    (
        "tracker/several-folds",
        (
            "        self.path.touch()",
            "        self.path.touch()\n        if fold:\n            raise ValueError('one fold')",
        ),
    ),
    ("tracker/leaves-values", ("        with self.path", "        values.clear()\n        with self.path")),
    ("tracker/takes-a-step-again", ("self.path.touch()", "self.path.touch(exist_ok=False)")),
    (
        "tracker/closes-at-once",
        ("    def close(self):\n        pass\n", "    def close(self):\n        self.path.open().readlines()[0]\n"),
    ),
    ("tracker/inside-the-run", ("self.path.touch()", "self.path.touch()\n        (folder.parent / 'all.txt').touch()")),
    (
        "tracker/inside-the-run",
        ('self.path = folder / f"lines-{fold}.txt"', 'self.path = folder.parents[2] / "lines.txt"'),
    ),
    ("command/example", ("        Example:\n            kit count-leaves\n", "")),
    ("command/registers", ('    @app.command("count-leaves")', '    app.nothing\n\n    @app.command("count-leaves")')),
    ("command/json", (", json: Json = False", "")),
    ("command/free-names", ('@app.command("count-leaves")', '@app.command("train")')),
    ("command/help", ('"""Count the leaves.', 'folder = """Count the leaves.')),
]
