"""What a sweep found, written down: a table, figures, what each step bought, and what failed and why."""

from cnnlab.report.arms import Arm, RunRecord, Step, arms, ranked, steps, swept
from cnnlab.report.pages import write_report
from cnnlab.report.tables import step_rows, table, terminal_table

__all__ = [
    "Arm",
    "RunRecord",
    "Step",
    "arms",
    "ranked",
    "step_rows",
    "steps",
    "swept",
    "table",
    "terminal_table",
    "write_report",
]
