"""Describe this machine and what is wrong with it, to read and to paste into a report: python -m src.doctor.

The work is in src/preparation/doctor/.
"""

from src.preparation.doctor.page import main

if __name__ == "__main__":
    main()
