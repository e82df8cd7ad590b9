"""Optimisers: those of torch that image networks are trained with."""

from kit.plugin import OptimizerSpec, hookimpl, lazy


@hookimpl
def kit_optimizers() -> list[OptimizerSpec]:
    """Add torch's AdamW, Adam, SGD, NAdam, RAdam and RMSprop."""
    return [
        OptimizerSpec("adamw", lazy("kit_optimizers.build:adamw"), "Adam with decoupled weight decay"),
        OptimizerSpec("adam", lazy("kit_optimizers.build:adam"), "Adam; weight decay is part of the gradient"),
        OptimizerSpec("sgd", lazy("kit_optimizers.build:sgd"), "gradient descent (momentum, nesterov)"),
        OptimizerSpec("nadam", lazy("kit_optimizers.build:nadam"), "AdamW with Nesterov momentum"),
        OptimizerSpec("radam", lazy("kit_optimizers.build:radam"), "AdamW whose first steps need no warm-up"),
        OptimizerSpec("rmsprop", lazy("kit_optimizers.build:rmsprop"), "RMSprop (momentum)"),
    ]
