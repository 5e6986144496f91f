"""Serve the page: python -m src.playground ckpt=CKPT."""

from __future__ import annotations

import ipaddress
import logging
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from src.runs.networks import find_network
from src.system.errors import UserError

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
SECONDS_TO_END = 3  # that requests get after Ctrl-C


def serve(config: DictConfig) -> None:
    """Serve the page until a signal stops it.

    Raises:
        UserError: if a package is missing, a value, the address or the checkpoint cannot be used.
    """
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise UserError(f'the playground needs {" and ".join(missing)}: pip install "deeplab-v1[playground]"')
    import uvicorn

    from src.prediction.playground.app import App
    from src.prediction.playground.examples import Examples
    from src.prediction.playground.sliders import make_sliders
    from src.prediction.playground.workbench import Workbench
    from src.prediction.predictor import Predictor

    preset = read_preset(config)
    sliders, examples = make_sliders(preset), Examples(config.examples)
    instantiate(config.crf)  # checks its arguments, before the network is loaded, and says which engine it has
    logging.getLogger("src.crf.dense_crf").setLevel(logging.WARNING)  # else a line for each move of a slider
    with open_socket(config.host, config.port) as listening:
        predictor = Predictor(config.ckpt, None, instantiate(config.inference), config.accelerator, config.precision)
        workbench = Workbench(predictor, preset, config.side)
        local = is_local(config.host)
        app = App(
            workbench,
            sliders,
            examples,
            name_of(config.ckpt),
            None,
            int(config.megabytes * 2**20),
            LOCAL_NAMES if local else None,
        )
        host, port = listening.getsockname()[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}   (Ctrl-C ends it)", flush=True)
        if not local:
            print(f"host={config.host}: whoever can reach this address can use the page and save presets", flush=True)
        settings = uvicorn.Config(
            app.build(),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=SECONDS_TO_END,
        )
        uvicorn.Server(settings).run(sockets=[listening])


def name_of(ckpt: str) -> str:
    """Return how a user names a checkpoint: its path, or the name of a network that comes with the package."""
    path = Path(ckpt)
    return path.stem if find_network(path.stem) == path else ckpt


def read_preset(config: DictConfig) -> dict[str, Any]:
    """Return the arguments of the CRF that the page begins with.

    Raises:
        UserError: if there is no CRF.
    """
    if not config.crf:
        raise UserError("crf=none: choose the preset to start from, such as crf=deeplab")
    container: Any = OmegaConf.to_container(config.crf, resolve=True)
    return {name: value for name, value in container.items() if name != "_target_"}


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        UserError: if it cannot.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror as error:
        raise UserError(f"host={host}: no address of this machine ({error.strerror}); try host=127.0.0.1") from error
    except OSError as error:
        raise UserError(f"port={port}: cannot listen at {host}:{port} ({error.strerror}); try port=0") from error


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
