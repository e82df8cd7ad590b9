"""The training loop: one fold, read from top to bottom."""

import time
from functools import partial

from kit.config import TrainConfig
from kit.console import Console
from kit.inference.forward import Forward, forward
from kit.model import distributed
from kit.model.build import Model
from kit.model.checkpoint import pack_modules, pack_optimizer, unpack_modules, unpack_optimizer
from kit.training.ema import Ema
from kit.training.finite import LossWatch
from kit.training.history import write_history
from kit.training.interrupt import Interrupt
from kit.training.job import FoldJob
from kit.training.optim import freeze_body
from kit.training.schedule import is_frozen, learning_rate, out_of_patience, stage_size
from kit.training.state import TrainState
from kit.training.stepper import Stepper
from kit.training.steps import Steps
from kit.training.validator import Validator

READ_LOSS_EVERY = 10  # steps


def train_fold(job: FoldJob, interrupt: Interrupt, console: Console) -> Forward:
    """Train one fold, from its last checkpoint if there is one, and predict its validation images.

    Each step's randomness depends on (seed, fold, epoch, step) alone, so a run that was stopped anywhere and resumed
    ends with the same weights as one that was never stopped.

    Returns:
        The validation images' probabilities under the weights that the configuration selects (`last` or `best`).

    Raises:
        InUnison: the loss or the output is no longer finite.
        Interrupted: the user asked to stop; a checkpoint was saved.
    """
    config, model = job.config, job.model  # the model that learns; `predictor` is the one that predicts
    stepper = Stepper(config, model, len(job.classes))
    ema = Ema(model, config.ema) if config.ema is not None else None
    predictor = ema.model if ema else model
    steps_per_epoch = len(job.plan((0,)))

    # Resume from the last checkpoint, if any.
    state = _resume(job, stepper, predictor)
    rate = partial(_rate, config, state, steps_per_epoch)
    validator = Validator(job, predictor, steps_per_epoch, interrupt, console)
    watch = LossWatch(job, state.step)
    interrupt.on_stop = save = partial(_save, job, stepper, predictor, state, watch)
    validation, size = None, None
    job.keep_pixels(console)
    model.network.train()

    for epoch in range(state.epoch, config.epochs):
        if out_of_patience(config, state.epoch_scores, validator.metric.higher_is_better):
            console.say(f"no better {validator.metric.name} for {config.patience} epochs: fold {job.fold} stops early")
            break

        # Set up the epoch: what it trains, at which size, in which order.
        if config.freeze_epochs:
            freeze_body(model.network, is_frozen(config, epoch))
            stepper.prepare()
        if stage_size(config, epoch) != size:
            size = stage_size(config, epoch)
            train_loader, valid_loader = job.train_loader(size), job.valid_loader(size)
        steps, first = Steps(job, stepper, train_loader, epoch), state.step - epoch * steps_per_epoch
        began = time.monotonic() - state.seconds

        title = f"fold {job.fold} epoch {epoch + 1}/{config.epochs}"
        with console.progress(title, len(job.train), start=state.images) as bar:
            for number in range(first, steps_per_epoch):
                # Every N steps: validate and save.
                every = config.validate_every
                if every and state.step % every == 0 and state.validated < state.step:
                    watch.check(stepper.loss_sum, state.images)  # the cause of a NaN is in the rows of its step
                    validator.validate(valid_loader, state, _mean_loss(stepper, state), rate(state.step - 1))
                    save()
                    began = time.monotonic() - state.seconds

                # Take one step.
                total, images = steps.take(number, lr := rate(state.step)), steps.images(number)
                watch.note(number, steps.plan[number], total, lr)
                state.step, state.images = state.step + 1, state.images + images
                if ema:
                    ema.update(state.step)

                # Every few steps: check the loss, and whether to stop.
                check_now = state.step % READ_LOSS_EVERY == 0
                last = number + 1 == steps_per_epoch
                bar.advance(images, watch.check(stepper.loss_sum, state.images, last) if check_now or last else "")
                state.seconds = time.monotonic() - began  # the last check has waited for the device
                job.forecast.after_step(bar.rate())
                if check_now or distributed.world_size() == 1:
                    interrupt.check()
                if config.save_every and state.step % config.save_every == 0:
                    save()

        # The end of an epoch: validate and save.
        validation = validator.validate(valid_loader, state, _mean_loss(stepper, state), rate(state.step - 1))
        state.end_epoch(*validator.last(state))
        stepper.loss_sum.zero_()
        save()

    interrupt.on_stop = None
    # The last validation used the last weights at the last size; for anything else, predict again.
    if config.checkpoint != "last" and state.best_step != state.step:
        _load_best(job, predictor)
        validation = None
    if validation is not None and size == config.size:
        return validation
    return forward(predictor, job.valid_loader(config.size), config.batch_size * 2, at_once=validator.at_once)


def _resume(job: FoldJob, stepper: Stepper, predictor: Model) -> TrainState:
    """Load the last checkpoint, if any, into the learning and the predicting model; return how far it had come."""
    if not job.checkpoints.content:
        return TrainState()
    state, tensors = TrainState.of_document(job.checkpoints.content["state"]), job.checkpoints.state()
    unpack_modules(job.checkpoints.weights("last"), predictor.network, predictor.loss)
    if predictor is not job.model:
        unpack_modules(tensors, job.model.network, job.model.loss)
    unpack_optimizer(tensors, stepper.optimizer)
    write_history(job.history, state.history)  # whatever has become of the file meanwhile
    if stepper.scaler.is_enabled():
        stepper.scaler.load_state_dict(state.scaler)
    # Each rank sums its own images; a sum restored from a checkpoint goes to rank 0.
    stepper.loss_sum += state.loss_sum * distributed.is_main()
    return state


def _save(job: FoldJob, stepper: Stepper, predictor: Model, state: TrainState, watch: LossWatch) -> None:
    """Write a checkpoint: all processes sum their losses, the main process writes; a loss that is NaN is refused."""
    watch.check(stepper.loss_sum, state.images)
    state.loss_sum, state.scaler = distributed.all_reduce(stepper.loss_sum), stepper.scaler.state_dict()
    if not distributed.is_main():
        return
    watch.losses.write()
    learning = {} if predictor is job.model else pack_modules(job.model.network, job.model.loss)
    job.checkpoints.write(
        pack_modules(predictor.network, predictor.loss),
        pack_optimizer(stepper.optimizer, stepper.settings) | learning,
        state.document(),
        step=state.step,
        best=state.best_step == state.step,
        keep=job.config.keep,
    )


def _load_best(job: FoldJob, predictor: Model) -> None:
    """Load the weights of the best validation into the predicting model, in all processes."""
    if distributed.is_main():
        unpack_modules(job.checkpoints.weights(job.config.checkpoint), predictor.network, predictor.loss)
    distributed.broadcast([*predictor.network.state_dict().values(), *predictor.loss.state_dict().values()])


def _rate(config: TrainConfig, state: TrainState, steps_per_epoch: int, step: int) -> float:
    """Return the schedule's learning rate at a step."""
    return learning_rate(config, step, steps_per_epoch, state.epoch_losses)


def _mean_loss(stepper: Stepper, state: TrainState) -> float:
    """Return the mean loss per image of the epoch so far."""
    return distributed.all_reduce(stepper.loss_sum) / max(state.images, 1)
