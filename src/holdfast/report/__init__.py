"""What a person looks at: one self-contained page for a result of a study, and one for a reproduction of the papers.

    write(result, folder) -> path of the page
    write_verdicts(reproduction, folder) -> path of the page
    keep_results(reproduction, folder)   -> small tables and figures for a repository
    check_kept(kept)                     -> nothing, or an error: whether those can be added to

The page says what was found with its interval, what was tested, and what the numbers do not say. Every sentence with a
number in it is made from the result; nothing on the page is computed by running a network.
"""

from holdfast.report.page import write
from holdfast.report.studies import check_kept, keep_results, write_verdicts

__all__ = ["check_kept", "keep_results", "write", "write_verdicts"]
