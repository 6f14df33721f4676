"""Downloading: from the publishers' addresses in turn, by pooch, accepted only with the right checksum.

pooch writes to a temporary file beside the target and renames it once the checksum is right, so that a half-written or
wrong file is never seen under the final name.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from holdfast.data.catalogue import entry
from holdfast.data.entry import Download, Entry
from holdfast.data.errors import MissingDataError
from holdfast.data.finding import VARIABLE, cache, searched

TIMEOUT = 30  # seconds without a byte from the server


def fetch(name: str, *, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Download the files of a data set that are not there yet with the right checksum.

    Args:
        name: of the data set.
        data_dir: folder in whose subfolder the files go; the user's cache by default. It is created if need be.

    Returns:
        The files, downloaded now or before.

    Raises:
        DataError: there is no data set of that name.
        MissingDataError: a file could not be had from any address; the message says why and what to put where.
    """
    wanted = entry(name)
    if not wanted.downloads:
        return []
    folder = (Path(data_dir).expanduser() if data_dir is not None else cache()) / wanted.folders[0].split("/")[0]
    created = not folder.exists()
    paths, faults = [], []
    for download in wanted.downloads:
        path, reasons = _fetch_one(download, folder)
        if path is None:
            faults += reasons
            break  # without one file the others are of no use, and an absent network would time out for each
        paths.append(path)
    if faults:
        if created and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise MissingDataError(f"{wanted.title}: the download failed: {'; '.join(faults)}. {remedy(wanted, folder)}")
    return paths


def remedy(wanted: Entry, folder: Path | None = None) -> str:
    """What a person can put where, in one sentence."""
    if wanted.embedded:
        return "The files come with the package: install it again."
    subfolder = wanted.folders[0].split("/")[0]
    files = ", ".join(f"{file.name} ({file.size:,} bytes)" for file in wanted.downloads)
    source = wanted.downloads[0].addresses[0].rpartition("/")[0]
    return (
        f"Run `holdfast data fetch {wanted.name}` where there is a network, or put by hand into "
        f"{folder or cache() / subfolder}, or into {subfolder}/ of the folder named by --data-dir, data_dir= or "
        f"${VARIABLE}: {files} from {source}/."
    )


def missing(wanted: Entry, data_dir: str | os.PathLike | None, present: Sequence[Path] = ()) -> MissingDataError:
    """The error for a data set that is in none of the folders searched."""
    looked = ", ".join(map(str, searched(wanted, data_dir)))
    partly = f" Only these are there: {', '.join(map(str, present))}." if present else ""
    return MissingDataError(f"{wanted.title}: not all files were found in any of {looked}.{partly} {remedy(wanted)}")


def _fetch_one(download: Download, folder: Path) -> tuple[Path | None, list[str]]:
    """The file, or None and what each address answered."""
    import pooch

    reasons = []
    for address in download.addresses:
        bar = tqdm(total=download.size, desc=download.name, unit="B", unit_scale=True, leave=False, disable=None)
        get = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=TIMEOUT)
        try:
            pooch.retrieve(address, f"sha256:{download.sha256}", download.name, folder, downloader=get)
            return folder / download.name, []
        except OSError as error:
            reasons.append(f"{address}: {_short(error)}")
        except ValueError:  # what pooch raises for a wrong checksum
            reasons.append(f"{address}: what arrived does not have the checksum sha256 {download.sha256}")
        finally:
            bar.close()
    return None, reasons


def _short(error: OSError) -> str:
    import requests

    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT} seconds"
    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.RequestException):
        return "no connection, or it broke off"
    return str(error)
