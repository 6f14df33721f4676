"""What goes wrong with data files: one family of errors, each naming the file, the fault and the remedy."""


class DataError(ValueError):
    """A data file is damaged, or is not what its name says."""


class MissingDataError(DataError):
    """Data files are in none of the folders searched, and could not be downloaded."""
