"""Label images with a trained network: python -m src.predict ckpt=CKPT input=FILE|FOLDER|GLOB output=FOLDER."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor

from src.data.dataset import Picture
from src.data.decode import read_image
from src.prediction.inputs import find_images, result_names
from src.prediction.predictor import Prediction, Predictor
from src.prediction.results.files import ENDINGS, ImageJob, WriteError, save_prediction
from src.prediction.results.folder import check_output, complete_summaries, find_settings, prepare_output
from src.prediction.results.summaries import SUMMARIES
from src.prediction.shards import find_shard
from src.runs.checkpoints import find_existing_checkpoint
from src.system.counted import counted
from src.system.errors import UserError, printable
from src.system.futures import OrderedFutures
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
    ckpt = find_existing_checkpoint(config.ckpt)
    settings = find_settings(config, ckpt)
    check_output(config, settings, jobs)  # before the network is loaded, which takes seconds
    predictor = Predictor(ckpt, crf, inference, config.accelerator, config.precision, workers, shard.local_index)
    prepare_output(config, settings | {"classes": predictor.classes}, jobs, shard)

    missing = [job._replace(results={k: p for k, p in job.results.items() if not p.exists()}) for job in shard_jobs]
    missing = [job for job in missing if job.results]
    faults = run(missing, predictor)
    kept, failed = len(shard_jobs) - len(missing), len(faults)
    faults += complete_summaries(config, predictor.classes, jobs, shard)
    notes = (f", {kept} were there already" if kept else "") + (f", {failed} failed" if failed else "")
    part = f" of shard {shard.index}/{shard.count} ({len(jobs)} in all)" if shard.count > 1 else ""
    print(f"{len(missing) - failed} of {counted(len(shard_jobs), 'image')}{part} labelled{notes}: {config.output}/")
    return faults


def find_jobs(config: DictConfig) -> list[ImageJob]:
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
        ImageJob(
            image,
            image.relative_to(base).as_posix(),
            {kind: output / kind / f"{name}{ENDINGS[kind]}" for kind in kinds},
        )
        for image, name in zip(images, names, strict=True)
    ]


def run(jobs: list[ImageJob], predictor: Predictor) -> list[str]:
    """Label the images of all jobs and save the results; return a line for each image that failed.

    On a CPU, each core labels an image of its own, because several cores wait for each other in every layer. On a GPU,
    and for large images, the network takes one image after the other, while threads read, refine and write.
    """
    faults: list[str] = []
    workers = torch.get_num_threads()
    one_core_each = predictor.device.type == "cpu" and len(jobs) >= workers

    def take_result(future: Future[None], job: ImageJob) -> None:
        with collect_faults(faults, job):
            future.result()

    reading: deque[Future[Picture]] = deque()
    finishing: OrderedFutures[None, ImageJob] = OrderedFutures(take_result, limit=2 * workers)  # limits memory
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


def label(job: ImageJob, pixels: Picture, predictor: Predictor) -> None:
    """Label an image and save its results."""
    finish(job, pixels, predictor.scores(pixels), predictor)


def finish(job: ImageJob, pixels: Picture, scores: Tensor, predictor: Predictor) -> None:
    """Refine the scores of an image and save its results."""
    prediction = predictor.refine(pixels, scores, probabilities="probabilities" in job.results)
    save_prediction(job, pixels, prediction, predictor)


@contextmanager
def collect_faults(faults: list[str], job: ImageJob) -> Iterator[None]:
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
