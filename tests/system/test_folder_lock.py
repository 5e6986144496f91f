"""Which of the processes of a training writes to the run's folder."""

import pytest

from src.system.folder_lock import is_first_process

NAMES = ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "SLURM_PROCID")


@pytest.mark.parametrize(
    ("variables", "is_first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),  # torchrun
        ({"RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False),  # the first process of the second node
        ({"NODE_RANK": "0"}, True),  # Lightning starts the other processes of the node
        ({"NODE_RANK": "0", "LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),  # srun
        ({"SLURM_PROCID": "4"}, False),
    ],
)
def test_one_process_of_all_nodes_is_the_first(
    variables: dict[str, str], is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == is_first
