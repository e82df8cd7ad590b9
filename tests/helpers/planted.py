"""A stranger's plugin with one thing of every kind, in which faults are planted."""

from helpers.strangers import leaves

EXTRAS = '''

@hookimpl
def kit_metrics():
    from kit.plugin import MetricSpec

    return [
        MetricSpec("share", True, share, ("multiclass",), of_classes=True),
        MetricSpec("surprise", False, surprise, ("multiclass", "binary")),
    ]


@hookimpl
def kit_heads():
    from kit.plugin import HeadSpec

    return [HeadSpec("peak", build_head, "the largest value of each feature", options=("dropout",))]


@hookimpl
def kit_optimizers():
    from kit.plugin import OptimizerSpec

    return [OptimizerSpec("plain", build_optimizer, "plain descent")]


@hookimpl
def kit_augmentations():
    from kit.plugin import AugmentationSpec

    return [AugmentationSpec("dim", draw, dim_array, dim_tensor, description="how dark at most")]


@hookimpl
def kit_trackers():
    from kit.plugin import TrackerSpec

    return [TrackerSpec("lines", Lines)]


@hookimpl
def kit_commands(app):
    import typer
    from kit.plugin.commands import Json

    @app.command("count-leaves")
    def count(folder: str = typer.Option(".", help="Where they lie."), json: Json = False):
        """Count the leaves.

        \\b
        Example:
            kit count-leaves
        """


def share(target, prediction):
    return float((prediction.argmax(1) == target).mean())


def surprise(target, prediction):
    import numpy as np

    own = prediction[np.arange(len(target)), target] if prediction.ndim == 2 else np.abs(1 - target - prediction)
    return float(-np.log(np.clip(own, 1e-7, 1)).mean())


def build_head(request):
    import torch
    from torch import nn
    from kit.plugin.network import Output

    class Peak(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(request.dropout or 0.0)
            self.last = nn.Linear(request.features + request.metadata, request.outputs)

        def forward(self, features, metadata):
            pooled = features.amax((2, 3)) if features.ndim == 4 else features
            embedding = pooled if metadata is None else torch.cat([pooled, metadata], 1)
            return Output(self.last(self.dropout(embedding)), embedding)

    return Peak()


def build_optimizer(request):
    import torch

    return torch.optim.SGD(request.groups, lr=request.lr)


def draw(request):
    return request.strength * request.uniform(1)


def dim_array(image, row):
    import numpy as np

    return np.rint(image * (1 - 0.5 * row[0])).astype(np.uint8)


def dim_tensor(images, rows):
    return (images * (1 - 0.5 * rows[:, 0])[:, None, None, None]).round()


class Lines:
    def __init__(self, folder, fold):
        self.path = folder / f"lines-{fold}.txt"
        self.path.touch()

    def log(self, step, values):
        with self.path.open("a") as file:
            file.write(f"{step} {dict(values)}\\n")

    def close(self):
        pass
'''

WHOLE = leaves() + EXTRAS
INDEX = '    return Index(root, "multiclass", TREES, train, frames[1][["id", "files"]])'
TRAIN = '[["id", "files", "target"]]\n'
TEST = 'frames[1][["id", "files"]]'
READ = "    return read_rgb(files[0])"
DRAW = "    rng = np.random.default_rng(seed)\n"
NET = "    return Network(body, 32, request.outputs, request.head, request.metadata)"
WRAPPED = """
    inner = Network(body, 32, request.outputs, request.head, request.metadata)

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = inner
            self.calls = 0

        def forward(self, images, metadata=None):
            BODY

    return Odd()"""
LOSS = "            return super().forward(output.logits.float(), batch.target)"
MODULE = "TREES = ("


def net(body: str) -> tuple[str, str]:
    """A network around the network."""
    return NET, WRAPPED.replace("BODY", body)


def metric(body: str) -> tuple[str, str]:
    return "    return float((prediction.argmax(1) == target).mean())", body
