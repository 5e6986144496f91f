"""The files that a run leaves: its best and its last checkpoint."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Lightning's, which would forget the best score where a run goes on in another folder."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert self.dirpath is not None
        # No path of the file's own is taken over: Lightning deletes what these name once there is a better one.
        here: dict[str, Any] = dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), "")
        here |= {"dirpath": self.dirpath, "best_k_models": {}}
        if self.monitor is not None and state_dict["best_model_path"]:
            best = str(Path(self.dirpath, Path(state_dict["best_model_path"]).name))
            here |= {"best_model_path": best, "kth_best_model_path": best}
            here["best_k_models"] = {best: state_dict["best_model_score"]}
        super().load_state_dict({**state_dict, **here})
