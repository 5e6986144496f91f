"""Write a run's best and last checkpoint."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Lightning's ModelCheckpoint, which also keeps the best score if the run is resumed in another folder."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None
        # The checkpoint's own paths are dropped, because Lightning deletes these files once there is a better one.
        paths: dict[str, Any] = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), "")
        paths |= {"dirpath": self.dirpath, "best_k_models": {}}
        if self.monitor is not None and state_dict["best_model_path"]:
            best = str(Path(self.dirpath, Path(state_dict["best_model_path"]).name))
            paths |= {"best_model_path": best, "kth_best_model_path": best}
            paths["best_k_models"] = {best: state_dict["best_model_score"]}
        super().load_state_dict({**state_dict, **paths})
