"""A run of training: from its state's step to the last epoch, whatever happens on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from grouppose.checkpoints import read_checkpoint
from util import distributed, engine, evaluation, log, mishaps, sharding, stopping
from util.loading import effective_batch
from util.log import logger
from util.optim import count_parameters
from util.saving import BEST, NEWEST, find_checkpoint
from util.session import Run, Session, start

TEST_PREFIX = {"regular": "test", "ema": "ema_test"}  # in log.txt
TRACKED_EVERY = 20  # steps between the numbers that trackers get


def train(run: Run) -> None:
    """Trains to the last epoch; checkpoints on the way, and a line of log.txt an epoch."""
    from util.plots import plot_curves

    settings = run.settings
    with stopping.remembered():
        session = start(run)
        state = session.state
        while state.epoch < settings.epochs and not _is_stale(session):
            try:
                finish_epoch(session, *train_epoch(session))
            except mishaps.DivergedError as error:
                roll_back(session, error)
        if session.writer is not None:
            session.writer.wait()
            session.trackers.close()
            if (session.folder / log.LOG).exists():
                plot_curves([session.folder / log.LOG], session.folder / "curves.png")
    logger.info(f"{state.epoch} epochs in {state.minutes:.1f} minutes; see {session.folder}")


def _is_stale(session: Session) -> bool:
    limit, stale = session.run.settings.early_stop, session.state.stale
    if limit and stale >= limit:
        logger.info(f"early stop: {stale} evaluations without a better AP")
    return bool(limit) and stale >= limit


def train_epoch(session: Session) -> tuple[dict[str, float], dict[str, float]]:
    """The rest of the state's epoch; its losses and how fast it went."""
    run, state = session.run, session.state
    sampler = run.train_batches.batch_sampler
    sampler.epoch, sampler.first_step = state.epoch, state.step
    sampler.reshuffles = state.reshuffles
    run.train_batches.dataset.set_epoch(state.epoch)
    if session.writer is not None:
        session.writer.wait()  # no thread holds a lock while processes that read are forked
    return engine.train_one_epoch(session, partial(after_step, session))


def after_step(session: Session, step: engine.Step) -> None:
    """Saves, stops or goes back if it is time to; the same on all ranks."""
    state, settings = session.state, session.run.settings
    if session.writer is not None:
        session.writer.check()
        if step.good and session.step % TRACKED_EVERY == 0:
            numbers = {**step.values, "gradient_norm": step.gradient_norm}
            numbers["lr"] = state.optimizer.param_groups[0]["lr"]
            session.trackers.numbers({f"step/{k}": v for k, v in numbers.items()}, session.step)
    if step.unreadable:
        mishaps.note_unreadable(state, step, session.folder, settings.max_unreadable)
    if not step.good:
        mishaps.note_bad_step(state, step, session.folder, settings.max_bad_steps)
    state.bad_in_a_row = 0 if step.good else state.bad_in_a_row
    due = step.good and settings.save_steps and session.step % settings.save_steps == 0
    if due or step.stop:
        mishaps.require_finite(state)
        save(session, content_of(session))
    if step.stop:
        raise _stopped(session, step.stop)


def content_of(session: Session) -> dict[str, Any]:
    """What a checkpoint holds; every rank must call it."""
    session.state.minutes = (time.monotonic() - session.clock) / 60
    settings = {**session.run.settings, **session.run.model.settings}
    return {**session.state.state_dict(), "settings": settings}


def save(session: Session, content: Mapping[str, Any], *further: Any, again: bool = False) -> None:
    """Starts to write a checkpoint, on rank 0; `again`: in place of the one of the same step."""
    if session.writer is not None:
        session.writer.write(content, *further, again=again)
    session.checkpoint, session.saved = str(session.folder / NEWEST), session.step


def _stopped(session: Session, number: int) -> stopping.Stopped:
    if session.writer is not None:
        session.writer.wait()
        session.trackers.close()
    state = session.state
    return stopping.Stopped(
        f"stopped by signal {number} in epoch {state.epoch} after step {state.step}; the same "
        "command with --auto_resume goes on from there",
        number,
    )


def roll_back(session: Session, error: mishaps.DivergedError) -> None:
    """Goes back to the last good checkpoint; its pictures follow in another order."""
    state, number = session.state, session.state.rollbacks + 1
    if number > session.run.settings.max_rollbacks or session.checkpoint is None:
        why = f"after {number - 1} returns" if session.checkpoint else "before a first checkpoint"
        raise mishaps.NonFiniteLossError(
            f"training diverged {why}: {error}; lower lr, or set warmup_steps, clip_max_norm or "
            "save_steps; bad_steps/ in the output folder holds the batches"
        )
    path = session.checkpoint
    if session.writer is not None:
        session.writer.wait()
        if path == str(session.folder / NEWEST):
            path = str(find_checkpoint(session.folder))
    path = distributed.from_main(path)
    state.load_state_dict(read_checkpoint(path), path)
    state.rollbacks, state.bad_in_a_row = number, 0
    state.reshuffles = [*state.reshuffles, (state.step, number)]
    logger.warning(
        f"training diverged: {error}; going back to epoch {state.epoch}, step {state.step} with "
        "another order of the pictures"
    )


def finish_epoch(session: Session, losses: dict[str, float], pace: dict[str, float]) -> None:
    """Evaluates if it is time to, then writes the line of log.txt and checkpoints."""
    state, settings = session.state, session.run.settings
    epoch = state.epoch
    mishaps.require_finite(state)
    models = evaluated_models(session)
    for model in models.values():
        distributed.copy_buffers(model)
    scores, improved = {}, {}
    due = (epoch + 1) % settings.eval_every == 0 or epoch + 1 == settings.epochs
    if due:
        if session.saved != session.step:
            save(session, content_of(session))  # whatever evaluation meets, the epoch is kept
        scores, improved = evaluate_epoch(session, models)
    entry = {
        "epoch": epoch,
        **{f"train_{name}": value for name, value in losses.items()},
        "train_lr": state.optimizer.param_groups[0]["lr"],
        **scores,
        **pace,
        "skipped_steps": state.skipped,
    }
    state.start_epoch()
    content = content_of(session)
    note_epoch(session, entry)
    save(session, content, *kept_files(session, content, improved), again=due)


def evaluate_epoch(
    session: Session, models: Mapping[str, nn.Module]
) -> tuple[dict[str, float], dict[str, bool]]:
    """Statistics of `models` by their names in log.txt; whether each is the best so far."""
    state = session.state
    scores, improved = {}, {}
    if session.writer is not None:
        session.writer.wait()  # as in train_epoch
    try:
        for name, model in models.items():
            stats, _, people = evaluation.evaluate(session.run, model)
            scores |= {f"{TEST_PREFIX[name]}_{key}": value for key, value in stats.items()}
            improved[name] = stats.get("AP", -1.0) > state.best.get(name, -1.0)
            state.best[name] = max(stats.get("AP", -1.0), state.best.get(name, -1.0))
            if name == "regular":
                draw_people(session, people)
    except stopping.Stopped as stop:
        raise _stopped(session, stop.status - 128) from None
    state.stale = distributed.from_main(0 if any(improved.values()) else state.stale + 1)
    return scores, improved


def note_epoch(session: Session, entry: dict[str, float]) -> None:
    """The epoch's line in log.txt, on the console and for trackers, on rank 0."""
    state = session.state
    if session.writer is None:
        return
    entry |= {
        "minutes": round(state.minutes, 3),
        "num_parameters": count_parameters(state.model),
        "effective_batch": effective_batch(session.run.settings),
    }
    log.append_log(session.folder / log.LOG, entry)
    report_epoch(entry)
    session.trackers.numbers({f"epoch/{k}": v for k, v in entry.items()}, session.step)


def evaluated_models(session: Session) -> dict[str, nn.Module]:
    """The weights, and their moving average if there is one, as models that one rank can run."""
    state, model = session.state, session.run.model
    if session.run.sharded:
        model = sharding.plain_copy(state.model, session.run.device)
    models = {"regular": model}
    if state.ema is not None and state.ema.started:
        models["ema"] = state.ema.module
    return models


def draw_people(session: Session, people: Any) -> None:
    """What the model finds on the first pictures of the evaluation set, on rank 0."""
    import cv2

    from util.drawing import drawn_samples, save_prediction_grid

    count = session.run.settings.draw_pictures
    if session.writer is None or not count:
        return
    dataset, epoch = session.run.val_set, session.state.epoch
    path = session.folder / "pictures" / f"epoch{epoch:04}.png"
    path.parent.mkdir(exist_ok=True)
    samples = drawn_samples(dataset, people[:count])
    save_prediction_grid(path, samples, dataset.skeleton, columns=min(4, count))
    session.trackers.picture("predictions", cv2.imread(str(path))[..., ::-1], session.step)


def kept_files(
    session: Session, content: Mapping[str, Any], improved: Mapping[str, bool]
) -> tuple[list[str], dict[str, Any]]:
    """Further names of an epoch's checkpoint, and further files.

    Kept are every save_checkpoint_interval-th epoch, the last one before each drop of the rate and
    the best so far.
    """
    state, settings = session.state, session.run.settings
    names, others = [], {}
    due = state.epoch % settings.save_checkpoint_interval == 0
    if due or session.schedule.drops(state.epoch):
        names.append(f"checkpoint{state.epoch - 1:04}.pth")
    if improved.get("regular"):
        names.append(BEST)
    if improved.get("ema"):
        keep = {key: content[key] for key in ("settings", "epoch", "best")}
        average = {**keep, "model": state.ema.module.state_dict()}
        others["checkpoint_best_ema.pth"] = average
    return names, others


def report_epoch(entry: dict[str, float]) -> None:
    """One line on the console; scores in %, as in every table."""
    words = [f"epoch {entry['epoch']}", f"loss {entry.get('train_loss', float('nan')):.3f}"]
    for prefix in TEST_PREFIX.values():
        for name, title in (("AP", "AP"), ("AP50", "AP50"), ("swap_rate", "swaps")):
            if f"{prefix}_{name}" in entry:
                value = entry[f"{prefix}_{name}"]  # -1: there was nothing to find
                words.append(f"{prefix} {title} {f'{100 * value:.1f} %' if value >= 0 else '-'}")
    logger.info("  ".join([*words, f"{entry['minutes']:.1f} minutes"]))
