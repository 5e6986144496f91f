"""Interrupt trainings in many ways, resume them, and print a table of what was lost: make faults.

python -m tests.faults [--only NAME] [--quick] [--markdown]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table


def main() -> None:
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    from tests.commands import set_default_signals
    from tests.faults import cases, signals, workers
    from tests.faults.bench import Bench, Outcome

    faults = (
        cases.kills, cases.sigterm, cases.full_disk, cases.read_only, cases.damaged_checkpoint, workers.damaged_cache,
        workers.data_worker, workers.crf_worker, cases.two_runs, cases.folder_again, cases.requeued,
        cases.clock, signals.in_training, signals.in_multirun, signals.in_other_commands,
    )  # fmt: skip
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", choices=[fault.__name__ for fault in faults], help="one fault")
    parser.add_argument("--quick", action="store_true", help="4 kills in place of 20")
    parser.add_argument("--markdown", action="store_true", help="the table as docs/reliability.md has it")
    options = parser.parse_args()

    set_default_signals()
    start = time.monotonic()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        bench = Bench(Path(folder), kills=4 if options.quick else 20)
        for fault in faults:
            if options.only in (None, fault.__name__):
                print(f"{fault.__name__} ...", file=sys.stderr, flush=True)
                try:
                    new = list(fault(bench))
                except (RuntimeError, TimeoutError) as error:
                    new = [Outcome(fault.__name__, "?", "", [str(error)])]
                outcomes += [outcome._replace(message=bench.mask_paths(outcome.message)) for outcome in new]
                print(*outcomes[-len(new) :], sep="\n", file=sys.stderr, flush=True)
    rows = [
        (fault, lost, message, "no" if problems or not message else "yes")
        for fault, lost, message, problems in outcomes
    ]
    if options.markdown:
        print("| fault | lost | said | ok |\n|---|---|---|---|")
        print("\n".join(f"| {fault} | {lost} | `{message}` | {ok} |" for fault, lost, message, ok in rows))
    else:
        table = Table("fault", "lost", "said", "ok", show_lines=True)
        for row in rows:
            table.add_row(*row)
        Console().print(table, markup=False)
    for fault, _, _, problems in outcomes:
        print("\n".join(f"{fault}: {difference}" for difference in problems), end="\n" if problems else "")
    print(f"{len(rows)} faults in {(time.monotonic() - start) / 60:.0f} min")
    sys.exit(any(row[-1] == "no" for row in rows))


if __name__ == "__main__":
    main()
