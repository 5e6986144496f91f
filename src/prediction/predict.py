"""Label images with a trained network: python -m src.predict ckpt=CHECKPOINT input=FILE|FOLDER|GLOB output=FOLDER."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from src.data.dataset import Picture
from src.data.decode import read_image
from src.prediction.inputs import find_images, result_names
from src.prediction.predictor import Prediction, Predictor
from src.prediction.results.files import (
    CLASS_LIST,
    ENDINGS,
    SETTINGS,
    Job,
    WriteError,
    check_settings,
    checksum,
    save_class_list,
    save_prediction,
    save_settings,
)
from src.prediction.results.summaries import SUMMARIES, Summary
from src.prediction.shards import Shard, find_shard
from src.system.errors import UserError, printable
from src.system.futures import OrderedFutures
from src.system.processes import one_at_a_time
from src.system.progress import tracked

__all__ = ["Prediction", "Predictor", "predict"]

LARGE = 1 << 20  # pixels; of larger images, several at once might not fit into memory


def main(config: DictConfig) -> None:
    """Label all images; if some fail, print them and exit with status 1."""
    if faults := predict(config):
        print("\n".join(f"error: {printable(fault)}" for fault in faults), file=sys.stderr)
        sys.exit(1)


def predict(config: DictConfig) -> list[str]:
    """Label all images, or those of this process's shard, and return a line for each failure.

    Raises:
        UserError: if an option, the checkpoint or the output folder cannot be used.
    """
    shard = find_shard(config.shard)
    jobs = find_jobs(config)
    if shard.count > 1 and config.output == config.paths.output_dir:
        raise UserError("output=FOLDER is needed, because several processes write to the same folder")
    shard_jobs = jobs[shard.index :: shard.count]
    crf = instantiate(config.crf) if config.crf else None
    inference = instantiate(config.inference)
    workers = max(1, min(torch.get_num_threads(), len(shard_jobs)))
    predictor = Predictor(config.ckpt, crf, inference, config.accelerator, config.precision, workers, shard.local_index)
    prepare_output(config, predictor.classes, jobs, shard)

    missing = [job._replace(results={k: p for k, p in job.results.items() if not p.exists()}) for job in shard_jobs]
    missing = [job for job in missing if job.results]
    faults = run(missing, predictor)
    kept, failed = len(shard_jobs) - len(missing), len(faults)
    faults += complete_summaries(config, predictor.classes, jobs, shard)
    notes = (f", {kept} were there already" if kept else "") + (f", {failed} failed" if failed else "")
    part = f" of shard {shard.index}/{shard.count} ({len(jobs)} in all)" if shard.count > 1 else ""
    print(f"{len(missing) - failed} of {len(shard_jobs)} images{part} labelled{notes}: {config.output}/")
    return faults


def prepare_output(config: DictConfig, classes: list[str], jobs: Sequence[Job], shard: Shard) -> None:
    """Check that the output folder has no results of other settings, and write the settings to it.

    With ``overwrite``, remove this process's earlier results.

    Raises:
        UserError: if the folder has other results, or cannot be written to.
    """
    output = Path(config.output)
    settings: dict[str, Any] = {key: OmegaConf.to_container(config[key]) or None for key in ("crf", "inference")}
    settings |= {"checkpoint": checksum(Path(config.ckpt)), "classes": classes}
    if not config.overwrite:
        paths = [path for job in jobs for path in job.results.values()]
        paths += [output / SUMMARIES[key][0] for key in SUMMARIES if config[key]]
        check_settings(output, settings, any(path.exists() for path in paths))
    with lock_output(output, shard):
        summaries = open_summaries(config, classes)
        if config.overwrite:
            remove_results(jobs[shard.index :: shard.count], summaries)
        save_settings(output, settings)
        if config.labelme and (config.overwrite or not (output / "labelme" / CLASS_LIST).exists()):
            save_class_list(output / "labelme", classes)


def complete_summaries(config: DictConfig, classes: list[str], jobs: Sequence[Job], shard: Shard) -> list[str]:
    """Add the images labelled so far to the summaries, and return a line for each failure.

    Every process does this at its end, so the last one adds what the others could not.
    """
    if not any(config[key] for key in SUMMARIES):
        return []
    with lock_output(Path(config.output), shard):
        masks = {job.name: job.results["masks"] for job in jobs if job.results["masks"].exists()}
        return [fault for summary in open_summaries(config, classes) for fault in summary.complete(masks)]


@contextmanager
def lock_output(output: Path, shard: Shard) -> Iterator[None]:
    """Lock the settings and summaries during the block, if other processes also write to the folder.

    Raises:
        WriteError: if the folder is not writable.
    """
    if shard.count == 1:
        yield
        return
    with ExitStack() as stack:
        try:
            output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(one_at_a_time(output / SETTINGS))
        except OSError as error:
            raise WriteError(f"{output}: cannot be written to ({error.strerror or error})") from error
        yield


def open_summaries(config: DictConfig, classes: Sequence[str]) -> list[Summary[Any]]:
    """Return the summaries that the config asks for, with their existing entries.

    Raises:
        UserError: if a summary cannot be read.
    """
    chosen = [SUMMARIES[key] for key in SUMMARIES if config[key]]
    return [kind(Path(config.output, name), classes, replace=config.overwrite) for name, kind in chosen]


def remove_results(jobs: Sequence[Job], summaries: Sequence[Summary[Any]]) -> None:
    """Remove the results of all jobs, so that no results of other settings remain if the command is stopped."""
    for job in jobs:
        for path in job.results.values():
            path.unlink(missing_ok=True)
    for summary in summaries:
        summary.remove(job.name for job in jobs)


def find_jobs(config: DictConfig) -> list[Job]:
    """Return a job for every image in ``input``.

    Raises:
        UserError: if an option is missing, or no image is found.
    """
    if not config.input:
        raise UserError("input=FILE, FOLDER or PATTERN is needed: the images to label")
    kinds = [kind for kind in ENDINGS if config[kind]]
    for summary in SUMMARIES:
        if config[summary] and "masks" not in kinds:
            raise UserError(f"{summary}=true needs masks=true, because it is computed from the masks")
    if not kinds:
        raise UserError(f"nothing to save: set one of {', '.join(ENDINGS)} to true")
    if not config.output:
        raise UserError("output=FOLDER is needed: the folder for the results")
    output = Path(config.output)
    base, images = find_images(str(config.input), without=[output / kind for kind in ENDINGS])
    names = result_names(images, base)
    return [
        Job(
            image,
            image.relative_to(base).as_posix(),
            {kind: output / kind / f"{name}{ENDINGS[kind]}" for kind in kinds},
        )
        for image, name in zip(images, names, strict=True)
    ]


def run(jobs: list[Job], predictor: Predictor) -> list[str]:
    """Label the images of all jobs and save the results; return a line for each image that failed.

    On a CPU, each core labels an image of its own, because several cores wait for each other in every layer. On a GPU,
    and for large images, the network takes one image after the other, while threads read, refine and write.
    """
    faults: list[str] = []
    workers = torch.get_num_threads()
    one_core_each = predictor.device.type == "cpu" and len(jobs) >= workers

    def take_result(future: Future[None], job: Job) -> None:
        with collect_faults(faults, job):
            future.result()

    reading: deque[Future[Picture]] = deque()
    finishing: OrderedFutures[None, Job] = OrderedFutures(take_result, limit=2 * workers)  # limits memory
    with single_core_threads(workers) as pool:
        for index, job in enumerate(tracked(jobs, "labelling", transient=False)):
            while len(reading) <= workers and index + len(reading) < len(jobs):
                reading.append(pool.submit(read_image, jobs[index + len(reading)].image))
            with collect_faults(faults, job):
                pixels = reading.popleft().result()
                if one_core_each and pixels.shape[0] * pixels.shape[1] <= LARGE:
                    finishing.add(pool.submit(label, job, pixels, predictor), job)
                    continue
                if one_core_each:
                    finishing.finish()  # limits memory
                finishing.add(pool.submit(finish, job, pixels, predictor.scores(pixels), predictor), job)
        finishing.finish()
    return faults


@contextmanager
def single_core_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads in which torch uses one core each; elsewhere it uses as many as before."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # the last number set is that of every thread started later


def label(job: Job, pixels: Picture, predictor: Predictor) -> None:
    """Label an image and save its results."""
    finish(job, pixels, predictor.scores(pixels), predictor)


def finish(job: Job, pixels: Picture, scores: Tensor, predictor: Predictor) -> None:
    """Refine the scores of an image and save its results."""
    prediction = predictor.refine(pixels, scores, probabilities="probabilities" in job.results)
    save_prediction(job, pixels, prediction, predictor)


@contextmanager
def collect_faults(faults: list[str], job: Job) -> Iterator[None]:
    """Append an error from the block to ``faults``, so that the other images are still labelled.

    Raises:
        WriteError: if the block raises it.
    """
    try:
        yield
    except WriteError:
        raise
    except UserError as error:
        message = str(error)
        faults.append(message if str(job.image) in message else f"{job.image}: {message}")
    except Exception as error:
        message = " ".join(str(error).split())[:300]
        hint = "; inference=windows needs less memory" if "memory" in message.lower() else ""
        faults.append(f"{job.image}: {type(error).__name__}: {message}{hint}")
