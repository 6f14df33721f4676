"""The verdict page of `holdfast reproduce`, and what is kept of a run.

    write_verdicts(reproduction, folder) -> path of the page
    keep_results(reproduction, folder)   -> small tables and figures for a repository
    check_kept(kept)                     -> nothing, or an error: whether those can be added to

cards      what became of every claim          forest     its numbers as a drawing
blocks     the figures of every study          pictures/  how each kind of figure is drawn, one file each
sliders    numbers of draws and k, moved       facts      settings, versions, times
evidence   what a number is, in words          draws      how many stand for the papers' numbers
unmixed    what chains say against themselves  unlearnt   networks that are wrong on most images
sizes      images tested and trained on        sides      how many numbers lie where claimed
"""

from holdfast.report.studies.keep import keep_results
from holdfast.report.studies.kept_articles import check_kept
from holdfast.report.studies.page import write_verdicts

__all__ = ["check_kept", "keep_results", "write_verdicts"]
