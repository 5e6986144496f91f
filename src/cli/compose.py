"""Compose a command's config in Python, for notebooks and scripts."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.cli.conf_folder import CONF
from src.cli.config.complete import complete_config
from src.cli.config_sources import register_config_sources
from src.cli.messages.errors import explain, explain_start
from src.cli.resolvers import register_resolvers
from src.system.errors import UserError


def compose(command: str, *overrides: str, output_dir: str | Path) -> DictConfig:
    """Return the config of ``python -m src.COMMAND OVERRIDES``, for the function that the command calls.

        metrics = train(compose("train", "head=vanilla", "trainer.max_steps=100", output_dir="logs/mine"))

    Args:
        command: name of the command, such as "train".
        overrides: overrides as on the command line.
        output_dir: folder of the run; created if necessary.

    Raises:
        UserError: if an override has an unknown key or a wrong value, or a checkpoint is missing.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    register_resolvers()
    register_config_sources()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            quoted = str(folder).replace("'", r"\'")
            config = hydra.compose(command, [f"paths.output_dir='{quoted}'", *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(config)  # loggers ask it for the overrides
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        OmegaConf.set_struct(config, True)
        config = complete_config(config, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, command, overrides)) from error
    except (ValueError, TypeError) as error:
        if line := explain_start(error, command, overrides):
            raise UserError(line) from error
        raise
    return config
